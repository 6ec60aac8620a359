package copier_test

import (
	"bytes"
	"compress/gzip"
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
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
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

func TestCopy_DamagedBlob(t *testing.T) {
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
		kind  error
		says  string
	}{
		"right size, wrong bytes": {answer(flipped, true), registry.ErrMismatch, string(digest.FromBytes(flipped))},
		"short":                   {answer(right[:19_999], false), registry.ErrMismatch, "ended after 19999 of 20000 bytes"},
		"short and declared":      {answer(right[:19_999], true), registry.ErrMismatch, "19999 bytes"},
		"short, declared whole":   {lying(answer(right[:19_999], true), 20_000), registry.ErrUnavailable, "unexpected EOF"},
		"long":                    {answer(long, false), registry.ErrMismatch, "more than the 20000 bytes"},
		"long and declared":       {answer(long, true), registry.ErrMismatch, "20001 bytes"},
		"without end":             {func(res *http.Response) { answer(nil, false)(res); res.Body = io.NopCloser(endless{}) }, registry.ErrMismatch, "more than the 20000 bytes"},
		"empty":                   {answer(nil, true), registry.ErrMismatch, "0 bytes"},
		"a page":                  {answer([]byte("<html>sign in</html>"), false), registry.ErrMismatch, "ended after 20 of 20000 bytes"},
		"packed for the way":      {packed(right), registry.ErrProtocol, "Content-Encoding gzip"},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := pair(t, registrytest.Behaviour{})
			pushed := from.Push(t, "app", "1", image)
			from.On("GET", "/v2/app/blobs/"+string(d)).Alter(c.alter)
			err := newEngine(t).refused(t, from.Ref("app", "1"), to.Ref("to", "1"), registry.Source, c.kind)
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

// lying makes an answer declare another length than it has.
func lying(alter func(*http.Response), length int64) func(*http.Response) {
	return func(res *http.Response) {
		alter(res)
		res.StatusCode, res.ContentLength = http.StatusOK, length // also to who asks for the rest
		res.Header.Set("Content-Length", strconv.FormatInt(length, 10))
	}
}

// packed makes an answer content that was compressed for the way.
func packed(content []byte) func(*http.Response) {
	var small bytes.Buffer
	w := gzip.NewWriter(&small)
	_, _ = w.Write(content)
	_ = w.Close()
	return func(res *http.Response) {
		answer(small.Bytes(), true)(res)
		res.Header.Set("Content-Encoding", "gzip")
	}
}

// endless is content that goes on and on.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestCopy_DamagedManifest(t *testing.T) {
	t.Parallel()
	image := registrytest.MultiArch("a")
	root, child := image.Build(), image.Build().Manifests[1]
	other := registrytest.Image{Seed: "other"}.Build()
	for name, c := range map[string]struct {
		of    registrytest.Manifest
		alter func(*http.Response)
		kind  error
		says  string
	}{
		// The header goes on saying what was asked for.
		"the root":          {root, answer(other.Bytes, true), registry.ErrMismatch, string(other.Digest)},
		"a child":           {child, answer(other.Bytes, true), registry.ErrMismatch, string(other.Digest)},
		"the root, packed":  {root, packed(root.Bytes), registry.ErrProtocol, "Content-Encoding gzip"},
		"a child, packed":   {child, packed(child.Bytes), registry.ErrProtocol, "Content-Encoding gzip"},
		"the root, cut":     {root, answer(root.Bytes[:len(root.Bytes)-1], true), registry.ErrMismatch, "its bytes have the digest"},
		"the root, empty":   {root, answer(nil, true), registry.ErrMismatch, string(digest.FromBytes(nil))},
		"the root, a blank": {root, answer(append(bytes.Clone(root.Bytes), ' '), true), registry.ErrMismatch, "its bytes have the digest"},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := pair(t, registrytest.Behaviour{})
			from.Push(t, "app", "1", image)
			from.On("GET", "/v2/app/manifests/"+string(c.of.Digest)).Alter(c.alter)
			err := newEngine(t).refused(t, from.Ref("app", "1"), to.Ref("to", "1"), registry.Source, c.kind)
			mentions(t, err.Error(), string(c.of.Digest), c.says, from.Addr+"/app")
			if w := writes(to); c.of.Digest == root.Digest && len(w) > 0 {
				t.Errorf("something was written: %+v", w)
			}
			for _, d := range []digest.Digest{c.of.Digest, root.Digest} {
				if to.HasManifest(t, "to", string(d)) {
					t.Errorf("the destination has %s", d)
				}
			}
			if tags := to.Tags(t, "to"); len(tags) > 0 {
				t.Errorf("the destination has the tags %v", tags)
			}
		})
	}
}

