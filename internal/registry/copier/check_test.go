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

// check returns the digests that Check reports as missing for a manifest of the repository
// "to" and its referrers.
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
	image := mixedIndex("a")
	built := image.Build()
	amd64 := image.Manifests[0].Build()
	layer, config, child := amd64.Blobs[1].Descriptor().Digest, amd64.Blobs[0].Descriptor().Digest, image.Manifests[1].Build().Digest
	for name, c := range map[string]struct {
		remove  func(*testing.T, *registrytest.Proxy)
		missing []digest.Digest
	}{
		"nothing": {func(*testing.T, *registrytest.Proxy) {}, nil},
		"layer":   {func(t *testing.T, to *registrytest.Proxy) { to.DeleteBlob(t, "to", layer) }, []digest.Digest{layer}},
		"config":  {func(t *testing.T, to *registrytest.Proxy) { to.DeleteBlob(t, "to", config) }, []digest.Digest{config}},
		"child":   {func(t *testing.T, to *registrytest.Proxy) { to.DeleteManifest(t, "to", child) }, []digest.Digest{child}},
		"child_and_layer": {func(t *testing.T, to *registrytest.Proxy) {
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
			c.remove(t, to)
			to.Forget()
			missing := e.check(t, to, built.Digest)
			slices.Sort(c.missing)
			if !slices.Equal(missing, c.missing) {
				t.Fatalf("Check() = %s, want %s", missing, c.missing)
			}
			for _, r := range to.Requests() {
				if r.Method != http.MethodGet && r.Method != http.MethodHead {
					t.Errorf("Check() sent %s %s, want only GET and HEAD requests", r.Method, r.Path)
				}
			}
			if n := to.Count("GET", "/v2/to/blobs/.*"); n != 0 {
				t.Errorf("Check() read %d blobs, want 0", n)
			}
			report := e.copy(t, from.Ref("app", "1"), to.Ref("to", "1"), func(j *copier.Job) { j.Missing = missing })
			registrytest.Same(t, pushed.Tree, to.Read(t, "to", "1"))
			if deleted := e.check(t, to, built.Digest); deleted != nil {
				t.Errorf("Check() after the repair = %s, want none", deleted)
			}
			if want := len(slices.DeleteFunc(slices.Clone(missing), func(d digest.Digest) bool { return d == child })); report.Copied.Blobs != want {
				t.Errorf("Copy() copied %d blobs, want %d", report.Copied.Blobs, want)
			}
		})
	}
}

func TestCheck_DamagedContent(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	image := mixedIndex("a")
	from.Push(t, "app", "1", image)
	e := newEngine(t)
	e.copy(t, from.Ref("app", "1"), to.Ref("to", "1"))
	child, blob := image.Manifests[0].Build(), image.Manifests[1].Build().Blobs[0].Descriptor().Digest
	to.On("GET", "/v2/to/manifests/"+string(child.Digest)).Reply(200, http.Header{"Content-Type": {child.MediaType}}, "{}")
	to.On("HEAD", "/v2/to/blobs/"+string(blob)).Reply(200, http.Header{"Content-Length": {"7"}}, "")
	want := []digest.Digest{child.Digest, blob}
	slices.Sort(want)
	if missing := e.check(t, to, image.Build().Digest); !slices.Equal(missing, want) {
		t.Errorf("Check() = %s, want %s", missing, want)
	}
}

// TestCheck_Referrers verifies that a referrer is missing if part of its content is missing, or if
// clients cannot find it.
func TestCheck_Referrers(t *testing.T) {
	t.Parallel()
	for _, referrersAPI := range []bool{true, false} {
		for name, c := range map[string]struct {
			remove func(*testing.T, *registrytest.Proxy, signedImage) digest.Digest // returns the digest that is then missing
			tags   bool                                                             // needs a registry without the referrers API
		}{
			"blob": {func(t *testing.T, to *registrytest.Proxy, s signedImage) digest.Digest {
				deleted := s.sbom.Blobs[1].Descriptor().Digest
				to.DeleteBlob(t, "to", deleted)
				return deleted
			}, false},
			"manifest": {func(t *testing.T, to *registrytest.Proxy, s signedImage) digest.Digest {
				to.DeleteManifest(t, "to", s.second.Digest)
				return s.second.Digest
			}, false},
			"tag": {func(t *testing.T, to *registrytest.Proxy, s signedImage) digest.Digest {
				d := to.Digest(t, "to", s.legacy.Tag)
				to.DeleteTag(t, "to", s.legacy.Tag)
				return d
			}, false},
			"index_tag": {func(t *testing.T, to *registrytest.Proxy, s signedImage) digest.Digest {
				to.DeleteTag(t, "to", registrytest.ReferrersTag(s.signature.Digest))
				return s.second.Digest
			}, true},
		} {
			if c.tags && referrersAPI {
				continue
			}
			t.Run(fmt.Sprintf("%s/referrers_api_%t", name, referrersAPI), func(t *testing.T) {
				t.Parallel()
				from, to := pair(t, registrytest.Behaviour{Referrers: referrersAPI})
				s := newSignedImage(t, from.Registry)
				e := newEngine(t)
				report := e.copy(t, from.Ref("app", "1"), to.Ref("to", "1"), withReferrers())
				if missing := e.check(t, to, s.image.Digest, report.Found...); missing != nil {
					t.Fatalf("Check() after Copy() = %s, want none", missing)
				}
				deleted := c.remove(t, to, s)
				missing := e.check(t, to, s.image.Digest, report.Found...)
				if !slices.Equal(missing, []digest.Digest{deleted}) {
					t.Errorf("Check() = %s, want %s", missing, deleted)
				}
				e.copy(t, from.Ref("app", "1"), to.Ref("to", "1"), withReferrers(), func(j *copier.Job) { j.Missing = missing })
				s.assertCopied(t, to.Registry)
				if missing := e.check(t, to, s.image.Digest, report.Found...); missing != nil {
					t.Errorf("Check() after the repair = %s, want none", missing)
				}
			})
		}
	}
}

// TestCheck_RegistryError verifies that Check returns an error if a request fails for another
// reason than missing content.
func TestCheck_RegistryError(t *testing.T) {
	t.Parallel()
	for status, kind := range map[int]error{401: registry.ErrUnauthorized, 403: registry.ErrDenied, 503: registry.ErrUnavailable} {
		from, to := pair(t, registrytest.Behaviour{})
		image := mixedIndex("a")
		from.Push(t, "app", "1", image)
		e := newEngine(t)
		e.copy(t, from.Ref("app", "1"), to.Ref("to", "1"))
		to.On("HEAD", "/v2/to/blobs/.*").After(2).Reply(status, nil, "")
		_, err := e.copier.Check(t.Context(), e.client.Repository(parse(t, to.Ref("to", "1")), remote.Pull), image.Build().Digest, nil)
		assertError(t, err, registry.Destination, kind)
	}
}
