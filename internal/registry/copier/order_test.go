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
	// put is when the destination was given a manifest or blob for good.
	put := map[string]int{}
	for i, r := range requests {
		if r.Method != http.MethodPut {
			continue
		}
		if r.Status != http.StatusCreated {
			t.Errorf("PUT %s was answered %d: something came too early", r.Path, r.Status)
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
				t.Errorf("request %d put %s, which names the blob %s of request %d", put[string(m.Digest)], m.Digest, d, put[d])
			}
		}
		for _, child := range m.Manifests {
			if d := string(child.Digest); put[d] == 0 || put[d] > put[string(m.Digest)] {
				t.Errorf("request %d put %s, which names %s of request %d", put[string(m.Digest)], m.Digest, d, put[d])
			}
			check(child)
		}
	}
	check(pushed.Manifest)
	last := requests[len(requests)-2:]
	if last[0].Method != http.MethodPut || last[1].Method != http.MethodHead || last[0].Path != "/v2/app/manifests/1" || last[1].Path != last[0].Path {
		t.Errorf("the copy ends with %s %s and %s %s, want the tag's PUT and HEAD", last[0].Method, last[0].Path, last[1].Method, last[1].Path)
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
	ended := e.start(t.Context(), e.job(t, from.Ref("app", "1"), to.Ref("app", "1")))
	// The one child is there, its manifest included, before the other was read.
	to.Wait(t, func() bool { return to.Count("PUT", "/v2/app/manifests/"+string(quick.Digest)) == 1 })
	close(gate)
	if r := await(t, ended); r.err != nil {
		t.Fatal(r.err)
	}
	registrytest.Same(t, pushed.Tree, to.Read(t, "app", "1"))
}

func TestWalk_FailureKeepsTag(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	pushed := from.Push(t, "app", "1", small("new"))
	newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("count", "1"))
	requests := map[registry.Side]int{registry.Source: len(from.Requests()), registry.Destination: len(to.Requests())}
	for side, p := range map[registry.Side]*registrytest.Proxy{registry.Source: from, registry.Destination: to} {
		for k := range requests[side] {
			t.Run(fmt.Sprintf("from request %d of the %s on", k+1, side), func(t *testing.T) {
				repo := fmt.Sprintf("%s-%d", side, k)
				old := to.Push(t, repo, "1", registrytest.Image{Seed: "old"})
				p.Forget()
				p.On(".*", ".*").After(k).Reply(http.StatusInternalServerError, nil, "")
				e := newEngine(t, func(o *remote.Options) { o.Attempts = 1 })
				_, err := e.copier.Copy(t.Context(), e.job(t, from.Ref("app", "1"), to.Ref(repo, "1")))
				failure(t, err, side, registry.ErrUnavailable)
				// The look after the write may fail too: then it is written.
				written := slices.ContainsFunc(p.Requests(), func(r registrytest.Request) bool {
					return r.Method == http.MethodPut && r.Path == "/v2/"+repo+"/manifests/1" && r.Status == http.StatusCreated
				})
				if held := to.Digest(t, repo, "1"); held != map[bool]digest.Digest{false: old.Digest, true: pushed.Digest}[written] {
					t.Errorf("the tag holds %s", held)
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
	newEngine(t).refused(t, pushed.Ref, to.Ref("app", "1"), registry.Destination, registry.ErrDenied)
	// Another process has nothing but what the registry says.
	report := newEngine(t).copy(t, pushed.Ref, to.Ref("app", "1"))
	if report.Copied.Blobs != 0 || report.Present.Blobs != len(pushed.Tree.Blobs) {
		t.Errorf("the second copy's report says %+v copied and %+v there already", report.Copied, report.Present)
	}
	registrytest.Same(t, pushed.Tree, to.Read(t, "app", "1"))
}
