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

// promotion is a small image that replaces another, and the ways there.
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

// args are the command line that makes it.
func (p promotion) args() []string {
	return []string{"-q", p.from.Ref("app", "1"), p.to.Ref("prod", "1")}
}

// there are the blobs of the image that have arrived.
func (p promotion) there(t *testing.T) []digest.Digest {
	t.Helper()
	var found []digest.Digest
	for d := range p.new.Tree.Blobs {
		if p.to.HasBlob(t, "prod", d) {
			found = append(found, d)
		}
	}
	return found
}

// survivesBeingKilled kills the program when each of its requests has arrived,
// and looks at what it left and at how another run goes on from there.
func survivesBeingKilled(t *testing.T, program string) {
	undisturbed := newPromotion(t)
	imagecopy(t, undisturbed.args()...).ended(t, succeeded, "")
	tagged := slices.IndexFunc(undisturbed.to.Requests(), func(r registrytest.Request) bool {
		return r.Method == http.MethodPut && r.Path == "/v2/prod/manifests/1"
	})
	for _, when := range []struct {
		name   string
		side   func(promotion) *registrytest.Proxy
		heard  bool // the registry is passed the request all the same
		tagged int  // from this request on, the tag is written
	}{
		{"at the source", func(p promotion) *registrytest.Proxy { return p.from }, false, len(undisturbed.from.Requests())},
		{"before the destination hears of it", func(p promotion) *registrytest.Proxy { return p.to }, false, tagged + 1},
		{"before the destination answers", func(p promotion) *registrytest.Proxy { return p.to }, true, tagged},
	} {
		for k := range len(when.side(undisturbed).Requests()) {
			t.Run(when.name+", "+strconv.Itoa(k), func(t *testing.T) {
				t.Parallel()
				p := newPromotion(t)
				killedAt(t, program, when.side(p), k, when.heard, p.args())
				want := p.old.Digest
				if k >= when.tagged {
					want = p.new.Digest
				}
				if held := p.to.Digest(t, "prod", "1"); held != want {
					t.Errorf("the tag holds %s, want %s", held, want)
				}
				arrived := p.there(t)
				p.to.Forget()

				imagecopy(t, p.args()...).ended(t, succeeded, "")
				registrytest.Same(t, p.new.Tree, p.to.Read(t, "prod", "1"))
				for _, r := range p.to.Requests() {
					if d := digest.Digest(r.Query.Get("digest")); slices.Contains(arrived, d) {
						t.Errorf("%s had arrived and was sent again", d)
					}
				}
			})
		}
	}
}

// killedAt runs the program and kills it when request k has come to a proxy, or
// when the registry has done what it says.
func killedAt(t *testing.T, program string, p *registrytest.Proxy, k int, heard bool, args []string) {
	t.Helper()
	arrived := make(chan struct{})
	p.On(".*", ".*").After(k).Times(1).Do(func(_ http.ResponseWriter, r *http.Request, next http.Handler) {
		if heard {
			next.ServeHTTP(httptest.NewRecorder(), r)
		}
		_, _ = io.Copy(io.Discard, r.Body)
		close(arrived)
		<-r.Context().Done() // the program's connections end with it
		panic(http.ErrAbortHandler)
	})
	cmd := start(t, t.Output(), program, args...)
	select {
	case <-arrived:
	case <-time.After(time.Minute):
		t.Fatal("there was no such request")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("it ended by itself")
	}
}
