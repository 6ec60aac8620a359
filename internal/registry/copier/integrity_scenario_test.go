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

// withBody replaces the body of a response. It sets Content-Length only if declared is true.
func withBody(content []byte, declared bool) func(*http.Response) {
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
	image := rawManifest(t, ocispec.MediaTypeImageManifest, map[string]any{"schemaVersion": 2, "layers": descriptors(layer)}, []registrytest.Blob{layer})
	d := layer.Descriptor().Digest
	valid, err := io.ReadAll(layer.Open())
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(valid)
	flipped[len(flipped)-1] ^= 1
	long := append(bytes.Clone(valid), '!')
	for name, c := range map[string]struct {
		alter    func(*http.Response)
		kind     error
		wantText string
	}{
		"wrong_bytes":         {withBody(flipped, true), registry.ErrMismatch, string(digest.FromBytes(flipped))},
		"short":               {withBody(valid[:19_999], false), registry.ErrMismatch, "ended after 19999 of 20000 bytes"},
		"short_with_length":   {withBody(valid[:19_999], true), registry.ErrMismatch, "19999 bytes"},
		"shorter_than_length": {withContentLength(withBody(valid[:19_999], true), 20_000), registry.ErrUnavailable, "unexpected EOF"},
		"long":                {withBody(long, false), registry.ErrMismatch, "more than the 20000 bytes"},
		"long_with_length":    {withBody(long, true), registry.ErrMismatch, "20001 bytes"},
		"endless":             {func(res *http.Response) { withBody(nil, false)(res); res.Body = io.NopCloser(endlessReader{}) }, registry.ErrMismatch, "more than the 20000 bytes"},
		"empty":               {withBody(nil, true), registry.ErrMismatch, "0 bytes"},
		"html_page":           {withBody([]byte("<html>sign in</html>"), false), registry.ErrMismatch, "ended after 20 of 20000 bytes"},
		"content_encoding":    {gzipped(valid), registry.ErrProtocol, "Content-Encoding gzip"},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := pair(t, registrytest.Behaviour{})
			pushed := from.Push(t, "app", "1", image)
			from.On("GET", "/v2/app/blobs/"+string(d)).Alter(c.alter)
			err := newEngine(t).copyError(t, from.Ref("app", "1"), to.Ref("to", "1"), registry.Source, c.kind)
			assertContains(t, err.Error(), string(d), c.wantText, from.Addr+"/app")
			if to.HasBlob(t, "to", d) {
				t.Error("destination has the blob")
			}
			if tags := to.Tags(t, "to"); len(tags) > 0 {
				t.Errorf("destination tags = %v, want none", tags)
			}
			for _, r := range to.Requests() {
				if r.Method == http.MethodPut && r.Query.Get("digest") == string(d) && r.Status == http.StatusCreated {
					t.Errorf("upload was completed with %d bytes", r.Received)
				}
			}
			if to.HasManifest(t, "to", string(pushed.Digest)) {
				t.Error("destination has the manifest")
			}
			if opened, closed := sessions(to); opened != closed {
				t.Errorf("%d uploads were started and %d completed or canceled", opened, closed)
			}
		})
	}
}

// withContentLength applies alter to a response and then sets another Content-Length.
func withContentLength(alter func(*http.Response), length int64) func(*http.Response) {
	return func(res *http.Response) {
		alter(res)
		res.StatusCode, res.ContentLength = http.StatusOK, length // also for a range request for the rest
		res.Header.Set("Content-Length", strconv.FormatInt(length, 10))
	}
}

// gzipped replaces the body of a response with content in the content encoding gzip.
func gzipped(content []byte) func(*http.Response) {
	var small bytes.Buffer
	w := gzip.NewWriter(&small)
	_, _ = w.Write(content)
	_ = w.Close()
	return func(res *http.Response) {
		withBody(small.Bytes(), true)(res)
		res.Header.Set("Content-Encoding", "gzip")
	}
}

// endlessReader is content without an end.
type endlessReader struct{}

func (endlessReader) Read(p []byte) (int, error) { return len(p), nil }

