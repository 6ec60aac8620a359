package registrytest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

func TestRead_Damaged(t *testing.T) {
	p, pushed := front(t)
	reg := p.Through()
	layer := "/v2/app/blobs/" + string(pushed.Blobs[2].Descriptor().Digest)
	for name, c := range map[string]struct {
		path   string
		rule   func(*registrytest.Rule)
		expect string
	}{
		"corrupt_manifest": {"/v2/app/manifests/.*", func(r *registrytest.Rule) {
			r.Reply(200, http.Header{"Content-Type": {pushed.MediaType}, "Docker-Content-Digest": {string(pushed.Digest)}}, "{}")
		}, "not " + string(pushed.Digest)},
		"manifest_without_type": {"/v2/app/manifests/.*", func(r *registrytest.Rule) { r.Alter(func(res *http.Response) { res.Header.Set("Content-Type", "/") }) }, "mime:"},
		"missing_manifest":      {"/v2/app/manifests/.*", func(r *registrytest.Rule) { r.Reply(404, nil, "") }, "HTTP 404"},
		"corrupt_blob":          {layer, func(r *registrytest.Rule) { r.Reply(200, nil, strings.Repeat("x", 20_000)) }, "another digest"},
		"truncated_blob":        {layer, func(r *registrytest.Rule) { r.Cut(50) }, "unexpected EOF"},
		"missing_blob":          {layer, func(r *registrytest.Rule) { r.Reply(404, nil, "") }, "404"},
	} {
		t.Run(name, func(t *testing.T) {
			c.rule(p.On("GET", c.path))
			defer p.Clear()
			if failure := failures(t, func(t testing.TB) { reg.Read(t, "app", "1.0") }); !strings.Contains(failure, c.expect) {
				t.Errorf("Read() failure = %q, want %q", failure, c.expect)
			}
		})
	}
}

func TestRead_MissingForeignLayer(t *testing.T) {
	reg := registrytest.Scripted(t, registrytest.Behaviour{})
	otherServer := registrytest.Blob{
		Seed: "foreign", Size: 10, Absent: true, URLs: []string{"https://example.com/layer"},
		MediaType: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
	}
	pushed := reg.Push(t, "app", "1.0", registrytest.Image{Seed: "a", Docker: true, Layers: []registrytest.Blob{registrytest.Layer("own", 10), otherServer}})
	registrytest.Same(t, pushed.Tree, reg.Read(t, "app", "1.0"))
	if n := len(pushed.Tree.Blobs); n != 2 {
		t.Errorf("len(Blobs) = %d, want the config and one layer", n)
	}
}
