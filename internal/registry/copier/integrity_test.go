package copier_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// answer makes a registry's answer another one, with its length declared or
// not.
func answer(content []byte, declared bool) func(*http.Response) {
	return func(res *http.Response) {
		_ = res.Body.Close()
		res.Body = io.NopCloser(bytes.NewReader(content))
		res.ContentLength = -1
		res.Header.Del("Content-Length")
		if declared {
			res.ContentLength = int64(len(content))
			res.Header.Set("Content-Length", strconv.Itoa(len(content)))
		}
	}
}

func TestADamagedBlobIsNeverCommitted(t *testing.T) {
	t.Parallel()
	layer := registrytest.Blob{Seed: "damaged", Size: 20_000, MediaType: ocispec.MediaTypeImageLayerGzip}
	image := raw(t, ocispec.MediaTypeImageManifest, map[string]any{"schemaVersion": 2, "layers": descriptors(layer)}, []registrytest.Blob{layer})
	d := layer.Descriptor().Digest
	right, err := io.ReadAll(layer.Open())
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(right)
	flipped[len(flipped)-1] ^= 1
	long := append(bytes.Clone(right), '!')
	for name, c := range map[string]struct {
		alter func(*http.Response)
		says  string
	}{
		"right size, wrong bytes": {answer(flipped, true), string(digest.FromBytes(flipped))},
		"short":                   {answer(right[:19_999], false), "ended after 19999 of 20000 bytes"},
		"short and declared":      {answer(right[:19_999], true), "19999 bytes"},
		"long":                    {answer(long, false), "more than the 20000 bytes"},
		"long and declared":       {answer(long, true), "20001 bytes"},
		"without end":             {func(res *http.Response) { answer(nil, false)(res); res.Body = io.NopCloser(endless{}) }, "more than the 20000 bytes"},
		"empty":                   {answer(nil, true), "0 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := pair(t, registrytest.Behaviour{})
			pushed := from.Push(t, "app", "1", image)
			from.On("GET", "/v2/app/blobs/"+string(d)).Alter(c.alter)
			err := newEngine(t).refused(t, from.Ref("app", "1"), to.Ref("to", "1"), registry.Source, registry.ErrMismatch)
			mentions(t, err.Error(), string(d), c.says, from.Addr+"/app")
			if to.HasBlob(t, "to", d) {
				t.Error("the destination has the blob")
			}
			if tags := to.Tags(t, "to"); len(tags) > 0 {
				t.Errorf("the destination has the tags %v", tags)
			}
			for _, r := range to.Requests() {
				if r.Method == http.MethodPut && r.Query.Get("digest") == string(d) && r.Status == http.StatusCreated {
					t.Errorf("the upload was completed with %d bytes", r.Received)
				}
			}
			if to.HasManifest(t, "to", string(pushed.Digest)) {
				t.Error("the destination has the manifest")
			}
			if opened, closed := sessions(to); opened != closed {
				t.Errorf("%d uploads were opened and %d closed", opened, closed)
			}
		})
	}
}

// endless is content that goes on and on.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestADamagedManifestIsNeverPushed(t *testing.T) {
	t.Parallel()
	image := registrytest.MultiArch("a")
	for name, of := range map[string]digest.Digest{
		"the root": image.Build().Digest,
		"a child":  image.Build().Manifests[1].Digest,
	} {
		t.Run(name, func(t *testing.T) {
			from, to := pair(t, registrytest.Behaviour{})
			from.Push(t, "app", "1", image)
			other := registrytest.Image{Seed: "other"}.Build()
			// The header goes on saying what was asked for.
			from.On("GET", "/v2/app/manifests/"+string(of)).Alter(answer(other.Bytes, true))
			err := newEngine(t).refused(t, from.Ref("app", "1"), to.Ref("to", "1"), registry.Source, registry.ErrMismatch)
			mentions(t, err.Error(), string(of), string(other.Digest), from.Addr+"/app")
			for _, r := range to.Requests() {
				if r.Method == http.MethodPut && strings.HasSuffix(r.Path, "/"+string(of)) {
					t.Error("the manifest was pushed")
				}
			}
			if tags := to.Tags(t, "to"); len(tags) > 0 {
				t.Errorf("the destination has the tags %v", tags)
			}
		})
	}
}

func TestATagWhoseDigestIsALieIsRefused(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	pushed := from.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	lie := digest.FromString("something else")
	from.On("HEAD", "/v2/app/manifests/1").Alter(func(res *http.Response) { res.Header.Set("Docker-Content-Digest", string(lie)) })
	from.On("GET", "/v2/app/manifests/"+string(lie)).Do(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		r.URL.Path = "/v2/app/manifests/" + string(pushed.Digest)
		next.ServeHTTP(w, r)
	})
	err := newEngine(t).refused(t, from.Ref("app", "1"), to.Ref("to", "1"), registry.Source, registry.ErrMismatch)
	mentions(t, err.Error(), string(lie), string(pushed.Digest))
	if w := writes(to); len(w) > 0 {
		t.Errorf("something was written: %+v", w)
	}
}