func TestCopy_DamagedManifest(t *testing.T) {
	t.Parallel()
	image := registrytest.MultiArch("a")
	root, child := image.Build(), image.Build().Manifests[1]
	other := registrytest.Image{Seed: "other"}.Build()
	for name, c := range map[string]struct {
		of       registrytest.Manifest
		alter    func(*http.Response)
		kind     error
		wantText string
	}{
		// The Docker-Content-Digest header still contains the requested digest.
		"root":                   {root, withBody(other.Bytes, true), registry.ErrMismatch, string(other.Digest)},
		"child":                  {child, withBody(other.Bytes, true), registry.ErrMismatch, string(other.Digest)},
		"root_content_encoding":  {root, gzipped(root.Bytes), registry.ErrProtocol, "Content-Encoding gzip"},
		"child_content_encoding": {child, gzipped(child.Bytes), registry.ErrProtocol, "Content-Encoding gzip"},
		"root_truncated":         {root, withBody(root.Bytes[:len(root.Bytes)-1], true), registry.ErrMismatch, "its bytes have the digest"},
		"root_empty":             {root, withBody(nil, true), registry.ErrMismatch, string(digest.FromBytes(nil))},
		"root_trailing_space":    {root, withBody(append(bytes.Clone(root.Bytes), ' '), true), registry.ErrMismatch, "its bytes have the digest"},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := pair(t, registrytest.Behaviour{})
			from.Push(t, "app", "1", image)
			from.On("GET", "/v2/app/manifests/"+string(c.of.Digest)).Alter(c.alter)
			err := newEngine(t).copyError(t, from.Ref("app", "1"), to.Ref("to", "1"), registry.Source, c.kind)
			assertContains(t, err.Error(), string(c.of.Digest), c.wantText, from.Addr+"/app")
			if w := writeRequests(to); c.of.Digest == root.Digest && len(w) > 0 {
				t.Errorf("destination received write requests: %+v", w)
			}
			for _, d := range []digest.Digest{c.of.Digest, root.Digest} {
				if to.HasManifest(t, "to", string(d)) {
					t.Errorf("destination has the manifest %s", d)
				}
			}
			if tags := to.Tags(t, "to"); len(tags) > 0 {
				t.Errorf("destination tags = %v, want none", tags)
			}
		})
	}
}

// TestCopy_WrongDigestHeader verifies that the digest of a manifest is computed from its bytes,
// even if the registry reports another one. Within one registry, a GET request for the tag
// returns them.
func TestCopy_WrongDigestHeader(t *testing.T) {
	t.Parallel()
	_, reg := pair(t, registrytest.Behaviour{})
	pushed := reg.Push(t, "from", "1", registrytest.Image{Seed: "a"})
	wrong := digest.FromString("something else")
	reg.On("GET", "/v2/from/manifests/1").Alter(func(res *http.Response) { res.Header.Set("Docker-Content-Digest", string(wrong)) })
	report := newEngine(t).copy(t, reg.Ref("from", "1"), reg.Ref("to", "1"))
	registrytest.Same(t, pushed.Tree, reg.Read(t, "to", "1"))
	if report.Digest != pushed.Digest || len(report.Warnings) != 1 {
		t.Fatalf("Copy() digest = %s with warnings %q, want %s with 1 warning", report.Digest, report.Warnings, pushed.Digest)
	}
	assertContains(t, report.Warnings[0], reg.Addr+"/from", string(wrong), string(pushed.Digest), "the latter is used")
}

func TestCopy_WrongTagDigest(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	pushed := from.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	wrong := digest.FromString("something else")
	from.On("HEAD", "/v2/app/manifests/1").Alter(func(res *http.Response) { res.Header.Set("Docker-Content-Digest", string(wrong)) })
	from.On("GET", "/v2/app/manifests/"+string(wrong)).Do(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		r.URL.Path = "/v2/app/manifests/" + string(pushed.Digest)
		next.ServeHTTP(w, r)
	})
	err := newEngine(t).copyError(t, from.Ref("app", "1"), to.Ref("to", "1"), registry.Source, registry.ErrMismatch)
	assertContains(t, err.Error(), string(wrong), string(pushed.Digest))
	if w := writeRequests(to); len(w) > 0 {
		t.Errorf("destination received write requests: %+v", w)
	}
}

