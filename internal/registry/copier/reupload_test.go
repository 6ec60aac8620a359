package copier_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// claimBlobExists makes a registry respond that it mounted a blob that it does not have.
func claimBlobExists(to *registrytest.Proxy, blob registrytest.Blob) {
	d := string(blob.Descriptor().Digest)
	to.On("POST", "/v2/.*/blobs/uploads/").Where(func(r *http.Request) bool { return r.URL.Query().Get("mount") == d }).
		Reply(http.StatusCreated, http.Header{"Location": {"/v2/to/blobs/" + d}, "Docker-Content-Digest": {d}}, "")
}

// plainUploads returns the number of uploads that were started without an attempt to mount the
// blob.
func plainUploads(to *registrytest.Proxy) int {
	n := 0
	for _, r := range to.Requests() {
		if r.Method == http.MethodPost && !r.Query.Has("mount") {
			n++
		}
	}
	return n
}

func TestReupload_FalseMount(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	pushed := from.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	claimBlobExists(to, pushed.Blobs[1])
	e := newEngine(t)
	report := e.copy(t, from.Ref("app", "1"), to.Ref("to", "1"))
	registrytest.Same(t, pushed.Tree, to.Read(t, "to", "1"))
	if n := to.Count("PUT", tagPath); n != 2 {
		t.Errorf("manifest was pushed %d times, want 2", n)
	}
	if n := plainUploads(to); n != 1 {
		t.Errorf("%d blobs were uploaded again, want 1", n)
	}
	if report.Copied.Blobs != 3 || report.Present.Blobs != 0 || report.Manifests != 1 {
		t.Errorf("Copy() report = %+v, want 3 blobs copied and 1 manifest", report)
	}
	if p := e.copier.Progress(); p.Known != p.Done {
		t.Errorf("Progress() = %+v after the copy, want Known equal to Done", p)
	}

	// The copier remembers that the destination has the blob now.
	to.Forget()
	e.copy(t, from.Ref("app", "1"), to.Ref("to", "2"))
	if n := to.Count("POST", ".*"); n != 0 {
		t.Errorf("destination received %d POST requests for the next tag, want 0", n)
	}
}

func TestReupload_FailedBlobIsNotCached(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	pushed := from.Push(t, "app", "1", singleBlobManifest(t, "a"))
	claimBlobExists(to, pushed.Blobs[0])
	from.On("GET", "/v2/app/blobs/.*").Reply(http.StatusForbidden, nil, "")
	e := newEngine(t)
	e.copyError(t, from.Ref("app", "1"), to.Ref("to", "1"), registry.Source, registry.ErrDenied)
	from.Clear()
	to.Clear()
	to.Forget()
	e.copy(t, from.Ref("app", "1"), to.Ref("to", "1"))
	registrytest.Same(t, pushed.Tree, to.Read(t, "to", "1"))
	if n := to.Count("PUT", tagPath); n != 1 {
		t.Errorf("manifest was pushed %d times, want 1", n)
	}
}

func TestReupload_CollectedBlob(t *testing.T) {
	t.Parallel()
	for name, to := range map[string]*registrytest.Registry{
		"v3": registrytest.V3(t), "v2": registrytest.V2(t), "scripted": registrytest.Scripted(t, registrytest.Behaviour{}),
	} {
		t.Run(name, func(t *testing.T) {
			from := registrytest.Scripted(t, registrytest.Behaviour{})
			pushed := from.Push(t, "app", "1", registrytest.DockerList("a"))
			e := newEngine(t)
			e.copy(t, pushed.Ref, to.Ref("to", "1"))
			for _, child := range pushed.Manifests {
				to.DeleteBlob(t, "to", child.Blobs[1].Descriptor().Digest)
				to.DeleteManifest(t, "to", child.Digest)
			}
			e.copy(t, pushed.Ref, to.Ref("to", "2"))
			registrytest.Same(t, pushed.Tree, to.Read(t, "to", "2"))
		})
	}
}

func TestReupload_FalseHead(t *testing.T) {
	t.Parallel()
	// The registry does not mount blobs, so the client requests them by HEAD.
	from, to := pair(t, registrytest.Behaviour{BlindMount: true})
	pushed := from.Push(t, "app", "1", registrytest.Image{Seed: "a", Layers: []registrytest.Blob{registrytest.Layer("large", 2<<20)}})
	large := pushed.Blobs[1].Descriptor()
	to.On("HEAD", "/v2/to/blobs/.*").Reply(http.StatusOK, http.Header{"Content-Length": {"2097152"}}, "")
	newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"))
	registrytest.Same(t, pushed.Tree, to.Read(t, "to", "1"))
	if n := to.Count("HEAD", "/v2/to/blobs/"+string(large.Digest)); n != 1 {
		t.Errorf("large layer was requested by HEAD %d times, want 1", n)
	}
}

func TestReupload_CollectedChild(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	pushed := from.Push(t, "app", "1", registrytest.Nested("a"))
	child := pushed.Manifests[0].Manifests[0]
	to.On("PUT", tagPath).Times(1).Do(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		to.DeleteManifest(t, "to", child.Digest)
		to.DeleteManifest(t, "to", pushed.Manifests[0].Digest)
		next.ServeHTTP(w, r)
	})
	newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"))
	registrytest.Same(t, pushed.Tree, to.Read(t, "to", "1"))
}