// Within one registry the manifest comes with the tag. What its bytes say counts,
// also where the registry says something else of them.
func TestCopy_WrongDigestHeader(t *testing.T) {
	t.Parallel()
	_, reg := pair(t, registrytest.Behaviour{})
	pushed := reg.Push(t, "from", "1", registrytest.Image{Seed: "a"})
	lie := digest.FromString("something else")
	reg.On("GET", "/v2/from/manifests/1").Alter(func(res *http.Response) { res.Header.Set("Docker-Content-Digest", string(lie)) })
	report := newEngine(t).copy(t, reg.Ref("from", "1"), reg.Ref("to", "1"))
	registrytest.Same(t, pushed.Tree, reg.Read(t, "to", "1"))
	if report.Digest != pushed.Digest || len(report.Warnings) != 1 {
		t.Fatalf("the report says %s, with the warnings %q", report.Digest, report.Warnings)
	}
	mentions(t, report.Warnings[0], reg.Addr+"/from", string(lie), string(pushed.Digest), "the latter is used")
}

func TestCopy_WrongTagDigest(t *testing.T) {
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

func TestCopy_DestinationStoresOtherDigest(t *testing.T) {
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

func TestCopy_NotAManifest(t *testing.T) {
	t.Parallel()
	const index = ocispec.MediaTypeImageIndex
	levels := strings.Repeat("[", 100_000)
	for name, c := range map[string]struct {
		mediaType, body string
		kind            error
		says            string
	}{
		"null":                    {index, "null", registry.ErrInvalidManifest, "not a JSON object"},
		"a list":                  {index, "[]", registry.ErrInvalidManifest, "not a JSON object"},
		"nothing":                 {index, "", registry.ErrInvalidManifest, "not a JSON object"},
		"a page":                  {index, "<html>sign in</html>", registry.ErrInvalidManifest, "not a JSON object"},
		"invalid UTF-8":           {index, "{\"annotations\":{\"a\":\"\xff\"}}", registry.ErrInvalidManifest, "invalid UTF-8"},
		"100,000 lists":           {index, `{"x":` + levels, registry.ErrInvalidManifest, "max depth"},
		"100,000 lists, closed":   {index, `{"x":` + levels + strings.Repeat("]", 100_000) + "}", registry.ErrInvalidManifest, "max depth"},
		"100,000 objects":         {index, strings.Repeat(`{"x":`, 100_000), registry.ErrInvalidManifest, "max depth"},
		"a page that says so":     {"text/html", "<html>sign in</html>", registry.ErrProtocol, "no manifest's"},
		"a manifest and no type":  {"", `{"manifests":[]}`, registry.ErrProtocol, "no manifest's"},
		"a type that is no type":  {"manifest", `{"manifests":[]}`, registry.ErrProtocol, "no manifest's"},
		"a page of unknown type":  {thing, "<html>sign in</html>", registry.ErrInvalidManifest, "not a JSON object"},
		"JSON of an unknown type": {"application/json", `{"mediaType":"` + index + `","manifests":[]}`, registry.ErrInvalidManifest, "it says it is"},
	} {
		t.Run(name, func(t *testing.T) {
			from := serving(t, registrytest.Raw{MediaType: c.mediaType, Bytes: []byte(c.body)}.Build())
			to := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{}))
			err := newEngine(t).refused(t, from.Ref("app", "1"), to.Ref("to", "1"), registry.Source, c.kind)
			mentions(t, err.Error(), from.Addr+"/app", c.mediaType, c.says)
			if w := writes(to); len(w) > 0 {
				t.Errorf("something was written: %+v", w)
			}
		})
	}
}

func TestCopy_ContentTypeParameters(t *testing.T) {
	t.Parallel()
	for _, parameters := range []string{"; charset=utf-8", ";charset=UTF-8;q=1", ";", "; charset", `; a="b;c"`, " ; a=1; a=2"} {
		from, to := pair(t, registrytest.Behaviour{})
		pushed := from.Push(t, "app", "1", registrytest.MultiArch("a"))
		from.On("GET|HEAD", "/v2/app/manifests/.*").Alter(func(res *http.Response) {
			res.Header.Set("Content-Type", res.Header.Get("Content-Type")+parameters)
		})
		report := newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"))
		if report.MediaType != pushed.MediaType {
			t.Errorf("%q: the report says %q", parameters, report.MediaType)
		}
		registrytest.Same(t, pushed.Tree, to.Read(t, "to", "1"))
	}
}

