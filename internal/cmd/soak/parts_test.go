package main

import (
	"encoding/json"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/distribution/distribution/v3/registry/auth"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/opencontainers/go-digest"
)

func TestAConnectionFailsAfterSoManyBytes(t *testing.T) {
	for name, test := range map[string]struct {
		in, out, over  bool // which direction fails; or the faults are over
		stall          bool
		received, sent int // bytes that pass, of ten
	}{
		"on the way in":           {in: true, received: 4, sent: 0},
		"on the way out":          {out: true, received: 10, sent: 4},
		"after standing still":    {in: true, stall: true, received: 4, sent: 0},
		"not any more":            {in: true, out: true, over: true, received: 10, sent: 10},
		"not before these passed": {received: 10, sent: 10},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, conn := net.Pipe()
				var f faults
				f.over.Store(test.over)
				server := f.befall(conn)
				server.stall = test.stall
				for d, fails := range map[*direction]bool{&server.in: test.in, &server.out: test.out} {
					d.random, d.left = rand.New(rand.NewPCG(1, 1)), math.MaxInt64 // whose first delay comes later
					if fails {
						d.left = 4
					}
				}
				began := time.Now()
				go func() { _, _ = client.Write([]byte("0123456789")) }()
				received, err := io.ReadFull(server, make([]byte, 10))
				if received != test.received || err == nil != (received == 10) {
					t.Errorf("%d bytes were received, and then %v", received, err)
				}
				go func() {
					_, _ = server.Write([]byte("0123456789"))
					_ = server.Close()
				}()
				if sent, _ := io.Copy(io.Discard, client); int(sent) != test.sent {
					t.Errorf("%d bytes were sent", sent)
				}
				if stood := time.Since(began) >= stallsFor; stood != test.stall {
					t.Errorf("it took %s", time.Since(began))
				}
				cut := test.received+test.sent < 20
				if f.cuts.Load() == 1 != cut || f.stalls.Load() == 1 != test.stall {
					t.Errorf("%d cuts and %d stalls are counted", f.cuts.Load(), f.stalls.Load())
				}
			})
		})
	}
}

func TestATokenIsGoodForItsScopesAndItsLife(t *testing.T) {
	pull := auth.Access{Resource: auth.Resource{Type: "repository", Name: "app"}, Action: "pull"}
	push, other := pull, pull
	push.Action, other.Name = "push", "other"
	for name, test := range map[string]struct {
		wanted auth.Access
		after  time.Duration
		revoke bool
		good   bool
	}{
		"what it allows":       {pull, tokenLife, false, true},
		"another action":       {push, 0, false, false},
		"another repository":   {other, 0, false, false},
		"after its life":       {pull, tokenLife + 1, false, false},
		"after it was revoked": {pull, 0, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tokens := newTokens("http://registry/token")
				token := tokenFor(t, tokens, "repository:app:pull")
				<-time.After(test.after)
				if test.revoke {
					tokens.revoke()
				}
				r := httptest.NewRequest(http.MethodGet, "/", nil)
				r.Header.Set("Authorization", "Bearer "+token)
				_, err := tokens.Authorized(r, test.wanted)
				if (err == nil) != test.good {
					t.Errorf("the answer is %v", err)
				}
				if asks, ok := errors.AsType[auth.Challenge](err); ok {
					answer := httptest.NewRecorder()
					asks.SetHeaders(r, answer)
					want := `Bearer realm="http://registry/token",service="soak",scope="repository:` + test.wanted.Name + ":" + test.wanted.Action + `"`
					if got := answer.Header().Get("WWW-Authenticate"); got != want {
						t.Errorf("the challenge is %s", got)
					}
				}
			})
		})
	}
}

func TestAKeyThatIsNewIsNotReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pull := auth.Access{Resource: auth.Resource{Type: "repository", Name: "app"}, Action: "pull"}
		tokens := newTokens("http://registry/token")
		tokens.revoke()
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Authorization", "Bearer "+tokenFor(t, tokens, "repository:app:pull"))
		for _, key := range []struct {
			lasted time.Duration
			good   bool
		}{{keyLasts - 1, true}, {1, false}} {
			<-time.After(key.lasted)
			tokens.revoke()
			if _, err := tokens.Authorized(r, pull); (err == nil) != key.good {
				t.Errorf("after another %s the answer is %v", key.lasted, err)
			}
		}
	})
}

// tokenFor asks for a token with the right password.
func tokenFor(t *testing.T, tokens *tokens, scope string) string {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/token?scope="+scope, nil)
	r.SetBasicAuth(user, password)
	answer := httptest.NewRecorder()
	tokens.ServeHTTP(answer, r)
	var issued struct{ Token string }
	if err := json.NewDecoder(answer.Body).Decode(&issued); err != nil || issued.Token == "" {
		t.Fatalf("%s: %v", answer.Body, err)
	}
	return issued.Token
}