func TestReupload_SharedBlobOnce(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	shared := registrytest.Layer("shared", 3000)
	pushed := from.Push(t, "app", "1", registrytest.Index{Manifests: []registrytest.Content{
		registrytest.Image{Seed: "a", Layers: []registrytest.Blob{shared}},
		registrytest.Image{Seed: "b", Layers: []registrytest.Blob{shared}},
	}})
	claimBlobExists(to, shared)
	// Both pushes fail before either of them uploads the blob again.
	var both sync.WaitGroup
	both.Add(2)
	to.On("PUT", "/v2/to/manifests/sha256:.*").Times(2).Do(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		refusal := httptest.NewRecorder()
		next.ServeHTTP(refusal, r)
		both.Done()
		both.Wait()
		maps.Copy(w.Header(), refusal.Header())
		w.WriteHeader(refusal.Code)
		_, _ = w.Write(refusal.Body.Bytes())
	})
	newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"))
	registrytest.Same(t, pushed.Tree, to.Read(t, "to", "1"))
	if n := plainUploads(to); n != 1 {
		t.Errorf("blob was uploaded again %d times, want 1", n)
	}
	if n := to.Count("PUT", "/v2/to/manifests/sha256:.*"); n != 4 {
		t.Errorf("children were pushed %d times, want 4", n)
	}
}

func TestReupload_StillMissing(t *testing.T) {
	t.Parallel()
	for name, code := range map[string]string{"manifest_blob": "MANIFEST_BLOB_UNKNOWN", "blob": "BLOB_UNKNOWN", "manifest": "MANIFEST_UNKNOWN"} {
		t.Run(name, func(t *testing.T) {
			from, to := pair(t, registrytest.Behaviour{})
			from.Push(t, "app", "1", registrytest.Image{Seed: "new"})
			old := to.Push(t, "to", "1", registrytest.Image{Seed: "old"})
			to.On("PUT", tagPath).Reply(http.StatusBadRequest, nil, string(registrytest.ErrorBody(code, "it is gone again")))
			err := newEngine(t).copyError(t, from.Ref("app", "1"), to.Ref("to", "1"), registry.Destination, registry.ErrMissingContent)
			assertContains(t, err.Error(), code, "it is gone again", to.Addr+"/to")
			assertContains(t, err.Hint, "garbage collection")
			if n := to.Count("PUT", tagPath); n != 2 {
				t.Errorf("manifest was pushed %d times, want 2", n)
			}
			if to.Digest(t, "to", "1") != old.Digest {
				t.Errorf("tag has digest %s, want %s", to.Digest(t, "to", "1"), old.Digest)
			}
		})
	}
}

func TestReupload_Error(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		inject   func(from, to *registrytest.Proxy)
		side     registry.Side
		kind     error
		wantText string
	}{
		"source_blob_deleted": {func(from, _ *registrytest.Proxy) {
			from.On("GET", "/v2/app/blobs/.*").Reply(http.StatusNotFound, nil, string(registrytest.ErrorBody("BLOB_UNKNOWN", "deleted")))
		}, registry.Source, registry.ErrMissingContent, "deleted"},
		"push_denied": {func(_, to *registrytest.Proxy) {
			to.On("PUT", "/v2/to/manifests/sha256:.*").Reply(http.StatusForbidden, nil, string(registrytest.ErrorBody("DENIED", "quota")))
		}, registry.Destination, registry.ErrDenied, "quota"},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := pair(t, registrytest.Behaviour{})
			// The destination claims to have everything, but rejects the index.
			pushed := from.Push(t, "app", "1", registrytest.Index{Manifests: []registrytest.Content{singleBlobManifest(t, "a")}})
			claimBlobExists(to, pushed.Manifests[0].Blobs[0])
			to.On("PUT", "/v2/to/manifests/sha256:.*").Times(1).Reply(http.StatusCreated, nil, "")
			c.inject(from, to)
			err := newEngine(t).copyError(t, from.Ref("app", "1"), to.Ref("to", "1"), c.side, c.kind)
			assertContains(t, err.Error(), c.wantText)
			if tags := to.Tags(t, "to"); len(tags) > 0 {
				t.Errorf("destination tags = %v, want none", tags)
			}
		})
	}
}

func TestReupload_NonDistributableLayer(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	regular := registrytest.Layer("own", 3000)
	nonDistributable := registrytest.Blob{Seed: "foreign", Size: 4000, MediaType: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", URLs: []string{"https://example.com/layer"}, Absent: true}
	pushed := from.Push(t, "app", "1", registrytest.Image{Seed: "a", Docker: true, Layers: []registrytest.Blob{nonDistributable, regular}})
	claimBlobExists(to, regular)
	e := newEngine(t)
	job := e.job(t, from.Ref("app", "1"), to.Ref("to", "1"))
	job.IncludeNonDistributable = true
	e.run(t, job)
	registrytest.Same(t, pushed.Tree, to.Read(t, "to", "1"))
	if n := from.Count("GET", "/v2/app/blobs/"+string(nonDistributable.Descriptor().Digest)); n != 1 {
		t.Errorf("non-distributable layer was requested %d times, want 1", n)
	}
}

func TestReupload_BlobInIndex(t *testing.T) {
	t.Parallel()
	from := registrytest.Scripted(t, registrytest.Behaviour{Unchecked: true})
	to := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{Unchecked: true}))
	part := registrytest.Blob{Seed: "part", Size: 700, MediaType: "application/vnd.example.part"}
	index := rawManifest(t, ocispec.MediaTypeImageIndex, map[string]any{"schemaVersion": 2, "manifests": descriptors(part)}, []registrytest.Blob{part})
	pushed := from.Push(t, "app", "1", index)
	claimBlobExists(to, part)
	to.On("PUT", tagPath).Times(1).Reply(http.StatusBadRequest, nil, string(registrytest.ErrorBody("MANIFEST_BLOB_UNKNOWN", "no")))
	newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"))
	if !to.HasBlob(t, "to", part.Descriptor().Digest) || to.Digest(t, "to", "1") != pushed.Digest {
		t.Error("destination does not have the blob or the tag")
	}
}
