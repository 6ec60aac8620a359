package provider_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

// mapPort80 connects to a registry instead of port 80 of 127.0.0.1, which a test may not be
// able to bind.
func mapPort80(r *registrytest.Registry) func(*remote.Options) {
	return func(o *remote.Options) {
		o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if address == "127.0.0.1:80" {
				address = r.Addr
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		}
	}
}

// withZero adds a leading zero to the port of a reference to 127.0.0.1.
func withZero(reference string) string { return strings.Replace(reference, "1:", "1:0", 1) }

// ipv4Mapped writes the host of a reference to 127.0.0.1 as an IPv6 address.
func ipv4Mapped(reference string) string {
	return strings.Replace(reference, "127.0.0.1", "[0:0:0:0:0:FFFF:7F00:1]", 1)
}

func TestSpelling_NoChanges(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	const careful = "on_destroy = \"delete\"\n  lifecycle {\n    create_before_destroy = true\n  }"
	ws := newWorkspace(t, mapPort80(dst))
	ws.converge(imageCopy("app", pushed.Ref, "127.0.0.1:80/app:1", careful))
	for _, pair := range [][2]string{
		{pushed.Ref, "127.0.0.1/app:1"},
		{withZero(pushed.Ref), "127.0.0.1:080/app:1"},
		{ipv4Mapped(pushed.Ref), "[::ffff:127.0.0.1]/app:1"},
		{ipv4Mapped(withZero(pushed.Ref)), ipv4Mapped("127.0.0.1:080/app:1")},
	} {
		ws.configure(imageCopy("app", pair[0], pair[1], careful))
		ws.wantNoChanges()
		ws.wantNoChanges("-refresh=false")
	}
	if got := ws.state(app)["destination"]; got != "127.0.0.1:80/app:1" {
		t.Errorf("destination in state = %v", got)
	}
	// Other attributes are updated in place, and the new spelling is still not a change.
	ws.configure(imageCopy("app", ipv4Mapped(pushed.Ref), "127.0.0.1/app:1", `on_destroy = "untag"`))
	plan := ws.plan()
	plan.wantAction(app, tfjson.ActionUpdate).wantChange(app, "destination", "127.0.0.1:80/app:1", "127.0.0.1:80/app:1")
	ws.apply(plan)
	ws.wantNoChanges()
	registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "1"))
}

// TestSpelling_Chain checks that a source that is the destination of another copy is found in
// every spelling.
func TestSpelling_Chain(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	ws := newWorkspace(t, mapPort80(dst))
	ws.configure(imageCopy("app", pushed.Ref, "127.0.0.1:80/stage:1"), imageCopy("on", "127.0.0.1/stage:1", "127.0.0.1:080/prod:1", "depends_on = [registry_image_copy.app]"))
	plan := ws.plan()
	plan.wantChange("registry_image_copy.on", "digest", nil, pushed.Digest)
	ws.apply(plan)
	ws.wantNoChanges()
	registrytest.Same(t, pushed.Tree, dst.Read(t, "prod", "1"))
}

func TestSpelling_TagConflict(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	one, two := src.Push(t, "app", "1", registrytest.MultiArch("one")), src.Push(t, "app", "2", registrytest.MultiArch("two"))
	layout := newLayoutPath(t)
	link := filepath.Join(filepath.Dir(filepath.Dir(layout)), "link")
	for name, pair := range map[string][2]string{
		"default_port":  {"127.0.0.1:80/app:1", "127.0.0.1/app:1"},
		"leading_zero":  {dst.Ref("app", "1"), withZero(dst.Ref("app", "1"))},
		"ipv6":          {dst.Ref("app", "1"), ipv4Mapped(dst.Ref("app", "1"))},
		"upper_case":    {"localhost:80/app:1", "LOCALHOST/app:1"},
		"symbolic_link": {"oci:" + layout + ":1", "oci:" + filepath.Join(link, "new", "layout") + ":1"},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "symbolic_link" {
				if err := os.Symlink(filepath.Dir(filepath.Dir(layout)), link); err != nil {
					t.Skipf("cannot make a symbolic link: %v", err)
				}
			}
			ws := newWorkspace(t, mapPort80(dst))
			ws.configure(imageCopy("one", one.Ref, pair[0]), imageCopy("two", two.Ref, pair[1]))
			ws.planFails().wantError("Conflicting Tag Ownership", string(one.Digest), string(two.Digest))
			ws.configure(imageCopy("app", pair[0], pair[1]))
			ws.planFails().wantError("Source Equals Destination")
		})
	}
}

// TestSpelling_HandOver checks that a tag that one resource releases and another one writes is
// not removed, whichever spelling each of them uses.
func TestSpelling_HandOver(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	ws := newWorkspace(t, mapPort80(dst))
	ws.converge(imageCopy("app", pushed.Ref, "127.0.0.1:80/app:1", `on_destroy = "delete"`))
	ws.converge(imageCopy("renamed", pushed.Ref, "127.0.0.1/app:1", `on_destroy = "delete"`))
	registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "1"))
}

