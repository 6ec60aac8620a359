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

func TestFaultyConn(t *testing.T) {
	for name, test := range map[string]struct {
		in, out, over  bool // failing direction, or no faults anymore
		stall          bool
		received, sent int // of 10 bytes in each direction
	}{
		"in":         {in: true, received: 4, sent: 0},
		"out":        {out: true, received: 10, sent: 4},
		"stall":      {in: true, stall: true, received: 4, sent: 0},
		"over":       {in: true, out: true, over: true, received: 10, sent: 10},
		"no_failure": {received: 10, sent: 10},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, conn := net.Pipe()
				var f faults
				f.over.Store(test.over)
				server := f.wrap(conn)
				server.stall = test.stall
				for d, fails := range map[*direction]bool{&server.in: test.in, &server.out: test.out} {
					d.random, d.left = rand.New(rand.NewPCG(1, 1)), math.MaxInt64 // no delay among the first values
					if fails {
						d.left = 4
					}
				}
				began := time.Now()
				go func() { _, _ = client.Write([]byte("0123456789")) }()
				received, err := io.ReadFull(server, make([]byte, 10))
				if received != test.received || err == nil != (received == 10) {
					t.Errorf("received %d bytes, %v, want %d", received, err, test.received)
				}
				go func() {
					_, _ = server.Write([]byte("0123456789"))
					_ = server.Close()
				}()
				if sent, _ := io.Copy(io.Discard, client); int(sent) != test.sent {
					t.Errorf("sent %d bytes, want %d", sent, test.sent)
				}
				if stood := time.Since(began) >= stallDuration; stood != test.stall {
					t.Errorf("transfer took %s", time.Since(began))
				}
				cut := test.received+test.sent < 20
				if f.cuts.Load() == 1 != cut || f.stalls.Load() == 1 != test.stall {
					t.Errorf("count = %d cuts and %d stalls", f.cuts.Load(), f.stalls.Load())
				}
			})
		})
	}
}

func TestTokens_Authorized(t *testing.T) {
	pull := auth.Access{Resource: auth.Resource{Type: "repository", Name: "app"}, Action: "pull"}
	push, other := pull, pull
	push.Action, other.Name = "push", "other"
	for name, test := range map[string]struct {
		requested auth.Access
		after     time.Duration
		revoke    bool
		good      bool
	}{
		"granted":          {pull, tokenLifetime, false, true},
		"other_action":     {push, 0, false, false},
		"other_repository": {other, 0, false, false},
		"expired":          {pull, tokenLifetime + 1, false, false},
		"revoked":          {pull, 0, true, false},
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
				_, err := tokens.Authorized(r, test.requested)
				if (err == nil) != test.good {
					t.Errorf("Authorized() = %v, want valid %t", err, test.good)
				}
				if challenge, ok := errors.AsType[auth.Challenge](err); ok {
					response := httptest.NewRecorder()
					challenge.SetHeaders(r, response)
					want := `Bearer realm="http://registry/token",service="soak",scope="repository:` + test.requested.Name + ":" + test.requested.Action + `"`
					if got := response.Header().Get("WWW-Authenticate"); got != want {
						t.Errorf("challenge = %s, want %s", got, want)
					}
				}
			})
		})
	}
}

func TestTokens_RevokeInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pull := auth.Access{Resource: auth.Resource{Type: "repository", Name: "app"}, Action: "pull"}
		tokens := newTokens("http://registry/token")
		tokens.revoke()
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Authorization", "Bearer "+tokenFor(t, tokens, "repository:app:pull"))
		for _, key := range []struct {
			lasted time.Duration
			good   bool
		}{{minKeyLifetime - 1, true}, {1, false}} {
			<-time.After(key.lasted)
			tokens.revoke()
			if _, err := tokens.Authorized(r, pull); (err == nil) != key.good {
				t.Errorf("Authorized() after another %s = %v", key.lasted, err)
			}
		}
	})
}

// tokenFor requests a token with valid credentials.
func tokenFor(t *testing.T, tokens *tokens, scope string) string {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/token?scope="+scope, nil)
	r.SetBasicAuth(user, password)
	response := httptest.NewRecorder()
	tokens.ServeHTTP(response, r)
	var issued struct{ Token string }
	if err := json.NewDecoder(response.Body).Decode(&issued); err != nil || issued.Token == "" {
		t.Fatalf("token response = %s, %v", response.Body, err)
	}
	return issued.Token
}

