package copier_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// TestCopy_ConcurrentLargeManifests verifies that no copy waits for memory that is charged to
// itself. Copies of large manifests share the memory for manifests.
func TestCopy_ConcurrentLargeManifests(t *testing.T) {
	t.Parallel()
	const copies = 6
	for name, c := range map[string]struct {
		size            int  // of each manifest, in bytes
		sameRegistry    bool // within one registry
		noContentLength bool // the registry does not send Content-Length
		referrers       bool
	}{
		"two_registries":       {size: 1_100_000},
		"one_registry":         {size: 1_100_000, sameRegistry: true},
		"referrers":            {size: 1_100_000, referrers: true},
		"one_registry_unsized": {size: 300_000, sameRegistry: true, noContentLength: true},
		"unsized":              {size: 300_000, noContentLength: true, referrers: true},
		"largest":              {size: 3_900_000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{Referrers: true}))
			to := from
			if !c.sameRegistry {
				to = registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{}))
			}
			if c.noContentLength {
				from.On("GET", ".*/manifests/.*").Do(withoutContentLength)
			}
			e := newEngine(t)
			padding := map[string]string{"padding": strings.Repeat("x", c.size)}
			var trees []registrytest.Tree
			var results []<-chan result
			for i := range copies {
				repository := fmt.Sprintf("app%d", i)
				image := registrytest.Index{Manifests: []registrytest.Content{registrytest.Image{Seed: repository}}, Annotations: padding}
				trees = append(trees, from.Push(t, repository, "1", image).Tree)
				if c.referrers {
					from.Push(t, repository, "", registrytest.Image{Seed: "of " + repository, Annotations: padding, Subject: image})
				}
				job := e.job(t, from.Ref(repository, "1"), to.Ref("to/"+repository, "1"))
				job.Referrers = c.referrers
				results = append(results, e.start(t.Context(), job))
			}
			for i, done := range results {
				r := await(t, done)
				if r.err != nil {
					t.Fatal(r.err)
				}
				if want := map[bool]int{true: 1}[c.referrers]; len(r.report.Referrers) != want {
					t.Errorf("Copy() copied %d referrers, want %d", len(r.report.Referrers), want)
				}
				registrytest.Same(t, trees[i], to.Read(t, fmt.Sprintf("to/app%d", i), "1"))
			}
		})
	}
}

// TestCopy_LargeManifestWithMissingContent verifies that a manifest that was not retained is
// read once more after its content was uploaded again. It is not in memory in between.
func TestCopy_LargeManifestWithMissingContent(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	padded := func(seed string) registrytest.Index {
		return registrytest.Index{Manifests: []registrytest.Content{registrytest.Image{Seed: seed}}, Annotations: map[string]string{"padding": strings.Repeat("x", 700_000)}}
	}
	child := padded("child")
	pushed := from.Push(t, "app", "1", registrytest.Index{Manifests: []registrytest.Content{child, padded("sibling")}})
	digest := string(child.Build().Digest)
	to.On("PUT", ".*/manifests/"+digest).Times(1).Reply(http.StatusBadRequest, nil, string(registrytest.ErrorBody("MANIFEST_BLOB_UNKNOWN", "not here")))
	e := newEngine(t)
	e.copy(t, from.Ref("app", "1"), to.Ref("to", "1"))
	registrytest.Same(t, pushed.Tree, to.Read(t, "to", "1"))
	if n := from.Count("GET", ".*/manifests/"+digest); n != 3 {
		t.Errorf("manifest was read %d times, want 3: once to parse it and once for each push", n)
	}
}

// withoutContentLength sends a response without Content-Length.
func withoutContentLength(w http.ResponseWriter, r *http.Request, next http.Handler) {
	recorder := httptest.NewRecorder()
	next.ServeHTTP(recorder, r)
	for name, values := range recorder.Header() {
		if name != "Content-Length" {
			w.Header()[name] = values
		}
	}
	w.WriteHeader(recorder.Code)
	_ = http.NewResponseController(w).Flush() // the response is chunked from here on
	_, _ = w.Write(recorder.Body.Bytes())
}