func TestADestinationThatStoresSomethingElseIsAnError(t *testing.T) {
	t.Parallel()
	other := string(digest.FromString("converted"))
	says := func(res *http.Response) { res.Header.Set("Docker-Content-Digest", other) }
	for name, path := range map[string]string{"a blob": "/v2/to/blobs/uploads/.*", "a manifest": "/v2/to/manifests/.*"} {
		t.Run(name, func(t *testing.T) {
			from, to := registrytest.Scripted(t, registrytest.Behaviour{}), registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{}))
			pushed := from.Push(t, "app", "1", registrytest.Image{Seed: "a"})
			to.On("PUT", path).Alter(says)
			err := newEngine(t).refused(t, pushed.Ref, to.Ref("to", "1"), registry.Destination, registry.ErrMismatch)
			mentions(t, err.Error(), other, to.Addr+"/to")
		})
	}
}

func TestAmbiguousManifestsAreRefused(t *testing.T) {
	t.Parallel()
	from, to := registrytest.Scripted(t, registrytest.Behaviour{Unchecked: true}), registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{Unchecked: true}))
	e := newEngine(t)
	blob := registrytest.Blob{Seed: "a", Size: 10, MediaType: "x"}
	b, image := blob.Descriptor(), registrytest.Image{Seed: "child"}.Build()
	disowned := image.Descriptor()
	disowned.MediaType = dockerManifest
	shrunk := image.Descriptor()
	shrunk.Size--
	text := func(mediaType, body string) registrytest.Raw {
		return registrytest.Raw{MediaType: mediaType, Bytes: []byte(body)}
	}
	index := func(ds ...ocispec.Descriptor) registrytest.Raw {
		return raw(t, ocispec.MediaTypeImageIndex, map[string]any{"schemaVersion": 2, "manifests": ds}, nil, image)
	}
	for name, c := range map[string]struct {
		content registrytest.Raw
		kind    error
		says    string
	}{
		"index with layers":     {raw(t, ocispec.MediaTypeImageIndex, map[string]any{"manifests": []any{}, "layers": descriptors(blob)}, nil), registry.ErrInvalidManifest, "the fields of an image"},
		"image with manifests":  {raw(t, ocispec.MediaTypeImageManifest, map[string]any{"config": b, "layers": []any{}, "manifests": []any{}}, nil), registry.ErrInvalidManifest, "the fields of an index"},
		"another media type":    {raw(t, ocispec.MediaTypeImageManifest, map[string]any{"mediaType": dockerManifest, "config": b, "layers": []any{}}, nil), registry.ErrInvalidManifest, "received as"},
		"duplicate key":         {text(ocispec.MediaTypeImageIndex, `{"manifests":[],"manifests":[]}`), registry.ErrInvalidManifest, "duplicate"},
		"key in another case":   {text(ocispec.MediaTypeImageIndex, `{"manifests":[],"Manifests":[]}`), registry.ErrInvalidManifest, "Manifests"},
		"child of another type": {index(disowned), registry.ErrInvalidManifest, "the index says"},
		"child of another size": {index(shrunk), registry.ErrMismatch, "the index says"},
		"child named two ways":  {index(image.Descriptor(), shrunk), registry.ErrInvalidManifest, "another size or media type"},
		"negative size":         {text(ocispec.MediaTypeImageManifest, fmt.Sprintf(`{"config":{"mediaType":"x","digest":%q,"size":-1},"layers":[]}`, b.Digest)), registry.ErrInvalidManifest, "negative"},
		"data of another blob": {text(ocispec.MediaTypeImageManifest, fmt.Sprintf(`{"config":{"mediaType":"x","digest":%q,"size":10,"data":"YWFhYWFhYWFhYQ=="},"layers":[]}`, b.Digest)),
			registry.ErrMismatch, "inline data"},
	} {
		t.Run(name, func(t *testing.T) {
			repo := strings.ReplaceAll(name, " ", "-")
			pushed := from.Push(t, repo, "1", c.content)
			err := e.refused(t, pushed.Ref, to.Ref(repo, "1"), registry.Source, c.kind)
			mentions(t, err.Error(), c.says, from.Addr+"/"+repo)
		})
	}
	if slices.ContainsFunc(to.Requests(), func(r registrytest.Request) bool { return r.Method == http.MethodPut }) {
		t.Error("something was written")
	}
}
