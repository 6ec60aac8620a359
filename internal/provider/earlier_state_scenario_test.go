package provider_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// earlierStates are configurations whose states were written by the provider before version
// 0.2, at commit 2599a89. The states are in testdata/earlier_states, named after the case.
// Hosts and the path of an image layout are placeholders in both, and private state is decoded.
var earlierStates = map[string]string{
	"plain":           imageCopy("app", "source.example.com/app:1", "destination.example.com/plain:1"),
	"additional_tags": imageCopy("app", "source.example.com/app:1", "destination.example.com/additional_tags:1", `additional_tags = ["stable", "latest"]`, `on_destroy = "untag"`),
	"platforms":       imageCopy("app", "source.example.com/app:1", "destination.example.com/platforms:1", `platforms = ["linux/amd64", "linux/arm/v7"]`),
	"referrers":       imageCopy("app", "source.example.com/app:1", "destination.example.com/referrers:1", "referrers = true"),
	"deep_check":      imageCopy("app", "source.example.com/app:1", "destination.example.com/deep_check:1", "deep_check = true", `timeouts = { create = "30m" }`),
	"layout":          imageCopy("app", "source.example.com/app:1", "oci:/layout.example.com:1"),
	"port_80":         imageCopy("app", "source.example.com/app:1", "destination.example.com:80/port_80:1"),
	"port_80_source":  imageCopy("app", "source.example.com:80/app:1", "destination.example.com/port_80_source:1"),
	"upper_case_host": imageCopy("app", "source.example.com/app:1", "DESTINATION.EXAMPLE.COM/upper_case_host:1"),
}

// earlierRegistries are the registries of the configurations in earlierStates.
type earlierRegistries struct{ source, destination *registrytest.Registry }

func newEarlierRegistries(t *testing.T) earlierRegistries {
	t.Helper()
	r := earlierRegistries{registrytest.V3(t), registrytest.V3(t)}
	image, _ := platformsOf("app", false)
	r.source.Push(t, "app", "1", image)
	r.source.Attach(t, "app", registrytest.Artifact{Seed: "sbom", Type: sbomType, Subject: image})
	return r
}

// placeholders returns pairs of a placeholder and its value.
func (r earlierRegistries) placeholders(t *testing.T, name string) []string {
	t.Helper()
	source, destination := r.source.Addr, r.destination.Addr
	switch name {
	case "port_80":
		destination = listenOnPort80(t, r.destination)
	case "port_80_source":
		source = listenOnPort80(t, r.source)
	case "upper_case_host":
		destination = strings.Replace(destination, "127.0.0.1", "localhost", 1)
	}
	return []string{
		"source.example.com", source,
		"destination.example.com", destination,
		"DESTINATION.EXAMPLE.COM", strings.ToUpper(destination),
		"/layout.example.com", filepath.Join(t.TempDir(), "layout"),
	}
}

// listenOnPort80 serves a registry at port 80 of a loopback address, and returns that address.
// It skips the test if the process may not use the port.
func listenOnPort80(t *testing.T, registry *registrytest.Registry) string {
	t.Helper()
	var listener net.Listener
	err := fmt.Errorf("no address")
	for last := 1; last < 255 && err != nil; last++ {
		listener, err = new(net.ListenConfig).Listen(t.Context(), "tcp", fmt.Sprintf("127.83.%d.%d:80", os.Getpid()%250, last))
		if err != nil && !strings.Contains(err.Error(), "in use") {
			break
		}
	}
	if err != nil {
		t.Skipf("serves a registry at port 80 of a loopback address, which this process may not do: %v", err)
	}
	upstream, parseErr := url.Parse(registry.URL())
	if parseErr != nil {
		t.Fatal(parseErr)
	}
	server := &http.Server{Handler: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(upstream); r.Out.Host = r.In.Host }}, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Shutdown(context.WithoutCancel(t.Context())) })
	host, _, _ := net.SplitHostPort(listener.Addr().String())
	return host
}

// writeEarlierState writes the state of a case to a workspace, with its placeholders replaced.
func writeEarlierState(t *testing.T, ws *workspace, name string, replace *strings.Replacer) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "earlier_states", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "promoted_reference") {
		t.Fatalf("%s.json is not the state of an earlier version: it has promoted_reference", name)
	}
	var state map[string]any
	if err := json.Unmarshal([]byte(replace.Replace(string(text))), &state); err != nil {
		t.Fatal(err)
	}
	for _, resource := range state["resources"].([]any) {
		resource := resource.(map[string]any)
		if !ws.versionAtLeast(0, noVersion) {
			resource["provider"] = strings.Replace(resource["provider"].(string), "registry.terraform.io", "registry.opentofu.org", 1)
		}
		for _, instance := range resource["instances"].([]any) {
			instance := instance.(map[string]any)
			instance["private"] = encodePrivate(t, instance["private"].(map[string]any))
		}
	}
	writeJSON(t, filepath.Join(ws.dir, "terraform.tfstate"), state)
}

// encodePrivate returns private state in the encoding of the plugin framework.
func encodePrivate(t *testing.T, values map[string]any) []byte {
	t.Helper()
	encoded := map[string][]byte{}
	for key, value := range values {
		var err error
		if encoded[key], err = json.Marshal(value); err != nil {
			t.Fatal(err)
		}
	}
	private, err := json.Marshal(encoded)
	if err != nil {
		t.Fatal(err)
	}
	return private
}

// TestState_EarlierVersion checks that a state from an earlier version plans no changes, with
// and without a refresh, and that a refresh sets promoted_reference.
func TestState_EarlierVersion(t *testing.T) {
	t.Parallel()
	registries := newEarlierRegistries(t)
	for name, block := range earlierStates {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			replace := strings.NewReplacer(registries.placeholders(t, name)...)
			block := replace.Replace(block)
			newWorkspace(t).converge(block) // pushes the images

			ws := newWorkspace(t)
			ws.configure(block)
			writeEarlierState(t, ws, name, replace)
			ws.wantNoChanges("-refresh=false").wantNoWarnings()
			ws.wantNoChanges().wantNoWarnings()
			stdout, stderr, err := ws.command("plan", "-no-color", "-input=false")
			if err != nil || !strings.Contains(stdout, "No changes. Your infrastructure matches the configuration.") || strings.Contains(stdout, "Objects have changed outside") {
				t.Errorf("terraform plan: %v, want no changes and no changes outside of Terraform\n%s%s", err, stdout, stderr)
			}

			ws.run("apply", "-refresh-only", "-auto-approve", "-json", "-input=false").mustSucceed()
			state := ws.state(app)
			if got, want := state["promoted_reference"], state["pinned_reference"]; got != want || got == nil {
				t.Errorf("promoted_reference after a refresh = %v, want %v", got, want)
			}
			ws.wantNoChanges("-refresh=false").wantNoWarnings()
			ws.wantNoChanges().wantNoWarnings()
		})
	}
}
