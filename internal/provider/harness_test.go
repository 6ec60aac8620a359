package provider_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	tfjson "github.com/hashicorp/terraform-json"
	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6/tf6server"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/provider"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

// The acceptance tests run a real terraform or tofu in a workspace. Each user action is one
// method call, so that a test can change a registry between a plan and its apply:
//
//	ws := newWorkspace(t)
//	ws.configure(imageCopy("app", src.Ref("app", "1"), dst.Ref("app", "1")))
//	plan := ws.plan()
//	src.Retag(t, "app", "other", "1")
//	ws.apply(plan)
//	ws.wantNoChanges()
//
// The provider runs inside the test process, where the engine's options can be set and coverage
// is measured. Each workspace has its own provider, so that tests can run in parallel.

// workspace is a directory with a configuration, its state, and a provider.
type workspace struct {
	t         *testing.T
	terraform string
	dir       string
	env       []string
}

// newWorkspace creates an empty workspace. The engine retries without delay and finds no
// credentials in the environment. Each override may change its options.
func newWorkspace(t *testing.T, override ...func(*remote.Options)) *workspace {
	t.Helper()
	return newWorkspaceOf(t, map[string]func() tfprotov6.ProviderServer{providerAddress: newProviderServer(override...)})
}

// providerAddress is the address of this provider, without the host of a registry.
const providerAddress = "terraform-provider-registry/registry"

// newProviderServer returns the provider that newWorkspace uses.
func newProviderServer(override ...func(*remote.Options)) func() tfprotov6.ProviderServer {
	return providerserver.NewProtocol6(provider.New("test", append([]func(*remote.Options){isolateOptions}, override...)...)())
}

// newWorkspaceOf creates an empty workspace with the given providers, by address, and no
// others.
func newWorkspaceOf(t *testing.T, providers map[string]func() tfprotov6.ProviderServer) *workspace {
	t.Helper()
	w := &workspace{t: t, terraform: findTerraform(t), dir: t.TempDir()}
	cliConfig := filepath.Join(w.dir, "cli.tfrc")
	if err := os.WriteFile(cliConfig, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.env = append(os.Environ(),
		"TF_CLI_CONFIG_FILE="+cliConfig,
		"TF_REATTACH_PROVIDERS="+serveProviders(t, providers),
		"TF_IN_AUTOMATION=1",
		"CHECKPOINT_DISABLE=1",
		"TF_LOG=",
	)
	return w
}

// isolateOptions removes retry delays. It also hides the credentials of the user who runs the
// tests and all host names except localhost.
func isolateOptions(o *remote.Options) {
	o.Attempts = 3
	o.Backoff = time.Millisecond
	o.Credentials.Getenv = func(string) string { return "" }
	o.Resolve = func(_ context.Context, host string) ([]netip.Addr, error) {
		if host == "localhost" {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		}
		return nil, fmt.Errorf("unknown host in tests: %s", host)
	}
}

// findTerraform returns the terraform or tofu to test with. It skips the test if there is none,
// or if -short is set.
func findTerraform(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("runs terraform, which takes seconds; run without -short")
	}
	if named := os.Getenv("TF_ACC_TERRAFORM_PATH"); named != "" {
		return named
	}
	for _, name := range []string{"terraform", "tofu"} {
		if found, err := exec.LookPath(name); err == nil {
			return found
		}
	}
	t.Skip("runs terraform, and neither terraform nor tofu is on PATH; TF_ACC_TERRAFORM_PATH can name one")
	return ""
}

// serveProviders runs providers until the test ends. It returns the value of
// TF_REATTACH_PROVIDERS.
func serveProviders(t *testing.T, providers map[string]func() tfprotov6.ProviderServer) string {
	t.Helper()
	served := map[string]any{}
	for address, server := range providers {
		at := serveProvider(t, address, server)
		served["registry.terraform.io/"+address], served["registry.opentofu.org/"+address] = at, at
	}
	reattach, err := json.Marshal(served)
	if err != nil {
		t.Fatal(err)
	}
	return string(reattach)
}