func TestCopy_DestinationStoresOtherDigest(t *testing.T) {
	t.Parallel()
	other := string(digest.FromString("converted"))
	alter := func(res *http.Response) { res.Header.Set("Docker-Content-Digest", other) }
	for name, path := range map[string]string{"blob": "/v2/to/blobs/uploads/.*", "manifest": "/v2/to/manifests/.*"} {
		t.Run(name, func(t *testing.T) {
			from, to := registrytest.Scripted(t, registrytest.Behaviour{}), registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{}))
			pushed := from.Push(t, "app", "1", registrytest.Image{Seed: "a"})
			to.On("PUT", path).Alter(alter)
			err := newEngine(t).copyError(t, pushed.Ref, to.Ref("to", "1"), registry.Destination, registry.ErrMismatch)
			assertContains(t, err.Error(), other, to.Addr+"/to")
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
		wantText        string
	}{
		"null":                   {index, "null", registry.ErrInvalidManifest, "not a JSON object"},
		"array":                  {index, "[]", registry.ErrInvalidManifest, "not a JSON object"},
		"empty":                  {index, "", registry.ErrInvalidManifest, "not a JSON object"},
		"html_page":              {index, "<html>sign in</html>", registry.ErrInvalidManifest, "not a JSON object"},
		"invalid_utf8":           {index, "{\"annotations\":{\"a\":\"\xff\"}}", registry.ErrInvalidManifest, "invalid UTF-8"},
		"deep_arrays":            {index, `{"x":` + levels, registry.ErrInvalidManifest, "max depth"},
		"deep_arrays_closed":     {index, `{"x":` + levels + strings.Repeat("]", 100_000) + "}", registry.ErrInvalidManifest, "max depth"},
		"deep_objects":           {index, strings.Repeat(`{"x":`, 100_000), registry.ErrInvalidManifest, "max depth"},
		"html_page_with_type":    {"text/html", "<html>sign in</html>", registry.ErrProtocol, "no manifest's"},
		"no_media_type":          {"", `{"manifests":[]}`, registry.ErrProtocol, "no manifest's"},
		"invalid_media_type":     {"manifest", `{"manifests":[]}`, registry.ErrProtocol, "no manifest's"},
		"html_page_unknown_type": {unknownType, "<html>sign in</html>", registry.ErrInvalidManifest, "not a JSON object"},
		"json_unknown_type":      {"application/json", `{"mediaType":"` + index + `","manifests":[]}`, registry.ErrInvalidManifest, "it says it is"},
	} {
		t.Run(name, func(t *testing.T) {
			from := serveManifests(t, registrytest.Raw{MediaType: c.mediaType, Bytes: []byte(c.body)}.Build())
			to := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{}))
			err := newEngine(t).copyError(t, from.Ref("app", "1"), to.Ref("to", "1"), registry.Source, c.kind)
			assertContains(t, err.Error(), from.Addr+"/app", c.mediaType, c.wantText)
			if w := writeRequests(to); len(w) > 0 {
				t.Errorf("destination received write requests: %+v", w)
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
			t.Errorf("Copy() with parameters %q: media type = %q, want %q", parameters, report.MediaType, pushed.MediaType)
		}
		registrytest.Same(t, pushed.Tree, to.Read(t, "to", "1"))
	}
}

// TestCopy_MediaTypeMismatch verifies that a copy fails if it was planned with the media type
// that the registry reported, and the registry then reports another one. A manifest may omit
// its media type.
func TestCopy_MediaTypeMismatch(t *testing.T) {
	t.Parallel()
	layer := registrytest.Blob{Seed: "a", Size: 10, MediaType: ocispec.MediaTypeImageLayerGzip}
	image := rawManifest(t, ocispec.MediaTypeImageManifest, map[string]any{"schemaVersion": 2, "layers": descriptors(layer)}, []registrytest.Blob{layer})
	from, to := pair(t, registrytest.Behaviour{})
	pushed := from.Push(t, "app", "1", image)
	withMediaType := func(mediaType string) func(*copier.Job) {
		return func(job *copier.Job) { job.Digest, job.MediaType = pushed.Digest, mediaType }
	}
	e := newEngine(t)
	err := e.copyError(t, from.Ref("app", "1"), to.Ref("to", "1"), registry.Source, registry.ErrInvalidManifest, withMediaType(dockerManifest))
	assertContains(t, err.Error(), dockerManifest, ocispec.MediaTypeImageManifest, string(pushed.Digest))
	if sent := to.Count("POST|PUT", ".*"); sent != 0 {
		t.Errorf("destination received %d POST and PUT requests, want 0", sent)
	}
	e.copy(t, from.Ref("app", "1"), to.Ref("to", "1"), withMediaType(ocispec.MediaTypeImageManifest))
	registrytest.Same(t, pushed.Tree, to.Read(t, "to", "1"))
}

// TestCopy_Schema1InvalidLayerSize verifies that the sizes of the layers of a schema 1 manifest are
// validated. The manifest has no sizes, so the client requests them from the registry.
func TestCopy_Schema1InvalidLayerSize(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		size     string
		kind     error
		wantText string
	}{
		"zero":       {"0", registry.ErrInvalidManifest, "a size of 0 does not go with its digest"},
		"max_int64":  {"9223372036854775807", registry.ErrLimit, "its size of 9223372036854775807 bytes"},
		"other_size": {"5", registry.ErrMismatch, "its descriptor says 5"},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := pair(t, registrytest.Behaviour{})
			from.Push(t, "app", "old", registrytest.Schema1Image{Seed: "a", Tag: "old"})
			from.On("HEAD", "/v2/app/blobs/.*").Reply(http.StatusOK, http.Header{"Content-Length": {c.size}}, "")
			err := newEngine(t).copyError(t, from.Ref("app", "old"), to.Ref("to", "1"), registry.Source, c.kind)
			assertContains(t, err.Error(), from.Addr+"/app", c.wantText)
			if n := to.Count("PUT", ".*"); n != 0 {
				t.Errorf("destination received %d PUT requests, want 0", n)
			}
		})
	}
}

