package remote_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// rotatingKeys is a registry that replaces its signing key once two tokens were requested,
// so that both tokens are invalid. The token server issues the token for push only after
// the registry has rejected the token for pull. The request with the push token gets no
// response before the pull ends.
type rotatingKeys struct {
	bare, tokenRequests, pushes sync.WaitGroup // the number of events to wait for: two, two and one
	refused, pulled             chan struct{}

	mu     sync.Mutex
	tokens int
	seen   []string // tokens of the pull requests
}

func (k *rotatingKeys) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token, hasToken := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch pushing := strings.HasSuffix(r.URL.Path, "/pushed"); {
	case r.URL.Path == "/token":
		k.issue(w, r)
		return
	case !hasToken:
		k.bare.Done()
		k.bare.Wait()
	case !pushing:
		k.mu.Lock()
		k.seen = append(k.seen, token)
		k.mu.Unlock()
		if token == "old-pull" {
			close(k.refused)
			k.pushes.Wait()
		}
	case token == "old-pull,push":
		k.pushes.Done()
		<-k.pulled
	}
	if strings.HasPrefix(token, "new-") {
		serveManifest(w, r)
		return
	}
	bearerChallenge("http://"+pipeHost+"/token")(w, r)
}

// issue responds with a token that is named after its key and its actions.
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
		k.tokenRequests.Done()
		k.tokenRequests.Wait()
		if actions == "pull,push" {
			<-k.refused
		}
	}
	fmt.Fprintf(w, `{"token":"%s-%s"}`, key, actions)
}

// A request to an unknown host may get one challenge and one rejected token before it
// fails.
func TestAuthorization_KeyRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &rotatingKeys{refused: make(chan struct{}), pulled: make(chan struct{})}
		k.bare.Add(2)
		k.tokenRequests.Add(2)
		k.pushes.Add(1)
		c := newClient(t, servePipes(t, k.ServeHTTP).options)
		pull, push := c.pull(t, pipeHost+"/app"), c.push(t, pipeHost+"/app")
		var pushing sync.WaitGroup
		pushing.Go(func() {
			if _, err := push.GetManifest(t.Context(), "pushed"); err != nil {
				t.Errorf("GetManifest() with the late token = %v", err)
			}
		})
		if _, err := pull.GetManifest(t.Context(), "pulled"); err != nil {
			t.Error(err)
		}
		close(k.pulled)
		pushing.Wait()
		if got := strings.Join(k.seen, " "); got != "old-pull new-pull" {
			t.Errorf("tokens of the pull = %s, want old-pull new-pull", got)
		}
		if k.tokens != 4 {
			t.Errorf("requested tokens = %d, want 4", k.tokens)
		}
	})
}
