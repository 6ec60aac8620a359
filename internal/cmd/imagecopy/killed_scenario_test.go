package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// promotion is a small image that replaces another, with proxies in front of both registries.
type promotion struct {
	from, to *registrytest.Proxy
	old, new registrytest.Pushed
}

func newPromotion(t *testing.T) promotion {
	t.Helper()
	watched := func() *registrytest.Proxy {
		return registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{}))
	}
	p := promotion{from: watched(), to: watched()}
	image := registrytest.Image{Seed: "new", Layers: []registrytest.Blob{registrytest.Layer("new", 5000)}}
	p.new = p.from.Push(t, "app", "1", registrytest.Index{Manifests: []registrytest.Content{image}})
	p.old = p.to.Push(t, "prod", "1", registrytest.Image{Seed: "old"})
	return p
}

// args returns the command line of the promotion.
func (p promotion) args() []string {
	return []string{"-q", p.from.Ref("app", "1"), p.to.Ref("prod", "1")}
}

// copiedBlobs returns the blobs of the image that exist at the destination.
func (p promotion) copiedBlobs(t *testing.T) []digest.Digest {
	t.Helper()
	var found []digest.Digest
	for d := range p.new.Tree.Blobs {
		if p.to.HasBlob(t, "prod", d) {
			found = append(found, d)
		}
	}
	return found
}

// testKilled kills the program at each of its requests, and checks the state that it leaves and
// that another run completes the copy.
func testKilled(t *testing.T, program string) {
	baseline := newPromotion(t)
	runImagecopy(t, baseline.args()...).expect(t, succeeded, "")
	tagged := slices.IndexFunc(baseline.to.Requests(), func(r registrytest.Request) bool {
		return r.Method == http.MethodPut && r.Path == "/v2/prod/manifests/1"
	})
	for _, when := range []struct {
		name    string
		side    func(promotion) *registrytest.Proxy
		forward bool // the registry still receives the request
		tagged  int  // the first request after which the tag is written
	}{
		{"source", func(p promotion) *registrytest.Proxy { return p.from }, false, len(baseline.from.Requests())},
		{"destination_before_request", func(p promotion) *registrytest.Proxy { return p.to }, false, tagged + 1},
		{"destination_before_response", func(p promotion) *registrytest.Proxy { return p.to }, true, tagged},
	} {
		for k := range len(when.side(baseline).Requests()) {
			t.Run(when.name+"/"+strconv.Itoa(k), func(t *testing.T) {
				t.Parallel()
				p := newPromotion(t)
				killAtRequest(t, program, when.side(p), k, when.forward, p.args())
				want := p.old.Digest
				if k >= when.tagged {
					want = p.new.Digest
				}
				if got := p.to.Digest(t, "prod", "1"); got != want {
					t.Errorf("tag digest = %s, want %s", got, want)
				}
				arrived := p.copiedBlobs(t)
				p.to.Forget()

				runImagecopy(t, p.args()...).expect(t, succeeded, "")
				registrytest.Same(t, p.new.Tree, p.to.Read(t, "prod", "1"))
				for _, r := range p.to.Requests() {
					if d := digest.Digest(r.Query.Get("digest")); slices.Contains(arrived, d) {
						t.Errorf("blob %s was uploaded again", d)
					}
				}
			})
		}
	}
}

// killAtRequest runs the program and kills it when a proxy receives request k. If forward is
// set, the registry handles the request first.
func killAtRequest(t *testing.T, program string, p *registrytest.Proxy, k int, forward bool, args []string) {
	t.Helper()
	arrived := make(chan struct{})
	p.On(".*", ".*").After(k).Times(1).Do(func(_ http.ResponseWriter, r *http.Request, next http.Handler) {
		if forward {
			next.ServeHTTP(httptest.NewRecorder(), r)
		}
		_, _ = io.Copy(io.Discard, r.Body)
		close(arrived)
		<-r.Context().Done() // the connections of the program end when it is killed
		panic(http.ErrAbortHandler)
	})
	cmd := start(t, t.Output(), program, args...)
	select {
	case <-arrived:
	case <-time.After(time.Minute):
		t.Fatal("the program did not send the request")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the program exited before it was killed")
	}
}