// serveProvider runs a provider and returns its entry of TF_REATTACH_PROVIDERS.
func serveProvider(t *testing.T, address string, server func() tfprotov6.ProviderServer) map[string]any {
	t.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	addresses := make(chan *plugin.ReattachConfig)
	closed := make(chan struct{})
	failed := make(chan error, 1)
	go func() {
		failed <- tf6server.Serve("registry.terraform.io/"+address, server,
			tf6server.WithDebug(ctx, addresses, closed), tf6server.WithLoggingSink(t), tf6server.WithGoPluginLogger(hclog.NewNullLogger()))
	}()
	t.Cleanup(func() {
		stop()
		<-closed
	})
	select {
	case err := <-failed:
		t.Fatalf("serve %s: %v", address, err)
		return nil
	case a := <-addresses:
		return map[string]any{
			"Protocol": string(a.Protocol), "ProtocolVersion": a.ProtocolVersion, "Pid": a.Pid, "Test": true,
			"Addr": map[string]string{"Network": a.Addr.Network(), "String": a.Addr.String()},
		}
	}
}

// configure replaces the configuration with the given blocks.
func (w *workspace) configure(blocks ...string) {
	w.t.Helper()
	const required = "terraform {\n  required_providers {\n    registry = { source = \"terraform-provider-registry/registry\" }\n  }\n}\n\n"
	if err := os.WriteFile(filepath.Join(w.dir, "main.tf"), []byte(required+strings.Join(blocks, "\n\n")), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// outcome is the result of a command.
type outcome struct {
	t           *testing.T
	status      int // exit status of the command
	failed      bool
	diagnostics []diagnostic
	outputs     map[string]any
	text        string // all messages, without colors
}

// diagnostic is an error or a warning.
type diagnostic struct {
	Severity string `json:"severity"`
	Summary  string `json:"summary"`
	Detail   string `json:"detail"`
	// Snippet is the part of the configuration that the diagnostic refers to.
	Snippet *struct {
		Context *string `json:"context"`
		Code    string  `json:"code"`
	} `json:"snippet"`
}

// run runs a command that prints JSON lines.
func (w *workspace) run(args ...string) outcome {
	w.t.Helper()
	stdout, stderr, err := w.command(args...)
	return w.outcomeOf(args, stdout, stderr, err)
}

// outcomeOf parses the output of a command that prints JSON lines.
func (w *workspace) outcomeOf(args []string, stdout, stderr string, err error) outcome {
	w.t.Helper()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.t.Fatalf("%s %s: %v", w.terraform, strings.Join(args, " "), err)
	}
	o := outcome{t: w.t, failed: err != nil, text: stderr, outputs: map[string]any{}}
	if exit != nil {
		o.status = exit.ExitCode()
	}
	for line := range strings.Lines(stdout) {
		var message struct {
			Text       string      `json:"@message"`
			Diagnostic *diagnostic `json:"diagnostic"`
			Outputs    map[string]struct {
				Value any `json:"value"`
			} `json:"outputs"`
		}
		if err := json.Unmarshal([]byte(line), &message); err != nil {
			w.t.Fatalf("%s: not JSON: %s\n%s", strings.Join(args, " "), line, stderr)
		}
		o.text += message.Text + "\n"
		if message.Diagnostic != nil {
			o.diagnostics = append(o.diagnostics, *message.Diagnostic)
			o.text += message.Diagnostic.Detail + "\n"
		}
		for name, output := range message.Outputs {
			if output.Value != nil {
				o.outputs[name] = output.Value
			}
		}
	}
	return o
}

// command runs terraform with the workspace's directory and environment.
func (w *workspace) command(args ...string) (stdout, stderr string, err error) {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), w.terraform, args...)
	cmd.Dir, cmd.Env = w.dir, w.env
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// mustSucceed fails the test if the command failed.
func (o outcome) mustSucceed() outcome {
	o.t.Helper()
	if o.failed {
		o.t.Fatalf("failed:\n%s", o.text)
	}
	return o
}

