package copier_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

// serveManifests returns a registry that serves manifests without parsing them, because they
// exceed its limits. It also serves the first one under the tag "1".
func serveManifests(t *testing.T, manifests ...registrytest.Manifest) *registrytest.Proxy {
	t.Helper()
	p := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{}))
	for i, m := range manifests {
		names := string(m.Digest)
		if i == 0 {
			names += "|1"
		}
		p.On("GET|HEAD", "/v2/app/manifests/("+names+")").Do(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.Header().Set("Content-Type", m.MediaType)
			w.Header().Set("Docker-Content-Digest", string(m.Digest))
			w.Header().Set("Content-Length", strconv.Itoa(len(m.Bytes)))
			_, _ = w.Write(m.Bytes)
		})
	}
	return p
}

// paddedIndex returns an empty index with a size of n bytes. Its digest depends on label.
func paddedIndex(label string, n int) registrytest.Manifest {
	body := fmt.Appendf(nil, `{"annotations":{"label":%q},"manifests":[]}`, label)
	body = append(body, bytes.Repeat([]byte(" "), n-len(body))...)
	return registrytest.Raw{MediaType: ocispec.MediaTypeImageIndex, Bytes: body}.Build()
}

func TestCopy_ManifestTooLarge(t *testing.T) {
	t.Parallel()
	large := paddedIndex("large", 4<<20+1)
	from, to := serveManifests(t, large), registrytest.Scripted(t, registrytest.Behaviour{})
	err := newEngine(t).copyError(t, from.Ref("app", "1"), to.Ref("app", "1"), registry.Source, registry.ErrLimit)
	assertContains(t, err.Error(), "4 MiB", from.Addr+"/app")
	if tags := to.Tags(t, "app"); len(tags) > 0 {
		t.Errorf("destination tags = %v, want none", tags)
	}
	newEngine(t, func(o *remote.Options) { o.MaxManifestBytes = 5 << 20 }).copy(t, from.Ref("app", "1"), to.Ref("app", "1"))
	if to.Digest(t, "app", "1") != large.Digest {
		t.Errorf("tag has digest %s, want %s", to.Digest(t, "app", "1"), large.Digest)
	}
}

func TestCopy_TotalManifestSizeLimit(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		mediaType string
		fetched   int // minimum number of children
	}{
		"manifests":    {ocispec.MediaTypeImageIndex, 0},
		"unknown_type": {unknownType, 3},
	} {
		t.Run(name, func(t *testing.T) {
			var children []registrytest.Content
			served := []registrytest.Manifest{{}}
			for i := range 5 {
				child := paddedIndex(fmt.Sprint(i), 4<<20)
				child.MediaType = c.mediaType
				children, served = append(children, child), append(served, child)
			}
			served[0] = registrytest.Index{Manifests: children}.Build()
			from, to := serveManifests(t, served...), registrytest.Scripted(t, registrytest.Behaviour{})
			err := newEngine(t).copyError(t, from.Ref("app", "1"), to.Ref("app", "1"), registry.Source, registry.ErrLimit)
			assertContains(t, err.Error(), "larger than 10 MiB", string(served[0].Digest))
			if n := from.Count("GET", "/v2/app/manifests/.*"); c.fetched == 0 && n != 1 || n < 1+c.fetched {
				t.Errorf("source received %d GET requests for manifests, want 1 and %d children", n, c.fetched)
			}
			if tags := to.Tags(t, "app"); len(tags) > 0 {
				t.Errorf("destination tags = %v, want none", tags)
			}
		})
	}
}

// wideIndex returns an index of small children that do not exist. Their digests depend on seed.
func wideIndex(seed string, children int) registrytest.Manifest {
	var body bytes.Buffer
	body.WriteString(`{"manifests":[`)
	for i := range children {
		fmt.Fprintf(&body, `{"mediaType":%q,"size":1,"digest":%q},`, ocispec.MediaTypeImageManifest, digest.FromString(fmt.Sprint(seed, i)))
	}
	body.Truncate(body.Len() - 1)
	body.WriteString(`]}`)
	return registrytest.Raw{MediaType: ocispec.MediaTypeImageIndex, Bytes: body.Bytes()}.Build()
}