func TestSpelling_LayoutSymlink(t *testing.T) {
	t.Parallel()
	src := registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	dir := t.TempDir()
	for link, target := range map[string]string{"link": "real", "later": "not-yet"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Skipf("cannot make a symbolic link: %v", err)
		}
	}
	folder, link, later := filepath.Join(dir, "real"), filepath.Join(dir, "link"), filepath.Join(dir, "later")
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", pushed.Ref, "oci:"+folder+":v1", `on_destroy = "untag"`))
	ws.configure(imageCopy("app", pushed.Ref, "oci:"+link+":v1", `on_destroy = "untag"`))
	ws.wantNoChanges()
	assertLayoutTags(t, folder, "v1")
	if got := ws.state(app)["destination"]; got != "oci:"+folder+":v1" {
		t.Errorf("destination in state = %v", got)
	}
	ws.converge(imageCopy("later", pushed.Ref, "oci:"+later+":v2"), imageCopy("app", pushed.Ref, "oci:"+link+":v1", `on_destroy = "untag"`))
	assertLayoutTags(t, filepath.Join(dir, "not-yet"), "v2")
	if got := ws.state("registry_image_copy.later")["pinned_reference"]; got != "oci:"+later+"@"+string(pushed.Digest) {
		t.Errorf("pinned_reference = %v", got)
	}
}

// rewriteAsEarlierState rewrites the state as an earlier version wrote it. Its normal form of
// the source and the pinned reference, also in an output, kept the spelling of a port.
func (w *workspace) rewriteAsEarlierState(respell func(string) string) {
	w.t.Helper()
	file := filepath.Join(w.dir, "terraform.tfstate")
	content, err := os.ReadFile(file)
	if err != nil {
		w.t.Fatal(err)
	}
	var state map[string]any
	decodeJSON(w.t, content, &state)
	instance := state["resources"].([]any)[0].(map[string]any)["instances"].([]any)[0].(map[string]any)
	attributes := instance["attributes"].(map[string]any)
	for _, written := range []struct {
		object map[string]any
		key    string
	}{{attributes, "pinned_reference"}, {state["outputs"].(map[string]any)["pinned"].(map[string]any), "value"}} {
		written.object[written.key] = respell(written.object[written.key].(string))
	}

	encoded, err := base64.StdEncoding.DecodeString(instance["private"].(string))
	if err != nil {
		w.t.Fatal(err)
	}
	var private map[string][]byte
	decodeJSON(w.t, encoded, &private)
	var record map[string]any
	decodeJSON(w.t, private["copy"], &record)
	for _, key := range []string{"wanted", "applied"} {
		of := record[key].(map[string]any)
		of["source"] = respell(of["source"].(string))
	}
	private["copy"] = encodeJSON(w.t, record)
	instance["private"] = base64.StdEncoding.EncodeToString(encodeJSON(w.t, private))
	state["serial"] = state["serial"].(float64) + 1
	if err := os.WriteFile(file, encodeJSON(w.t, state), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func decodeJSON(t *testing.T, content []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(content, into); err != nil {
		t.Fatal(err)
	}
}

func encodeJSON(t *testing.T, value any) []byte {
	t.Helper()
	content, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestSpelling_EarlierState(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	proxy := registrytest.Intercept(t, src)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	source := proxy.Ref("app", "1")
	for name, test := range map[string]struct {
		destination string
		respell     func(string) string
	}{
		"default_port": {"127.0.0.1:80/app:1", func(s string) string { return s }},
		"upper_case":   {strings.Replace(dst.Ref("app", "1"), "127.0.0.1", "LocalHost", 1), func(s string) string { return s }},
		"leading_zero": {withZero(dst.Ref("app", "2")), withZero},
		"ipv6":         {ipv4Mapped(dst.Ref("app", "3")), func(s string) string { return strings.ToLower(ipv4Mapped(s)) }},
	} {
		t.Run(name, func(t *testing.T) {
			ws := newWorkspace(t, mapPort80(dst))
			ws.converge(imageCopy("app", source, test.destination), output("pinned", app+".pinned_reference"))
			ws.rewriteAsEarlierState(test.respell)
			before := ws.state(app)["pinned_reference"]
			ws.wantNoChanges()
			if got := ws.state(app)["pinned_reference"]; got != before {
				t.Errorf("pinned_reference before = %v, after = %v", before, got)
			}
			// The recorded source matches, so no request is sent.
			proxy.Forget()
			ws.wantNoChanges("-refresh=false")
			if n := proxy.Count(http.MethodHead, ".*") + proxy.Count(http.MethodGet, ".*"); n != 0 {
				t.Errorf("%d requests to the source, want 0", n)
			}
			registrytest.Same(t, pushed.Tree, dst.Read(t, "app", test.destination[len(test.destination)-1:]))
		})
	}
}
