package copier_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

// check is what an engine finds to be missing of a manifest of "to", and of what
// refers to it.
func (e engine) check(t *testing.T, to *registrytest.Proxy, root digest.Digest, referrers ...copier.Referrer) []digest.Digest {
	t.Helper()
	missing, err := e.copier.Check(t.Context(), e.client.Repository(parse(t, to.Ref("to", "1")), remote.Pull), root, referrers)
	if err != nil {
		t.Fatal(err)
	}
	return missing
}

func TestCheck_MissingContentAndRepair(t *testing.T) {
	t.Parallel()
	image := mixed("a")
	built := image.Build()
	amd64 := image.Manifests[0].Build()
	layer, config, child := amd64.Blobs[1].Descriptor().Digest, amd64.Blobs[0].Descriptor().Digest, image.Manifests[1].Build().Digest
	for name, c := range map[string]struct {
		lose    func(*testing.T, *registrytest.Proxy)
		missing []digest.Digest
	}{
		"nothing":         {func(*testing.T, *registrytest.Proxy) {}, nil},
		"a layer":         {func(t *testing.T, to *registrytest.Proxy) { to.DeleteBlob(t, "to", layer) }, []digest.Digest{layer}},
		"a configuration": {func(t *testing.T, to *registrytest.Proxy) { to.DeleteBlob(t, "to", config) }, []digest.Digest{config}},
		"a child":         {func(t *testing.T, to *registrytest.Proxy) { to.DeleteManifest(t, "to", child) }, []digest.Digest{child}},
		"a child and a layer": {func(t *testing.T, to *registrytest.Proxy) {
			to.DeleteManifest(t, "to", child)
			to.DeleteBlob(t, "to", layer)
		}, []digest.Digest{child, layer}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from, to := pair(t, registrytest.Behaviour{ImmutableTags: true})
			pushed := from.Push(t, "app", "1", image)
			e := newEngine(t)
			e.copy(t, from.Ref("app", "1"), to.Ref("to", "1"))
			c.lose(t, to)
			to.Forget()
			missing := e.check(t, to, built.Digest)
			slices.Sort(c.missing)
			if !slices.Equal(missing, c.missing) {
				t.Fatalf("missing are %s, want %s", missing, c.missing)
			}
			for _, r := range to.Requests() {
				if r.Method != http.MethodGet && r.Method != http.MethodHead {
					t.Errorf("a check sends %s %s", r.Method, r.Path)
				}
			}
			if n := to.Count("GET", "/v2/to/blobs/.*"); n != 0 {
				t.Errorf("a check reads %d blobs", n)
			}
			report := e.copy(t, from.Ref("app", "1"), to.Ref("to", "1"), func(j *copier.Job) { j.Missing = missing })
			registrytest.Same(t, pushed.Tree, to.Read(t, "to", "1"))
			if lost := e.check(t, to, built.Digest); lost != nil {
				t.Errorf("after the repair %s are missing", lost)
			}
			if want := len(slices.DeleteFunc(slices.Clone(missing), func(d digest.Digest) bool { return d == child })); report.Copied.Blobs != want {
				t.Errorf("%d blobs were sent, want %d", report.Copied.Blobs, want)
			}
		})
	}
}

func TestCheck_DamagedContent(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	image := mixed("a")
	from.Push(t, "app", "1", image)
	e := newEngine(t)
	e.copy(t, from.Ref("app", "1"), to.Ref("to", "1"))
	child, blob := image.Manifests[0].Build(), image.Manifests[1].Build().Blobs[0].Descriptor().Digest
	to.On("GET", "/v2/to/manifests/"+string(child.Digest)).Reply(200, http.Header{"Content-Type": {child.MediaType}}, "{}")
	to.On("HEAD", "/v2/to/blobs/"+string(blob)).Reply(200, http.Header{"Content-Length": {"7"}}, "")
	want := []digest.Digest{child.Digest, blob}
	slices.Sort(want)
	if missing := e.check(t, to, image.Build().Digest); !slices.Equal(missing, want) {
		t.Errorf("missing are %s, want %s", missing, want)
	}
}

// A referrer is missing where something of it is, and where nobody finds it.
func TestCheck_Referrers(t *testing.T) {
	t.Parallel()
	for _, api := range []bool{true, false} {
		for name, c := range map[string]struct {
			lose func(*testing.T, *registrytest.Proxy, signed) digest.Digest // and what is missing then
			tags bool                                                        // needs a registry without the API
		}{
			"a blob": {func(t *testing.T, to *registrytest.Proxy, s signed) digest.Digest {
				lost := s.sbom.Blobs[1].Descriptor().Digest
				to.DeleteBlob(t, "to", lost)
				return lost
			}, false},
			"its manifest": {func(t *testing.T, to *registrytest.Proxy, s signed) digest.Digest {
				to.DeleteManifest(t, "to", s.second.Digest)
				return s.second.Digest
			}, false},
			"its tag": {func(t *testing.T, to *registrytest.Proxy, s signed) digest.Digest {
				d := to.Digest(t, "to", s.legacy.Tag)
				to.DeleteTag(t, "to", s.legacy.Tag)
				return d
			}, false},
			"the list": {func(t *testing.T, to *registrytest.Proxy, s signed) digest.Digest {
				to.DeleteTag(t, "to", registrytest.ReferrersTag(s.signature.Digest))
				return s.second.Digest
			}, true},
		} {
			if c.tags && api {
				continue
			}
			t.Run(fmt.Sprint(name, ", API ", api), func(t *testing.T) {
				t.Parallel()
				from, to := pair(t, registrytest.Behaviour{Referrers: api})
				s := newSigned(t, from.Registry)
				e := newEngine(t)
				report := e.copy(t, from.Ref("app", "1"), to.Ref("to", "1"), withReferrers())
				if missing := e.check(t, to, s.image.Digest, report.Found...); missing != nil {
					t.Fatalf("%s are missing of what was just copied", missing)
				}
				lost := c.lose(t, to, s)
				missing := e.check(t, to, s.image.Digest, report.Found...)
				if !slices.Equal(missing, []digest.Digest{lost}) {
					t.Errorf("missing are %s, want %s", missing, lost)
				}
				e.copy(t, from.Ref("app", "1"), to.Ref("to", "1"), withReferrers(), func(j *copier.Job) { j.Missing = missing })
				s.arrived(t, to.Registry)
				if missing := e.check(t, to, s.image.Digest, report.Found...); missing != nil {
					t.Errorf("after the repair %s are missing", missing)
				}
			})
		}
	}
}

// What cannot be found out is not missing.
func TestCheck_RegistryError(t *testing.T) {
	t.Parallel()
	for status, kind := range map[int]error{401: registry.ErrUnauthorized, 403: registry.ErrDenied, 503: registry.ErrUnavailable} {
		from, to := pair(t, registrytest.Behaviour{})
		image := mixed("a")
		from.Push(t, "app", "1", image)
		e := newEngine(t)
		e.copy(t, from.Ref("app", "1"), to.Ref("to", "1"))
		to.On("HEAD", "/v2/to/blobs/.*").After(2).Reply(status, nil, "")
		_, err := e.copier.Check(t.Context(), e.client.Repository(parse(t, to.Ref("to", "1")), remote.Pull), image.Build().Digest, nil)
		failure(t, err, registry.Destination, kind)
	}
}
