package remote_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// A HEAD's answer has no body, so that the registry's own message has to be
// fetched: people are to read what it said, and not the status alone.
func TestResolve_FailedHeadExplainedByGet(t *testing.T) {
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
			_, err := newClient(t, singleAttempt).pull(t, p.Addr+"/app").Resolve(t.Context(), "1")
			e := assertErrorKind(t, err, kind)
			if e.Code != "SOME_CODE" || e.Message != "the cellar is flooded" || e.Status != status {
				t.Errorf("the error is %v", e)
			}
		})
	}
}

func TestResolve_FailedHeadSuccessfulGet(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{})
	pushed := p.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	p.On("HEAD", ".*").Reply(http.StatusInternalServerError, nil, "")
	d, err := newClient(t, singleAttempt).pull(t, p.Addr+"/app").Resolve(t.Context(), "1")
	if err != nil || d.Digest != pushed.Digest {
		t.Errorf("found %v, %v", d.Digest, err)
	}
}

func TestResolve_NotFoundWithoutGet(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{})
	_, err := newClient(t).pull(t, p.Addr+"/app").Resolve(t.Context(), "1")
	assertErrorKind(t, err, registry.ErrNotFound)
	if n := len(p.Requests()); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

// What a place says that the registry only pointed to is not the registry's own
// word: it takes no resource out of a state.
func TestRedirect_ForeignNotFound(t *testing.T) {
	elsewhere := serveFixed(t, http.StatusNotFound, "application/json", string(registrytest.ErrorBody("MANIFEST_UNKNOWN", "gone")))
	p := scripted(t, registrytest.Behaviour{})
	p.On("GET", ".*").Reply(http.StatusTemporaryRedirect, http.Header{"Location": {elsewhere.URL + "/m"}}, "")
	_, err := newClient(t, singleAttempt).pull(t, p.Addr+"/app").GetManifest(t.Context(), "1")
	assertErrorKind(t, err, registry.ErrProtocol)
}

// A server that was sent a credential can put it into any part of its answer
// that becomes part of an error or of the log.
func TestRedact_CredentialInHeader(t *testing.T) {
	encoded := base64.StdEncoding.EncodeToString([]byte("ci:" + canary))
	for name, header := range map[string]http.Header{
		"a scheme that is not followed": {"Location": {"ftp://h/" + canary}},
		"a host":                        {"Location": {"ftp://" + canary + ".example/"}},
		"what was sent":                 {"Location": {"ftp://h/" + encoded}},
		"a place of its own":            {"Location": {"/" + canary}},
		"the Content-Encoding":          {"Content-Encoding": {canary}},
		"the Content-Type":              {"Content-Type": {"text/plain; x=" + canary}},
	} {
		t.Run(name, func(t *testing.T) {
			p := scripted(t, registrytest.Behaviour{}, registrytest.BasicAuth("ci", canary))
			p.Push(t, "app", "1", registrytest.Image{Seed: "a"})
			status := http.StatusOK
			if header.Get("Location") != "" {
				status = http.StatusTemporaryRedirect
			}
			p.On("GET", ".*").Where(func(r *http.Request) bool { return r.Header.Get("Authorization") != "" }).Reply(status, header, "{}")
			c := newClient(t, singleAttempt, credentials(map[string]auth.Credential{p.Addr: {Username: "ci", Password: canary, Source: "the test"}}))
			_, err := c.pull(t, p.Addr+"/app").GetManifest(t.Context(), "1")
			e := registryError(t, err)
			assertNoSecret(t, "the error", e.Error()+e.Hint)
		})
	}
}

// A token was issued on the way and is nobody's setting.
func TestRedact_TokenInHeader(t *testing.T) {
	tokens := registrytest.NewTokenServer(t)
	tokens.Answer = func(w http.ResponseWriter, _ registrytest.TokenRequest, _ string) {
		_, _ = w.Write([]byte(`{"token":"` + canary + `-issued"}`))
	}
	p := scripted(t, registrytest.Behaviour{}, registrytest.TokenAuth(tokens))
	p.On("GET", ".*").Where(func(r *http.Request) bool { return r.Header.Get("Authorization") != "" }).
		Reply(http.StatusTemporaryRedirect, http.Header{"Location": {"ftp://h/" + canary + "-issued"}}, "")
	_, err := newClient(t, singleAttempt).pull(t, p.Addr+"/app").GetManifest(t.Context(), "1")
	assertNoSecret(t, "the error", registryError(t, err).Error())
}

// A proxy was sent a login of its own.
func TestRedact_ProxyLogin(t *testing.T) {
	proxy := servePlain(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusProxyAuthRequired)
		_, _ = fmt.Fprint(w, r.Header.Get("Proxy-Authorization"), " ", canary)
	})
	plain := true
	c := newClient(t, settings(map[string]remote.HostOptions{"registry.example.com": {PlainHTTP: &plain}}), func(o *remote.Options) {
		o.Proxy = func(*http.Request) (*url.URL, error) {
			return &url.URL{Scheme: "http", User: url.UserPassword("deploy", canary), Host: address(proxy)}, nil
		}
	})
	_, err := c.pull(t, "registry.example.com/app").GetManifest(t.Context(), "1")
	assertContains(t, assertErrorKind(t, err, registry.ErrDenied).Error(), "says \"Basic *** ***\"")
}