func TestCopy_TooManyIndexEntries(t *testing.T) {
	t.Parallel()
	from, to := serveManifests(t, wideIndex("a", 10_001)), registrytest.Scripted(t, registrytest.Behaviour{})
	err := newEngine(t).copyError(t, from.Ref("app", "1"), to.Ref("app", "1"), registry.Source, registry.ErrLimit)
	assertContains(t, err.Error(), "more than 10000 entries", from.Addr+"/app")
}

func TestCopy_TooManyNodes(t *testing.T) {
	t.Parallel()
	a, b, c := wideIndex("a", 7000), wideIndex("b", 7000), wideIndex("c", 7000)
	root := registrytest.Index{Manifests: []registrytest.Content{a, b, c}}.Build()
	from, to := serveManifests(t, root, a, b, c), registrytest.Scripted(t, registrytest.Behaviour{})
	// The registry does not respond to requests for the children, so that all indexes are read first.
	from.On("GET", ".*").Stall()
	e := newEngine(t, withMaxRequests(64, from.Registry))
	err := e.copyError(t, from.Ref("app", "1"), to.Ref("app", "1"), registry.Source, registry.ErrLimit)
	assertContains(t, err.Error(), "more than 20000 manifests and blobs", string(root.Digest))
}

func TestCopy_MaxIndexDepth(t *testing.T) {
	t.Parallel()
	from, to := registrytest.Scripted(t, registrytest.Behaviour{}), registrytest.Scripted(t, registrytest.Behaviour{})
	e := newEngine(t)
	nested := func(levels int) registrytest.Content {
		var content registrytest.Content = registrytest.Image{Seed: "core"}
		for range levels {
			content = registrytest.Index{Manifests: []registrytest.Content{content}}.Build()
		}
		return content
	}
	// The image is one level below the innermost index, and its blobs are another level.
	fits := from.Push(t, "fits", "1", nested(31))
	e.copy(t, fits.Ref, to.Ref("fits", "1"))
	registrytest.Same(t, fits.Tree, to.Read(t, "fits", "1"))

	deep := from.Push(t, "deep", "1", nested(50))
	err := e.copyError(t, deep.Ref, to.Ref("deep", "1"), registry.Source, registry.ErrLimit)
	assertContains(t, err.Error(), "deeper than 32", string(deep.Digest))
	assertUntouched(t, to, "deep", deep)
}

func TestCopy_DuplicateReferences(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	var content registrytest.Content = registrytest.Image{Seed: "core"}.Build()
	digests := map[digest.Digest]bool{content.Build().Digest: true}
	for range 30 {
		d := content.Build().Descriptor()
		content = rawManifest(t, ocispec.MediaTypeImageIndex, map[string]any{"schemaVersion": 2, "manifests": []ocispec.Descriptor{d, d}}, nil, content).Build()
		digests[content.Build().Digest] = true
	}
	pushed := from.Push(t, "app", "1", content)
	newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("app", "1"))
	registrytest.Same(t, pushed.Tree, to.Read(t, "app", "1"))
	for d := range digests {
		if n := from.Count("GET", "/v2/app/manifests/"+string(d)); n != 1 {
			t.Errorf("manifest %s was fetched %d times, want 1", d, n)
		}
		if n := to.Count("PUT", "/v2/app/manifests/"+string(d)); n != 1 && d != pushed.Digest {
			t.Errorf("manifest %s was pushed %d times, want 1", d, n)
		}
	}
	for d := range pushed.Tree.Blobs {
		if n := from.Count("GET", "/v2/app/blobs/"+string(d)); n != 1 {
			t.Errorf("blob %s was fetched %d times, want 1", d, n)
		}
	}
}