func TestASweepTakesWhatNoTagLeadsTo(t *testing.T) {
	s := still(t)
	kept, lost, elsewhere, alone := s.places[0], s.places[1], s.places[tagsEach], s.places[2]
	for p, n := range map[*place]int{kept: 1, lost: 2, elsewhere: 2, alone: 4} {
		transplant(t, s, s.images[n], p)
	}
	r, err := s.destination.repository(t.Context(), kept.repository)
	if err != nil {
		t.Fatal(err)
	}
	layer := s.images[4].root
	if c, err := r.read(t.Context(), layer); err == nil {
		layer = c.Layers[len(c.Layers)-1].Digest // which no other image has
	}
	if err := errors.Join(r.tags.Untag(t.Context(), lost.tag), r.tags.Untag(t.Context(), alone.tag)); err != nil {
		t.Fatal(err)
	}
	s.sweepAtLast(t.Context())
	if _, err := r.read(t.Context(), s.images[2].root); err == nil {
		t.Error("a manifest that has a tag only elsewhere is there")
	}
	if _, err := s.destination.content.BlobStatter().Stat(t.Context(), layer); err == nil {
		t.Error("a layer that no manifest names is there")
	}
	for _, p := range []*place{kept, elsewhere} {
		if found, err := s.inspect(t.Context(), p, map[digest.Digest]bool{}); found == "" || err != nil {
			t.Errorf("%s:%s holds %s: %v", p.repository, p.tag, named(found), err)
		}
	}
	complains(t, s, "")
}

// While an index is copied to a repository for the first time, its manifests are
// there and no tag is.
func TestASweepTakesTheManifestsOfARepositoryThatHasNoTagYet(t *testing.T) {
	s := still(t)
	index := s.images[0]
	from, err := s.source.repository(t.Context(), index.repository)
	if err != nil {
		t.Fatal(err)
	}
	c, err := from.read(t.Context(), index.root)
	if err != nil {
		t.Fatal(err)
	}
	var untagged, tagged repository // in the order in which they are swept
	for _, child := range c.Manifests {
		untagged = bring(t, s, image{repository: index.repository, root: child.Digest}, "prod-0/app")
		tagged = bring(t, s, image{repository: index.repository, root: child.Digest}, "prod-1/app")
		if err := tagged.tags.Tag(t.Context(), child.Digest.Encoded(), child); err != nil {
			t.Fatal(err)
		}
	}
	s.sweepAtLast(t.Context())
	m, err := from.manifests.Get(t.Context(), index.root)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := untagged.manifests.Put(t.Context(), m); err == nil {
		t.Errorf("an index can be pushed of what was swept, and then: %v", untagged.whole(t.Context(), index.root, nil))
	}
	if _, err := tagged.manifests.Put(t.Context(), m); err != nil {
		t.Errorf("an index cannot be pushed of what has tags: %v", err)
	}
	if err := tagged.whole(t.Context(), index.root, map[digest.Digest]bool{}); err != nil {
		t.Errorf("what has tags is not whole: %v", err)
	}
	complains(t, s, "")
}

func TestAnUploadThatIsGivenUpWhileItIsCompletedIsCompleted(t *testing.T) {
	const upload, blob = "/repository/_uploads/1/data", "/blobs/1/data"
	storage := memory{inmemory.New()}
	completes, err := storage.Writer(t.Context(), upload, false)
	if err != nil {
		t.Fatal(err)
	}
	_, writeErr := completes.Write([]byte("content"))
	givesUp, err := storage.Writer(t.Context(), upload, true)
	if err = errors.Join(writeErr, err, completes.Commit(t.Context()), completes.Close(), storage.Move(t.Context(), upload, blob)); err != nil {
		t.Fatal(err)
	}
	_ = givesUp.Cancel(t.Context()) // of what is not there any more
	_ = givesUp.Close()
	if content, err := storage.GetContent(t.Context(), blob); err != nil || string(content) != "content" {
		t.Errorf("the blob is %q, %v", content, err)
	}
}

func TestASweepDoesNotWaitForARequestThatGoesOn(t *testing.T) {
	s := still(t)
	if err := s.destination.holding(t.Context(), func() error {
		if s.sweep(t.Context()) {
			return errors.New("it swept")
		}
		return nil
	}); err != nil || s.count.postponed.Load() != 1 {
		t.Errorf("%v; %d are counted as postponed", err, s.count.postponed.Load())
	}
}

func TestWhatWasGivenUpIsWaitedForUntilTheServerIsDoneWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, settled := newWires(), false
		engine, server := net.Pipe()
		w.open[engine.LocalAddr().String()] = &wire{ended: make(chan struct{})}
		w.settle() // nothing was given up
		_ = (&wireEnd{engine, w}).Close()
		go func() {
			w.settle()
			settled = true
		}()
		if synctest.Wait(); settled {
			t.Error("it was not waited for")
		}
		w.served(server, http.StateActive)
		w.served(server, http.StateClosed)
		if synctest.Wait(); !settled {
			t.Error("it is still waited for")
		}
	})
}

func TestAnAttemptThatFailedIsCountedByItsKind(t *testing.T) {
	var c count
	for _, err := range []error{errors.New("surprise"), errors.New("another")} {
		c.failed(err)
	}
	if n, kinds := c.failedAttempts(); n != 2 || !strings.Contains(kinds, "2 × of no kind") {
		t.Errorf("%d: %s", n, kinds)
	}
}
