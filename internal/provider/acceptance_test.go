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

// The acceptance tests drive a real terraform or tofu through a workspace. What
// a person would do is one call each, so that whatever is to happen between a
// plan and its apply stands between the two lines:
//
//	ws := newWorkspace(t)
//	ws.configure(imageCopy("app", src.Ref("app", "1"), dst.Ref("app", "1")))
//	plan := ws.plan()
//	src.Retag(t, "app", "other", "1")
//	ws.apply(plan)
//	ws.wantNoChanges()
//
// The provider runs inside the test, where the engine's options can be set and
// where coverage counts. Each workspace has its own, so that tests can be
// parallel.

// workspace is a directory with a configuration, its state, and a provider.
type workspace struct {
	t         *testing.T
	terraform string
	dir       string
	env       []string
}

// newWorkspace makes an empty workspace. The engine tries again at once instead
// of waiting, and finds no credentials around it; each override may change its
// options further.
func newWorkspace(t *testing.T, override ...func(*remote.Options)) *workspace {
	t.Helper()
	return newWorkspaceOf(t, map[string]func() tfprotov6.ProviderServer{providerAddress: newProviderServer(override...)})
}

// ours is the address of this provider, without the host of a registry.
const providerAddress = "terraform-provider-registry/registry"

// thisProvider makes the provider with which newWorkspace makes its workspaces.
func newProviderServer(override ...func(*remote.Options)) func() tfprotov6.ProviderServer {
	return providerserver.NewProtocol6(provider.New("test", append([]func(*remote.Options){isolateOptions}, override...)...)())
}

// newWorkspaceOf makes an empty workspace in which there are the given providers,
// by address, and no others.
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

// isolated makes retries cost no time, and keeps the credentials of whoever runs
// the tests, and every name that is not this machine's, out of them.
func isolateOptions(o *remote.Options) {
	o.Attempts = 3
	o.Backoff = time.Millisecond
	o.Credentials.Getenv = func(string) string { return "" }
	o.Resolve = func(_ context.Context, host string) ([]netip.Addr, error) {
		if host == "localhost" {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		}
		return nil, fmt.Errorf("the tests know no %s", host)
	}
}

// findTerraform is the terraform or tofu to test with. The test is skipped only
// where there is none, or where short tests are asked for.
func findTerraform(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("drives a real terraform, which takes seconds; run without -short")
	}
	if named := os.Getenv("TF_ACC_TERRAFORM_PATH"); named != "" {
		return named
	}
	for _, name := range []string{"terraform", "tofu"} {
		if found, err := exec.LookPath(name); err == nil {
			return found
		}
	}
	t.Skip("drives a real terraform, and neither terraform nor tofu is on PATH; TF_ACC_TERRAFORM_PATH can name one")
	return ""
}

// serve runs providers until the test ends and returns what tells Terraform where
// they are.
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

// serveOne runs a provider and returns where it is, in Terraform's form.
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
		t.Fatalf("%s does not start: %v", address, err)
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

// outcome is what a command said.
type outcome struct {
	t           *testing.T
	status      int // the command's exit status
	failed      bool
	diagnostics []diagnostic
	outputs     map[string]any
	text        string // what it told people, without colours
}

// diagnostic is an error or a warning.
type diagnostic struct {
	Severity string `json:"severity"`
	Summary  string `json:"summary"`
	Detail   string `json:"detail"`
	// Snippet is the place in the configuration that it points at.
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

// outcomeOf reads what a command said that prints JSON lines, and how it ended.
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

// ok fails the test where the command failed.
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
	document func() tfjson.Plan // what it says
}

// plan plans, with further arguments such as -refresh=false.
func (w *workspace) plan(args ...string) plan {
	w.t.Helper()
	file, err := os.CreateTemp(w.dir, "*.tfplan")
	if err != nil {
		w.t.Fatal(err)
	}
	_ = file.Close()
	p := plan{file: file.Name()}
	p.document = sync.OnceValue(func() (said tfjson.Plan) {
		w.show(&said, p.file)
		return said
	})
	p.outcome = w.run(append([]string{"plan", "-json", "-input=false", "-out=" + p.file}, args...)...).mustSucceed()
	return p
}

// planFails expects a plan to fail.
func (w *workspace) planFails(args ...string) outcome {
	w.t.Helper()
	o := w.run(append([]string{"plan", "-json", "-input=false"}, args...)...)
	if !o.failed {
		w.t.Fatalf("the plan succeeded:\n%s", o.text)
	}
	return o
}

// apply applies exactly what was planned.
func (w *workspace) apply(p plan) outcome {
	w.t.Helper()
	return w.run("apply", "-json", "-input=false", p.file).mustSucceed()
}

// applyFails expects the apply to fail.
func (w *workspace) applyFails(p plan) outcome {
	w.t.Helper()
	o := w.run("apply", "-json", "-input=false", p.file)
	if !o.failed {
		w.t.Fatalf("the apply succeeded:\n%s", o.text)
	}
	return o
}

// up configures, plans and applies, and makes sure that the next plan is empty.
func (w *workspace) converge(blocks ...string) outcome {
	w.t.Helper()
	w.configure(blocks...)
	o := w.apply(w.plan())
	w.wantNoChanges()
	return o
}

// destroy destroys everything.
func (w *workspace) destroy() outcome {
	w.t.Helper()
	return w.run("destroy", "-json", "-input=false", "-auto-approve").mustSucceed()
}

// importAs imports an ID as a resource that the configuration has.
func (w *workspace) importResource(address, id string) {
	w.t.Helper()
	if stdout, stderr, err := w.command("import", "-input=false", "-no-color", address, id); err != nil {
		w.t.Fatalf("import: %v\n%s%s", err, stdout, stderr)
	}
}

// show reads a plan file, or the state where file is "".
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

// state is the values of a resource in the state, nil where it is not there.
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

// imageCopy is a registry_image_copy, with further arguments as HCL.
func imageCopy(name, source, destination string, arguments ...string) string {
	return fmt.Sprintf("resource \"registry_image_copy\" %q {\n  source      = %q\n  destination = %q\n  %s\n}",
		name, source, destination, strings.Join(arguments, "\n  "))
}

// output is an output.
func output(name, expression string) string {
	return fmt.Sprintf("output %q {\n  value = %s\n}", name, expression)
}
