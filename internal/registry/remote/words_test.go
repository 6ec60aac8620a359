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

// The response to a HEAD has no body. The client sends a GET to report the registry's own
// message to the user, and not only the status.
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
				t.Errorf("error = %v, want the registry's code and message", e)
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
		t.Errorf("Resolve() = %v, %v", d.Digest, err)
	}
}

func TestResolve_NotFoundWithoutGet(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{})
	_, err := newClient(t).pull(t, p.Addr+"/app").Resolve(t.Context(), "1")
	assertErrorKind(t, err, registry.ErrNotFound)
	if n := len(p.Requests()); n != 1 {
		t.Errorf("requests = %d, want 1", n)
	}
}

// A 404 from a host that the registry redirected to is not the registry's own. It must not
// remove a resource from the state.
func TestRedirect_ForeignNotFound(t *testing.T) {
	elsewhere := serveFixed(t, http.StatusNotFound, "application/json", string(registrytest.ErrorBody("MANIFEST_UNKNOWN", "gone")))
	p := scripted(t, registrytest.Behaviour{})
	p.On("GET", ".*").Reply(http.StatusTemporaryRedirect, http.Header{"Location": {elsewhere.URL + "/m"}}, "")
	_, err := newClient(t, singleAttempt).pull(t, p.Addr+"/app").GetManifest(t.Context(), "1")
	assertErrorKind(t, err, registry.ErrProtocol)
}

// A server that received a credential can echo it in any part of its response that becomes
// part of an error or of the log.
func TestRedact_CredentialInHeader(t *testing.T) {
	encoded := base64.StdEncoding.EncodeToString([]byte("ci:" + canary))
	for name, header := range map[string]http.Header{
		"location_path":          {"Location": {"ftp://h/" + canary}},
		"location_host":          {"Location": {"ftp://" + canary + ".example/"}},
		"location_authorization": {"Location": {"ftp://h/" + encoded}},
		"location_relative":      {"Location": {"/" + canary}},
		"content_encoding":       {"Content-Encoding": {canary}},
		"content_type":           {"Content-Type": {"text/plain; x=" + canary}},
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
			assertNoSecret(t, "error", e.Error()+e.Hint)
		})
	}
}

// The token was issued during the operation and is not in the options.
func TestRedact_TokenInHeader(t *testing.T) {
	tokens := registrytest.NewTokenServer(t)
	tokens.Answer = func(w http.ResponseWriter, _ registrytest.TokenRequest, _ string) {
		_, _ = w.Write([]byte(`{"token":"` + canary + `-issued"}`))
	}
	p := scripted(t, registrytest.Behaviour{}, registrytest.TokenAuth(tokens))
	p.On("GET", ".*").Where(func(r *http.Request) bool { return r.Header.Get("Authorization") != "" }).
		Reply(http.StatusTemporaryRedirect, http.Header{"Location": {"ftp://h/" + canary + "-issued"}}, "")
	_, err := newClient(t, singleAttempt).pull(t, p.Addr+"/app").GetManifest(t.Context(), "1")
	assertNoSecret(t, "error", registryError(t, err).Error())
}

// The proxy received a login of its own.
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