// badDigests are malformed digests, or digests with an unsupported algorithm.
var badDigests = []digest.Digest{
	"", "sha256", "sha256:", "sha256:abc", "sha256:../../x", "md5:d41d8cd98f00b204e9800998ecf8427e",
	"sha256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855", // in upper case
	"SHA256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
	"sha256%3Ae3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", // percent-encoded
	"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b85?",
}

func TestCopy_InvalidDigestInManifest(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ mediaType, format string }{
		"child":   {ocispec.MediaTypeImageIndex, `{"manifests":[{"mediaType":"` + ocispec.MediaTypeImageManifest + `","digest":%q,"size":5}]}`},
		"layer":   {ocispec.MediaTypeImageManifest, `{"layers":[{"digest":%q,"size":5}]}`},
		"config":  {dockerManifest, `{"config":{"digest":%q,"size":5}}`},
		"subject": {ocispec.MediaTypeImageManifest, `{"layers":[],"subject":{"digest":%q,"size":5}}`},
		"schema1": {schema1Plain, `{"fsLayers":[{"blobSum":%q}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			for _, malformed := range badDigests {
				from := serveManifests(t, registrytest.Raw{MediaType: c.mediaType, Bytes: fmt.Appendf(nil, c.format, malformed)}.Build())
				to := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{}))
				err := newEngine(t).copyError(t, from.Ref("app", "1"), to.Ref("to", "1"), registry.Source, registry.ErrInvalidManifest)
				assertContains(t, err.Error(), from.Addr+"/app", fmt.Sprintf("(%q)", malformed))
				// The source tag, its manifest, and the destination tag.
				if a, b := len(from.Requests()), len(to.Requests()); a != 2 || b != 1 {
					t.Errorf("Copy() with digest %q sent %d and %d requests, want 2 and 1", malformed, a, b)
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
		return rawManifest(t, ocispec.MediaTypeImageIndex, map[string]any{"schemaVersion": 2, "manifests": ds}, nil, image)
	}
	for name, c := range map[string]struct {
		content  registrytest.Raw
		kind     error
		wantText string
	}{
		"index_with_layers":      {rawManifest(t, ocispec.MediaTypeImageIndex, map[string]any{"manifests": []any{}, "layers": descriptors(blob)}, nil), registry.ErrInvalidManifest, "the fields of an image"},
		"image_with_manifests":   {rawManifest(t, ocispec.MediaTypeImageManifest, map[string]any{"config": b, "layers": []any{}, "manifests": []any{}}, nil), registry.ErrInvalidManifest, "the fields of an index"},
		"other_media_type":       {rawManifest(t, ocispec.MediaTypeImageManifest, map[string]any{"mediaType": dockerManifest, "config": b, "layers": []any{}}, nil), registry.ErrInvalidManifest, "received as"},
		"duplicate_key":          {text(ocispec.MediaTypeImageIndex, `{"manifests":[],"manifests":[]}`), registry.ErrInvalidManifest, "duplicate"},
		"key_in_other_case":      {text(ocispec.MediaTypeImageIndex, `{"manifests":[],"Manifests":[]}`), registry.ErrInvalidManifest, "Manifests"},
		"child_of_other_type":    {index(disowned), registry.ErrInvalidManifest, "the index says"},
		"child_of_other_size":    {index(shrunk), registry.ErrMismatch, "the index says"},
		"contradicting_children": {index(image.Descriptor(), shrunk), registry.ErrInvalidManifest, "another size or media type"},
		"negative_size":          {text(ocispec.MediaTypeImageManifest, fmt.Sprintf(`{"config":{"mediaType":"x","digest":%q,"size":-1},"layers":[]}`, b.Digest)), registry.ErrInvalidManifest, "negative"},
		"data_of_other_blob": {text(ocispec.MediaTypeImageManifest, fmt.Sprintf(`{"config":{"mediaType":"x","digest":%q,"size":10,"data":"YWFhYWFhYWFhYQ=="},"layers":[]}`, b.Digest)),
			registry.ErrMismatch, "inline data"},
	} {
		t.Run(name, func(t *testing.T) {
			repo := name
			pushed := from.Push(t, repo, "1", c.content)
			err := e.copyError(t, pushed.Ref, to.Ref(repo, "1"), registry.Source, c.kind)
			assertContains(t, err.Error(), c.wantText, from.Addr+"/"+repo)
		})
	}
	if slices.ContainsFunc(to.Requests(), func(r registrytest.Request) bool { return r.Method == http.MethodPut }) {
		t.Error("destination received a PUT request")
	}
}
