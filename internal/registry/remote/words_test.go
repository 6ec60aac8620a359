package remote_test

import (
	"net/http"
	"strconv"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// A HEAD's answer has no body, so that the registry's own message has to be
// fetched: people are to read what it said, and not the status alone.
func TestAFailedHeadIsExplainedInTheRegistrysWords(t *testing.T) {
	for status, kind := range map[int]error{
		http.StatusUnauthorized:        registry.ErrUnauthorized,
		http.StatusForbidden:           registry.ErrDenied,
		http.StatusTooManyRequests:     registry.ErrRateLimited,
		http.StatusInternalServerError: registry.ErrUnavailable,
	} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			p := scripted(t, registrytest.Behaviour{})
			p.On("HEAD", ".*").Reply(status, nil, "")
			p.On("GET", ".*").Reply(status, nil, string(registrytest.ErrorBody("SOME_CODE", "the cellar is flooded")))
			_, err := newClient(t, once).pull(t, p.Addr+"/app").Resolve(t.Context(), "1")
			e := failure(t, err, kind)
			if e.Code != "SOME_CODE" || e.Message != "the cellar is flooded" || e.Status != status {
				t.Errorf("the error is %v", e)
			}
		})
	}
}

func TestAHeadThatFailsWhereAGetDoesNotIsNoFailure(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{})
	pushed := p.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	p.On("HEAD", ".*").Reply(http.StatusInternalServerError, nil, "")
	d, err := newClient(t, once).pull(t, p.Addr+"/app").Resolve(t.Context(), "1")
	if err != nil || d.Digest != pushed.Digest {
		t.Errorf("found %v, %v", d.Digest, err)
	}
}

func TestWhatIsNotThereNeedsNoExplanation(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{})
	_, err := newClient(t).pull(t, p.Addr+"/app").Resolve(t.Context(), "1")
	failure(t, err, registry.ErrNotFound)
	if n := len(p.Requests()); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}