// A manifest need not say what it is. Whoever planned a copy by what the registry
// said of it gets that or nothing.
func TestCopy_MediaTypeMismatch(t *testing.T) {
	t.Parallel()
	layer := registrytest.Blob{Seed: "a", Size: 10, MediaType: ocispec.MediaTypeImageLayerGzip}
	image := raw(t, ocispec.MediaTypeImageManifest, map[string]any{"schemaVersion": 2, "layers": descriptors(layer)}, []registrytest.Blob{layer})
	from, to := pair(t, registrytest.Behaviour{})
	pushed := from.Push(t, "app", "1", image)
	said := func(mediaType string) func(*copier.Job) {
		return func(job *copier.Job) { job.Digest, job.MediaType = pushed.Digest, mediaType }
	}
	e := newEngine(t)
	err := e.refused(t, from.Ref("app", "1"), to.Ref("to", "1"), registry.Source, registry.ErrInvalidManifest, said(dockerManifest))
	mentions(t, err.Error(), dockerManifest, ocispec.MediaTypeImageManifest, string(pushed.Digest))
	if sent := to.Count("POST|PUT", ".*"); sent != 0 {
		t.Errorf("the destination was sent %d things", sent)
	}
	e.copy(t, from.Ref("app", "1"), to.Ref("to", "1"), said(ocispec.MediaTypeImageManifest))
	registrytest.Same(t, pushed.Tree, to.Read(t, "to", "1"))
}

// A schema 1 manifest says no sizes, so that the registry is asked for them.
func TestCopy_Schema1InvalidLayerSize(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		size string
		kind error
		says string
	}{
		"none":        {"0", registry.ErrInvalidManifest, "a size of 0 does not go with its digest"},
		"2^63-1":      {"9223372036854775807", registry.ErrLimit, "its size of 9223372036854775807 bytes"},
		"another one": {"5", registry.ErrMismatch, "its descriptor says 5"},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := pair(t, registrytest.Behaviour{})
			from.Push(t, "app", "old", registrytest.Schema1Image{Seed: "a", Tag: "old"})
			from.On("HEAD", "/v2/app/blobs/.*").Reply(http.StatusOK, http.Header{"Content-Length": {c.size}}, "")
			err := newEngine(t).refused(t, from.Ref("app", "old"), to.Ref("to", "1"), registry.Source, c.kind)
			mentions(t, err.Error(), from.Addr+"/app", c.says)
			if n := to.Count("PUT", ".*"); n != 0 {
				t.Errorf("%d times something was put", n)
			}
		})
	}
}

// badDigests are none, of an algorithm that can be computed, in its own form.
var badDigests = []digest.Digest{
	"", "sha256", "sha256:", "sha256:abc", "sha256:../../x", "md5:d41d8cd98f00b204e9800998ecf8427e",
	"sha256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855", // in upper case
	"SHA256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
	"sha256%3Ae3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", // percent-encoded
	"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b85?",
}

func TestCopy_InvalidDigestInManifest(t *testing.T) {
	t.Parallel()
	for place, c := range map[string]struct{ mediaType, format string }{
		"a child":         {ocispec.MediaTypeImageIndex, `{"manifests":[{"mediaType":"` + ocispec.MediaTypeImageManifest + `","digest":%q,"size":5}]}`},
		"a layer":         {ocispec.MediaTypeImageManifest, `{"layers":[{"digest":%q,"size":5}]}`},
		"a configuration": {dockerManifest, `{"config":{"digest":%q,"size":5}}`},
		"a subject":       {ocispec.MediaTypeImageManifest, `{"layers":[],"subject":{"digest":%q,"size":5}}`},
		"schema 1":        {schema1Plain, `{"fsLayers":[{"blobSum":%q}]}`},
	} {
		t.Run(place, func(t *testing.T) {
			for _, bad := range badDigests {
				from := serving(t, registrytest.Raw{MediaType: c.mediaType, Bytes: fmt.Appendf(nil, c.format, bad)}.Build())
				to := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{}))
				err := newEngine(t).refused(t, from.Ref("app", "1"), to.Ref("to", "1"), registry.Source, registry.ErrInvalidManifest)
				mentions(t, err.Error(), from.Addr+"/app", fmt.Sprintf("(%q)", bad))
				// The tag and its manifest, and the tag that is there.
				if a, b := len(from.Requests()), len(to.Requests()); a != 2 || b != 1 {
					t.Errorf("%q: %d and %d requests, want 2 and 1", bad, a, b)
				}
			}
		})
	}
}

func TestCopy_AmbiguousManifest(t *testing.T) {
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
