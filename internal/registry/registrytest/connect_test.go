package registrytest_test

import (
	"errors"
	"io"
	"net/http"
	"syscall"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// A client with keep-alive must still open a connection for each request, so that the
// connection for a certain request is refused.
func TestRefuse(t *testing.T) {
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
			t.Errorf("Get() %d = %v, want %v", i, err, want)
		}
		if err := get(other); err != nil {
			t.Errorf("Get() through another proxy = %v", err)
		}
	}
	if rule.Taken() != 2 || p.Count("GET", ".*") != 2 {
		t.Errorf("Taken() = %d, Count() = %d, want 2 and 2", rule.Taken(), p.Count("GET", ".*"))
	}
}

func TestCutHalfway(t *testing.T) {
	p, pushed := front(t)
	layer := "/v2/app/blobs/" + string(pushed.Blobs[2].Descriptor().Digest)
	p.On(".*", ".*").CutHalfway()
	res, body, err := fetch(t, p, "GET", layer, "")
	if !errors.Is(err, io.ErrUnexpectedEOF) || res.StatusCode != 200 || len(body) != 10_000 {
		t.Errorf("body has %d of 20000 bytes, %v, want half of them", len(body), err)
	}
	if _, _, err := fetch(t, p, "HEAD", layer, ""); err == nil {
		t.Error("HEAD succeeded, want a cut response")
	}
	if _, _, err := fetch(t, p, "POST", "/v2/app/blobs/uploads/", ""); err == nil {
		t.Error("POST succeeded, want a cut response")
	}
	if got := p.Requests()[2].Status; got != http.StatusAccepted {
		t.Errorf("POST status = %d, want %d", got, http.StatusAccepted)
	}
}

func TestScripted_OwnTokenEndpoint(t *testing.T) {
	tokens := registrytest.NewTokenServer(t)
	reg := registrytest.Scripted(t, registrytest.Behaviour{}, registrytest.TokenAuth(tokens))
	tokens.URL = reg.URL() + "/token"
	reg.Push(t, "app", "1.0", registrytest.Image{Seed: "a"})
	_, token := requestToken(t, tokens, "", "", "repository:app:pull")
	if res := getWithToken(t, reg, "/v2/app/tags/list", token); res.StatusCode != http.StatusOK {
		t.Errorf("status with the token = %s, want 200", res.Status)
	}
	if len(tokens.Requests()) != 1 {
		t.Errorf("token requests = %d, want 1", len(tokens.Requests()))
	}
}
