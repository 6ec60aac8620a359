package remote_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// rekeyed is a registry that has a new key as soon as two tokens were asked for:
// both are of no use when they come. The one for pushing comes when the one for
// pulling is refused, and whoever brings it gets no answer before pulling is over.
type rotatingKeys struct {
	bare, asked, pushes sync.WaitGroup // until there are two, two and one
	refused, pulled     chan struct{}

	mu     sync.Mutex
	tokens int
	seen   []string // what pulling brought
}

func (k *rotatingKeys) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	brought, hasToken := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch pushing := strings.HasSuffix(r.URL.Path, "/pushed"); {
	case r.URL.Path == "/token":
		k.issue(w, r)
		return
	case !hasToken:
		k.bare.Done()
		k.bare.Wait()
	case !pushing:
		k.mu.Lock()
		k.seen = append(k.seen, brought)
		k.mu.Unlock()
		if brought == "old-pull" {
			close(k.refused)
			k.pushes.Wait()
		}
	case brought == "old-pull,push":
		k.pushes.Done()
		<-k.pulled
	}
	if strings.HasPrefix(brought, "new-") {
		serveManifest(w, r)
		return
	}
	bearerChallenge("http://"+pipeHost+"/token")(w, r)
}

// issue answers with a token that is called by its key and its actions.
func (k *rotatingKeys) issue(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	k.tokens++
	key := "new"
	if k.tokens <= 2 {
		key = "old"
	}
	k.mu.Unlock()
	actions := strings.TrimPrefix(r.URL.Query().Get("scope"), "repository:app:")
	if key == "old" {
		k.asked.Done()
		k.asked.Wait()
		if actions == "pull,push" {
			<-k.refused
		}
	}
	fmt.Fprintf(w, `{"token":"%s-%s"}`, key, actions)
}

// A request to a host of which nothing is known has one answer that asks who it is,
// and may be refused once after that.
func TestAuthorization_KeyRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &rotatingKeys{refused: make(chan struct{}), pulled: make(chan struct{})}
		k.bare.Add(2)
		k.asked.Add(2)
		k.pushes.Add(1)
		c := newClient(t, servePipes(t, k.ServeHTTP).options)
		pull, push := c.pull(t, pipeHost+"/app"), c.push(t, pipeHost+"/app")
		var pushing sync.WaitGroup
		pushing.Go(func() {
			if _, err := push.GetManifest(t.Context(), "pushed"); err != nil {
				t.Errorf("what has the token that came late: %v", err)
			}
		})
		if _, err := pull.GetManifest(t.Context(), "pulled"); err != nil {
			t.Error(err)
		}
		close(k.pulled)
		pushing.Wait()
		if got := strings.Join(k.seen, " "); got != "old-pull new-pull" {
			t.Errorf("it brought %s", got)
		}
		if k.tokens != 4 {
			t.Errorf("%d tokens were asked for, and not 4", k.tokens)
		}
	})
}
