package registrytest_test

import (
	"errors"
	"io"
	"net/http"
	"syscall"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// A client that keeps its connections gets a new one for each request, so that
// the one for request k is refused.
func TestConnectionsAreRefused(t *testing.T) {
	p, _ := front(t)
	other, _ := front(t)
	rule := p.On(".*", ".*").After(1).Times(2).Refuse()
	transport := &http.Transport{DialContext: registrytest.Dialer(p, other)}
	t.Cleanup(transport.CloseIdleConnections)
	get := func(p *registrytest.Proxy) error {
		res, err := (&http.Client{Transport: transport}).Get(p.URL() + "/v2/app/tags/list")
		if err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			err = res.Body.Close()
		}
		return err
	}
	for i, want := range []error{nil, syscall.ECONNREFUSED, syscall.ECONNREFUSED, nil} {
		if err := get(p); !errors.Is(err, want) {
			t.Errorf("request %d: %v, want %v", i, err, want)
		}
		if err := get(other); err != nil {
			t.Errorf("another proxy: %v", err)
		}
	}
	if rule.Taken() != 2 || p.Count("GET", ".*") != 2 {
		t.Errorf("%d connections were refused and %d requests came, want 2 and 2", rule.Taken(), p.Count("GET", ".*"))
	}
}

func TestAnAnswerIsCutHalfway(t *testing.T) {
	p, pushed := front(t)
	layer := "/v2/app/blobs/" + string(pushed.Blobs[2].Descriptor().Digest)
	p.On(".*", ".*").CutHalfway()
	res, body, err := fetch(t, p, "GET", layer, "")
	if !errors.Is(err, io.ErrUnexpectedEOF) || res.StatusCode != 200 || len(body) != 10_000 {
		t.Errorf("of 20000 bytes came %d: %v", len(body), err)
	}
	if _, _, err := fetch(t, p, "HEAD", layer, ""); err == nil {
		t.Error("an answer without a body came whole")
	}
	if _, _, err := fetch(t, p, "POST", "/v2/app/blobs/uploads/", ""); err == nil {
		t.Error("the answer to a POST came whole")
	}
	if got := p.Requests()[2].Status; got != http.StatusAccepted {
		t.Errorf("the registry answered the POST with %d", got)
	}
}

func TestScriptedIssuesItsOwnTokens(t *testing.T) {
	tokens := registrytest.NewTokenServer(t)
	reg := registrytest.Scripted(t, registrytest.Behaviour{}, registrytest.TokenAuth(tokens))
	tokens.URL = reg.URL() + "/token"
	reg.Push(t, "app", "1.0", registrytest.Image{Seed: "a"})
	_, token := ask(t, tokens, "", "", "repository:app:pull")
	if res := with(t, reg, "/v2/app/tags/list", token); res.StatusCode != http.StatusOK {
		t.Errorf("the token is answered %s", res.Status)
	}
	if len(tokens.Requests()) != 1 {
		t.Errorf("%d tokens were asked for, want 1", len(tokens.Requests()))
	}
}
