package copier_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

func TestWalk_PushOrder(t *testing.T) {
	t.Parallel()
	from, to := registrytest.V3(t), registrytest.Intercept(t, registrytest.V2(t))
	pushed := from.Push(t, "app", "1", registrytest.Nested("a"))
	newEngine(t).copy(t, pushed.Ref, to.Ref("app", "1"))

	requests := to.Requests()
	// put maps each tag and digest to the index of the request that pushed it.
	put := map[string]int{}
	for i, r := range requests {
		if r.Method != http.MethodPut {
			continue
		}
		if r.Status != http.StatusCreated {
			t.Errorf("PUT %s returned status %d, want 201", r.Path, r.Status)
		}
		name := r.Path[strings.LastIndex(r.Path, "/")+1:]
		if d := r.Query.Get("digest"); d != "" {
			name = d
		}
		put[name] = i
	}
	put[string(pushed.Digest)] = put["1"]
	var check func(m registrytest.Manifest)
	check = func(m registrytest.Manifest) {
		for _, blob := range m.Blobs {
			if d := string(blob.Descriptor().Digest); put[d] == 0 || put[d] > put[string(m.Digest)] {
				t.Errorf("request %d pushed %s before its blob %s (request %d)", put[string(m.Digest)], m.Digest, d, put[d])
			}
		}
		for _, child := range m.Manifests {
			if d := string(child.Digest); put[d] == 0 || put[d] > put[string(m.Digest)] {
				t.Errorf("request %d pushed %s before its child %s (request %d)", put[string(m.Digest)], m.Digest, d, put[d])
			}
			check(child)
		}
	}
	check(pushed.Manifest)
	last := requests[len(requests)-2:]
	if last[0].Method != http.MethodPut || last[1].Method != http.MethodHead || last[0].Path != "/v2/app/manifests/1" || last[1].Path != last[0].Path {
		t.Errorf("last requests are %s %s and %s %s, want PUT and HEAD of the tag", last[0].Method, last[0].Path, last[1].Method, last[1].Path)
	}
}

func TestWalk_ConcurrentSiblings(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	pushed := from.Push(t, "app", "1", registrytest.DockerList("a"))
	slow, quick := pushed.Manifests[0], pushed.Manifests[1]
	gate := make(chan struct{})
	from.On("GET", "/v2/app/manifests/"+string(slow.Digest)).Hold(gate)
	e := newEngine(t)
	done := e.start(t.Context(), e.job(t, from.Ref("app", "1"), to.Ref("app", "1")))
	// The manifest of one child is pushed before that of the other is read.
	to.Wait(t, func() bool { return to.Count("PUT", "/v2/app/manifests/"+string(quick.Digest)) == 1 })
	close(gate)
	if r := await(t, done); r.err != nil {
		t.Fatal(r.err)
	}
	registrytest.Same(t, pushed.Tree, to.Read(t, "app", "1"))
}

func TestWalk_FailureKeepsTag(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	pushed := from.Push(t, "app", "1", smallIndex("new"))
	newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("count", "1"))
	requests := map[registry.Side]int{registry.Source: len(from.Requests()), registry.Destination: len(to.Requests())}
	for side, p := range map[registry.Side]*registrytest.Proxy{registry.Source: from, registry.Destination: to} {
		for k := range requests[side] {
			t.Run(fmt.Sprintf("%s_%d", side, k), func(t *testing.T) {
				repo := fmt.Sprintf("%s-%d", side, k)
				old := to.Push(t, repo, "1", registrytest.Image{Seed: "old"})
				p.Forget()
				p.On(".*", ".*").After(k).Reply(http.StatusInternalServerError, nil, "")
				e := newEngine(t, func(o *remote.Options) { o.Attempts = 1 })
				_, err := e.copier.Copy(t.Context(), e.job(t, from.Ref("app", "1"), to.Ref(repo, "1")))
				assertError(t, err, side, registry.ErrUnavailable)
				// If the request to confirm the tag fails, the tag is already written.
				written := slices.ContainsFunc(p.Requests(), func(r registrytest.Request) bool {
					return r.Method == http.MethodPut && r.Path == "/v2/"+repo+"/manifests/1" && r.Status == http.StatusCreated
				})
				if got, want := to.Digest(t, repo, "1"), map[bool]digest.Digest{false: old.Digest, true: pushed.Digest}[written]; got != want {
					t.Errorf("tag has digest %s, want %s", got, want)
				}
				p.Clear()
				e.copy(t, from.Ref("app", "1"), to.Ref(repo, "1"))
				registrytest.Same(t, pushed.Tree, to.Read(t, repo, "1"))
			})
		}
	}
}

func TestWalk_ResumesAfterFailure(t *testing.T) {
	t.Parallel()
	from, to := registrytest.Scripted(t, registrytest.Behaviour{}), registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{}))
	pushed := from.Push(t, "app", "1", registrytest.MultiArch("a"))
	to.On("PUT", "/v2/app/manifests/1").Times(1).Reply(http.StatusForbidden, nil, string(registrytest.ErrorBody("DENIED", "not today")))
	newEngine(t).copyError(t, pushed.Ref, to.Ref("app", "1"), registry.Destination, registry.ErrDenied)
	// A new engine, like a new process, only knows what the registry reports.
	report := newEngine(t).copy(t, pushed.Ref, to.Ref("app", "1"))
	if report.Copied.Blobs != 0 || report.Present.Blobs != len(pushed.Tree.Blobs) {
		t.Errorf("second Copy() copied %+v and found %+v, want all %d blobs present", report.Copied, report.Present, len(pushed.Tree.Blobs))
	}
	registrytest.Same(t, pushed.Tree, to.Read(t, "app", "1"))
}