func TestSweep_RemovesUntagged(t *testing.T) {
	s := idleSoak(t)
	kept, untagged, otherRepository, single := s.targets[0], s.targets[1], s.targets[tagsEach], s.targets[2]
	for p, n := range map[*target]int{kept: 1, untagged: 2, otherRepository: 2, single: 4} {
		pushTagged(t, s, s.images[n], p)
	}
	r, err := s.destination.repository(t.Context(), kept.repository)
	if err != nil {
		t.Fatal(err)
	}
	layer := s.images[4].root
	if c, err := r.read(t.Context(), layer); err == nil {
		layer = c.Layers[len(c.Layers)-1].Digest // that no other image has
	}
	if err := errors.Join(r.tags.Untag(t.Context(), untagged.tag), r.tags.Untag(t.Context(), single.tag)); err != nil {
		t.Fatal(err)
	}
	s.sweepWhenIdle(t.Context())
	if _, err := r.read(t.Context(), s.images[2].root); err == nil {
		t.Error("the sweep kept a manifest that is tagged only in another repository")
	}
	if _, err := s.destination.content.BlobStatter().Stat(t.Context(), layer); err == nil {
		t.Error("the sweep kept a layer without a manifest")
	}
	for _, p := range []*target{kept, otherRepository} {
		if found, err := s.inspect(t.Context(), p, map[digest.Digest]bool{}); found == "" || err != nil {
			t.Errorf("inspect() of %s:%s = %s, %v", p.repository, p.tag, digestOrNone(found), err)
		}
	}
	wantComplaint(t, s, "")
}

// While the first index is copied to a repository, the repository has its manifests but no tag.
func TestSweep_RepositoryWithoutTags(t *testing.T) {
	s := idleSoak(t)
	index := s.images[0]
	from, err := s.source.repository(t.Context(), index.repository)
	if err != nil {
		t.Fatal(err)
	}
	c, err := from.read(t.Context(), index.root)
	if err != nil {
		t.Fatal(err)
	}
	var untagged, tagged repository // in the order of the sweep
	for _, child := range c.Manifests {
		untagged = pushUntagged(t, s, image{repository: index.repository, root: child.Digest}, "prod-0/app")
		tagged = pushUntagged(t, s, image{repository: index.repository, root: child.Digest}, "prod-1/app")
		if err := tagged.tags.Tag(t.Context(), child.Digest.Encoded(), child); err != nil {
			t.Fatal(err)
		}
	}
	s.sweepWhenIdle(t.Context())
	m, err := from.manifests.Get(t.Context(), index.root)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := untagged.manifests.Put(t.Context(), m); err == nil {
		t.Errorf("pushed an index whose manifests were swept, checkComplete() = %v", untagged.checkComplete(t.Context(), index.root, nil))
	}
	if _, err := tagged.manifests.Put(t.Context(), m); err != nil {
		t.Errorf("Put() of an index with tagged manifests = %v", err)
	}
	if err := tagged.checkComplete(t.Context(), index.root, map[digest.Digest]bool{}); err != nil {
		t.Errorf("checkComplete() of the tagged index = %v", err)
	}
	wantComplaint(t, s, "")
}

func TestMemory_CancelDuringCompletion(t *testing.T) {
	const upload, blob = "/repository/_uploads/1/data", "/blobs/1/data"
	storage := memory{inmemory.New()}
	completes, err := storage.Writer(t.Context(), upload, false)
	if err != nil {
		t.Fatal(err)
	}
	_, writeErr := completes.Write([]byte("content"))
	cancels, err := storage.Writer(t.Context(), upload, true)
	if err = errors.Join(writeErr, err, completes.Commit(t.Context()), completes.Close(), storage.Move(t.Context(), upload, blob)); err != nil {
		t.Fatal(err)
	}
	_ = cancels.Cancel(t.Context()) // the upload was moved
	_ = cancels.Close()
	if content, err := storage.GetContent(t.Context(), blob); err != nil || string(content) != "content" {
		t.Errorf("blob = %q, %v, want the content", content, err)
	}
}

func TestSweep_ActiveRequest(t *testing.T) {
	s := idleSoak(t)
	if err := s.destination.withoutSweep(t.Context(), func() error {
		if s.sweep(t.Context()) {
			return errors.New("sweep() = true")
		}
		return nil
	}); err != nil || s.count.postponed.Load() != 1 {
		t.Errorf("%v; postponed = %d, want 1", err, s.count.postponed.Load())
	}
}

func TestConnTracker_Settle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, settled := newConnTracker(), false
		engine, server := net.Pipe()
		w.open[engine.LocalAddr().String()] = &trackedConn{ended: make(chan struct{})}
		w.settle() // no connection was closed
		_ = (&clientConn{engine, w}).Close()
		go func() {
			w.settle()
			settled = true
		}()
		if synctest.Wait(); settled {
			t.Error("settle() did not wait")
		}
		w.connState(server, http.StateActive)
		w.connState(server, http.StateClosed)
		if synctest.Wait(); !settled {
			t.Error("settle() did not return")
		}
	})
}

func TestCount_FailedAttempts(t *testing.T) {
	var c count
	for _, err := range []error{errors.New("surprise"), errors.New("another")} {
		c.failed(err)
	}
	if n, kinds := c.failedAttempts(); n != 2 || !strings.Contains(kinds, "2 × of no kind") {
		t.Errorf("failedAttempts() = %d, %s", n, kinds)
	}
}
