package provider_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

const allowMissing = "allow_missing = true"

func TestManifest_AllowMissing(t *testing.T) {
	t.Parallel()
	for name, reg := range map[string]*registrytest.Registry{"v3": registrytest.V3(t), "v2": registrytest.V2(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ws := newWorkspace(t)
			wantExists := func(block string, exists bool, or string) {
				t.Helper()
				result := ws.converge(block, output("exists", base+".exists"), output("or", `coalesce(`+base+`.pinned_reference, "nothing")`))
				if result.outputs["exists"] != exists || result.outputs["or"] != or {
					t.Errorf("exists: %v, or: %v, want %t, %s", result.outputs["exists"], result.outputs["or"], exists, or)
				}
			}
			// The repository, the tag and the digest do not exist.
			missing := manifest(reg.Ref("base", "3"), allowMissing)
			wantExists(missing, false, "nothing")
			for attribute, value := range ws.state(base) {
				if attribute != "reference" && attribute != "exists" && attribute != "allow_missing" && value != nil {
					t.Errorf("%s is %v", attribute, value)
				}
			}
			reg.Push(t, "base", "2", registrytest.DockerList("two"))
			wantExists(missing, false, "nothing")
			wantExists(manifest(reg.Ref("base", "sha256:"+strings.Repeat("0", 64)), allowMissing, `platform = "linux/arm64"`), false, "nothing")

			pushed := reg.Push(t, "base", "3", registrytest.DockerList("three"))
			wantExists(missing, true, pushed.Pinned)
			wantExists(manifest(pushed.Ref), true, pushed.Pinned)

			ws.configure(manifest(reg.Ref("base", "4"), "allow_missing = false"))
			ws.planFails().wantError("Image Not Found", "404")
		})
	}
}

// TestManifest_AllowMissingUnreadable checks that a manifest is missing only if the registry
// definitely does not have it. All other failures are errors.
func TestManifest_AllowMissingUnreadable(t *testing.T) {
	t.Parallel()
	page := http.Header{"Content-Type": {"text/html"}}
	for name, test := range map[string]struct {
		rule     func(*registrytest.Rule)
		contains []string
	}{
		"401":              {func(r *registrytest.Rule) { r.Reply(401, http.Header{"Www-Authenticate": {`Basic realm="r"`}}, "") }, []string{"HTTP 401"}},
		"403":              {func(r *registrytest.Rule) { r.Reply(403, nil, `{"errors":[{"code":"DENIED"}]}`) }, []string{"HTTP 403"}},
		"429":              {func(r *registrytest.Rule) { r.Reply(429, nil, "") }, []string{"HTTP 429"}},
		"503":              {func(r *registrytest.Rule) { r.Reply(503, nil, "") }, []string{"HTTP 503"}},
		"page_404":         {func(r *registrytest.Rule) { r.Reply(404, page, "<html>") }, []string{"HTTP 404", "does not seem to be a registry"}},
		"page":             {func(r *registrytest.Rule) { r.Reply(200, page, "<html>") }, []string{"text/html"}},
		"connection_reset": {func(r *registrytest.Rule) { r.Reset() }, []string{"Registry Is Unavailable"}},
		"empty_404":        {func(r *registrytest.Rule) { r.Reply(404, nil, "") }, []string{"HTTP 404"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := registrytest.Front(t, registrytest.Behaviour{})
			pushed := reg.Push(t, "base", "3", registrytest.DockerList("base"))
			test.rule(reg.On(".*", "/v2/base/manifests/.*"))
			ws := newWorkspace(t)
			ws.configure(manifest(pushed.Ref, allowMissing))
			result := ws.planFails()
			result.wantError(append(test.contains, reg.Addr+"/base")...).assertAt(result, "reference")
		})
	}
}

// TestManifest_AllowMissingIncomplete checks that a missing platform or child manifest of an
// existing image is an error.
func TestManifest_AllowMissingIncomplete(t *testing.T) {
	t.Parallel()
	reg := registrytest.Front(t, registrytest.Behaviour{})
	pushed := reg.Push(t, "base", "3", registrytest.DockerList("base"))
	ws := newWorkspace(t)
	ws.configure(manifest(pushed.Ref, allowMissing, `platform = "linux/s390x"`))
	ws.planFails().wantError("Unable to Read Manifest", "linux/s390x", "the index has linux/amd64, linux/arm64/v8")

	reg.DeleteManifest(t, "base", pushed.Manifests[0].Digest)
	ws.configure(manifest(pushed.Ref, allowMissing, `platform = "linux/amd64"`))
	ws.planFails().wantError("Unable to Read Manifest", "HTTP 404", string(pushed.Manifests[0].Digest))
}