// plan is a plan that can be applied.
type plan struct {
	outcome
	file     string
	document func() tfjson.Plan // the parsed plan file
}

// plan creates a plan, with additional arguments such as -refresh=false.
func (w *workspace) plan(args ...string) plan {
	w.t.Helper()
	file, err := os.CreateTemp(w.dir, "*.tfplan")
	if err != nil {
		w.t.Fatal(err)
	}
	_ = file.Close()
	p := plan{file: file.Name()}
	p.document = sync.OnceValue(func() (document tfjson.Plan) {
		w.show(&document, p.file)
		return document
	})
	p.outcome = w.run(append([]string{"plan", "-json", "-input=false", "-out=" + p.file}, args...)...).mustSucceed()
	return p
}

// planFails runs a plan and fails the test if the plan succeeds.
func (w *workspace) planFails(args ...string) outcome {
	w.t.Helper()
	o := w.run(append([]string{"plan", "-json", "-input=false"}, args...)...)
	if !o.failed {
		w.t.Fatalf("the plan succeeded:\n%s", o.text)
	}
	return o
}

// apply applies a plan file.
func (w *workspace) apply(p plan) outcome {
	w.t.Helper()
	return w.run("apply", "-json", "-input=false", p.file).mustSucceed()
}

// applyFails applies a plan file and fails the test if the apply succeeds.
func (w *workspace) applyFails(p plan) outcome {
	w.t.Helper()
	o := w.run("apply", "-json", "-input=false", p.file)
	if !o.failed {
		w.t.Fatalf("the apply succeeded:\n%s", o.text)
	}
	return o
}

// converge configures, plans and applies, and checks that the next plan is empty.
func (w *workspace) converge(blocks ...string) outcome {
	w.t.Helper()
	w.configure(blocks...)
	o := w.apply(w.plan())
	w.wantNoChanges()
	return o
}

// destroy destroys all resources.
func (w *workspace) destroy() outcome {
	w.t.Helper()
	return w.run("destroy", "-json", "-input=false", "-auto-approve").mustSucceed()
}

// importResource imports an ID as a resource of the configuration.
func (w *workspace) importResource(address, id string) {
	w.t.Helper()
	if stdout, stderr, err := w.command("import", "-input=false", "-no-color", address, id); err != nil {
		w.t.Fatalf("import: %v\n%s%s", err, stdout, stderr)
	}
}

// show parses a plan file, or the state if file is "".
func (w *workspace) show(into any, file string) {
	w.t.Helper()
	args := []string{"show", "-json"}
	if file != "" {
		args = append(args, file)
	}
	stdout, stderr, err := w.command(args...)
	if err != nil {
		w.t.Fatalf("show: %v\n%s", err, stderr)
	}
	if err := json.Unmarshal([]byte(stdout), into); err != nil {
		w.t.Fatalf("show: %v", err)
	}
}

// state returns the attributes of a resource in the state, or nil if it does not exist.
func (w *workspace) state(address string) map[string]any {
	w.t.Helper()
	var state tfjson.State
	w.show(&state, "")
	if state.Values == nil {
		return nil
	}
	for _, r := range state.Values.RootModule.Resources {
		if r.Address == address {
			return r.AttributeValues
		}
	}
	return nil
}

// imageCopy returns a registry_image_copy block, with additional arguments as HCL.
func imageCopy(name, source, destination string, arguments ...string) string {
	return fmt.Sprintf("resource \"registry_image_copy\" %q {\n  source      = %q\n  destination = %q\n  %s\n}",
		name, source, destination, strings.Join(arguments, "\n  "))
}

// output returns an output block.
func output(name, expression string) string {
	return fmt.Sprintf("output %q {\n  value = %s\n}", name, expression)
}
