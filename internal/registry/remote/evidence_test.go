package remote_test

import (
	"encoding/base64"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// gateway is a server that responds with 404 to every request except /v2/, and records the
// requests.
type gateway struct {
	code    string // error code of the 404
	header  http.Header
	support http.HandlerFunc // handles /v2/; if nil, /v2/ gets the same 404

	mu       sync.Mutex
	requests []string
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	g.mu.Lock()
	g.requests = append(g.requests, strings.TrimSpace(r.Method+" "+r.URL.Path+" "+scheme))
	g.mu.Unlock()
	if r.URL.Path == "/v2/" && g.support != nil {
		g.support(w, r)
		return
	}
	maps.Copy(w.Header(), g.header)
	w.WriteHeader(http.StatusNotFound)
	if r.Method != http.MethodHead {
		_, _ = w.Write(registrytest.ErrorBody(g.code, "not found"))
	}
}

// takeRequests returns the requests so far and clears the record.
func (g *gateway) takeRequests() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	requests := g.requests
	g.requests = nil
	return requests
}

// supports returns a handler for /v2/ that responds with a status, a body and header
// fields.
func supports(status int, body string, fields ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(fields); i += 2 {
			w.Header().Add(fields[i], fields[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

const (
	getManifest  = "GET /v2/app/manifests/1"
	headManifest = "HEAD /v2/app/manifests/1"
	getSupport   = "GET /v2/"
)

// An error code that gateways also use counts only with evidence that the host is a
// registry. The client looks for that evidence once per host.
func TestNotFound_Evidence(t *testing.T) {
	const refusal = `{"errors":[{"code":"UNAUTHORIZED","message":"log in"}]}`
	for name, test := range map[string]struct {
		gateway *gateway
		want    error
		probes  bool // whether the client requests /v2/
	}{
		"no_evidence":           {&gateway{}, registry.ErrProtocol, true},
		"web_page":              {&gateway{support: supports(200, "<html>{}</html>")}, registry.ErrProtocol, true},
		"other_json":            {&gateway{support: supports(200, `{"message":"hello"}`)}, registry.ErrProtocol, true},
		"login_page":            {&gateway{support: supports(401, "<html>", "WWW-Authenticate", "Basic realm=x")}, registry.ErrProtocol, true},
		"api_challenge":         {&gateway{support: supports(401, `{"error":"invalid_token"}`, "WWW-Authenticate", `Bearer realm="api"`)}, registry.ErrProtocol, true},
		"other_error_code":      {&gateway{support: supports(403, `{"errors":[{"code":"DENIED"}]}`)}, registry.ErrProtocol, true},
		"version_header_on_404": {&gateway{header: http.Header{"Docker-Distribution-Api-Version": {"registry/2.0"}}}, registry.ErrNotFound, false},
		"oci_header_on_404":     {&gateway{header: http.Header{"Oci-Filters-Applied": {"x"}}}, registry.ErrNotFound, false},
		"version_header_on_v2":  {&gateway{support: supports(200, "", "Docker-Distribution-Api-Version", "registry/2.0")}, registry.ErrNotFound, true},
		"empty_object":          {&gateway{support: supports(200, "{}\n")}, registry.ErrNotFound, true},
		"token_challenge":       {&gateway{support: supports(401, "", "WWW-Authenticate", `Bearer realm="https://auth.example.com/token",service="x"`)}, registry.ErrNotFound, true},
		"registry_error_on_v2":  {&gateway{support: supports(401, refusal, "WWW-Authenticate", "Basic realm=x")}, registry.ErrNotFound, true},
		"version_header_on_403": {&gateway{support: supports(403, "", "Docker-Distribution-Api-Version", "registry/2.0")}, registry.ErrNotFound, true},
	} {
		t.Run(name, func(t *testing.T) {
			g := test.gateway
			g.code = "NOT_FOUND"
			server := servePlain(t, g.ServeHTTP)
			c := newClient(t)
			repo := c.push(t, address(server)+"/app")
			for attempt := range 3 {
				_, err := repo.GetManifest(c.context(t), "1")
				e := assertErrorKind(t, err, test.want)
				if e.Code != "NOT_FOUND" || e.Status != http.StatusNotFound {
					t.Errorf("GetManifest() = %v", err)
				}
				want := []string{getManifest}
				if test.probes && attempt == 0 {
					want = append(want, getSupport)
				}
				if got := g.takeRequests(); !slices.Equal(got, want) {
					t.Errorf("GetManifest() sent %q, want %q", got, want)
				}
			}
			// A deletion must be certain, and a list must exist.
			assertErrorKind(t, repo.DeleteTag(t.Context(), "1"), test.want)
			_, err := repo.ListTags(t.Context())
			assertErrorKind(t, err, test.want)
			g.takeRequests()
			// A HEAD is only a hint and needs no further request.
			_, err = repo.Resolve(t.Context(), "1")
			assertErrorKind(t, err, registry.ErrNotFound)
			if got := g.takeRequests(); !slices.Equal(got, []string{headManifest}) {
				t.Errorf("Resolve() sent %q, want only %s", got, headManifest)
			}
		})
	}
}

// Codes of the specification need no evidence from any server. The client also does not
// look for evidence that would not change the result.
func TestNotFound_NoEvidenceNeeded(t *testing.T) {
	for code, want := range map[string]error{"MANIFEST_UNKNOWN": registry.ErrNotFound, "NAME_UNKNOWN": registry.ErrNotFound, "NO_ROUTE": registry.ErrProtocol, "": registry.ErrProtocol} {
		g := &gateway{code: code}
		server := servePlain(t, g.ServeHTTP)
		_, err := newClient(t).pull(t, address(server)+"/app").GetManifest(t.Context(), "1")
		assertErrorKind(t, err, want)
		if got := g.takeRequests(); !slices.Equal(got, []string{getManifest}) {
			t.Errorf("%q: GetManifest() sent %q, want only %s", code, got, getManifest)
		}
	}
}

// Any earlier registry response from the host is evidence.
func TestNotFound_EarlierEvidence(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{}, registrytest.BasicAuth("ci", canary))
	p.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	p.On(".*", ".*").Alter(func(r *http.Response) { r.Header.Del("Docker-Distribution-Api-Version") })
	p.On("GET", "/v2/app/manifests/gone").Reply(http.StatusNotFound, nil, string(registrytest.ErrorBody("NOT_FOUND", "artifact not found")))
	c := newClient(t, credentials(map[string]auth.Credential{p.Addr: {Username: "ci", Password: canary}}))
	repo := c.pull(t, p.Ref("app", "1"))
	if _, err := repo.Resolve(t.Context(), "1"); err != nil {
		t.Fatal(err)
	}
	_, err := repo.GetManifest(t.Context(), "gone")
	assertErrorKind(t, err, registry.ErrNotFound)
	if n := p.Count("GET", "/v2/"); n != 0 {
		t.Errorf("requests for /v2/ = %d, want 0", n)
	}
}

// A failed request for /v2/ is no evidence. The client repeats it after the next 404.
func TestNotFound_EvidenceAfterFailure(t *testing.T) {
	var failing sync.Once
	g := &gateway{code: "NOT_FOUND"}
	g.support = func(w http.ResponseWriter, r *http.Request) {
		status, body := http.StatusOK, "{}"
		failing.Do(func() { status, body = http.StatusBadGateway, "" })
		supports(status, body)(w, r)
	}
	server := servePlain(t, g.ServeHTTP)
	repo := newClient(t).pull(t, address(server)+"/app")
	_, err := repo.GetManifest(t.Context(), "1")
	assertErrorKind(t, err, registry.ErrProtocol)
	_, err = repo.GetManifest(t.Context(), "1")
	assertErrorKind(t, err, registry.ErrNotFound)
	if got := g.takeRequests(); !slices.Equal(got, []string{getManifest, getSupport, getManifest, getSupport}) {
		t.Errorf("GetManifest() sent %q, want two requests for the manifest and two for /v2/", got)
	}
}

// Concurrent requests look for evidence only once, and stay within the limit of the host.
func TestNotFound_SharedEvidence(t *testing.T) {
	g := &gateway{code: "NOT_FOUND", support: supports(200, "{}")}
	server := servePlain(t, g.ServeHTTP)
	c := newClient(t, settings(map[string]remote.HostOptions{address(server): {MaxConcurrentRequests: 4}}))
	var requesting sync.WaitGroup
	for range 20 {
		requesting.Go(func() {
			_, err := c.pull(t, address(server)+"/app").GetManifest(c.context(t), "1")
			if !errors.Is(err, registry.ErrNotFound) {
				t.Errorf("GetManifest() = %v", err)
			}
		})
	}
	requesting.Wait()
	requests := g.takeRequests()
	if n := len(slices.DeleteFunc(requests, func(s string) bool { return s != getSupport })); n != 1 {
		t.Errorf("requests for /v2/ = %d, want 1", n)
	}
}

// hidingRegistry responds with a manifest if the credentials are right, and as if nothing
// existed otherwise.
type hidingRegistry struct {
	gateway
	authorization string
}

func (h *hidingRegistry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch got := r.Header.Get("Authorization"); {
	case r.URL.Path == "/token":
		_, _ = io.WriteString(w, `{"token":"issued"}`)
	case h.authorization != "" && got == h.authorization && r.URL.Path != "/v2/":
		h.mu.Lock()
		h.requests = append(h.requests, r.Method+" "+r.URL.Path+" granted")
		h.mu.Unlock()
		serveManifest(w, r)
	case got != "" && got != h.authorization && strings.HasPrefix(got, "Basic") && h.authorization != "":
		w.Header().Set("WWW-Authenticate", "Basic realm=x")
		w.WriteHeader(http.StatusUnauthorized)
	default:
		h.gateway.ServeHTTP(w, r)
	}
}

// A 404 to an anonymous request is not final if credentials are configured: registries
// hide repositories that the client may not see.
func TestNotFound_WithoutCredentials(t *testing.T) {
	ci := auth.Credential{Username: "ci", Password: canary}
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("ci:"+canary))
	challenge := func(value string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("WWW-Authenticate", strings.ReplaceAll(value, "HOST", r.Host))
			w.WriteHeader(http.StatusUnauthorized)
		}
	}
	token := challenge(`Bearer realm="http://HOST/token",service="x"`)
	for name, test := range map[string]struct {
		credential    auth.Credential
		authorization string // the accepted value
		support       http.HandlerFunc
		want          error
		first, next   []string // the expected requests
	}{
		"basic":                        {ci, basic, challenge("Basic realm=x"), nil, []string{getManifest, getSupport, getManifest + " granted"}, []string{getManifest + " granted"}},
		"token":                        {ci, "Bearer issued", token, nil, []string{getManifest, getSupport, getManifest + " granted"}, []string{getManifest + " granted"}},
		"no_challenge":                 {ci, basic, supports(200, "{}"), nil, []string{getManifest, getSupport, getManifest + " granted"}, []string{getManifest + " granted"}},
		"no_support":                   {ci, basic, nil, nil, []string{getManifest, getSupport, getManifest + " granted"}, []string{getManifest + " granted"}},
		"registry_token":               {auth.Credential{RegistryToken: canary}, "Bearer " + canary, supports(200, "{}"), nil, []string{getManifest, getSupport, getManifest + " granted"}, nil},
		"absent":                       {ci, "", challenge("Basic realm=x"), registry.ErrNotFound, []string{getManifest, getSupport, getManifest + " Basic"}, []string{getManifest + " Basic"}},
		"absent_without_challenge":     {ci, "", supports(200, "{}"), registry.ErrNotFound, []string{getManifest, getSupport, getManifest + " Basic"}, []string{getManifest, getManifest + " Basic"}},
		"wrong_password":               {ci, "Basic other", challenge("Basic realm=x"), registry.ErrUnauthorized, []string{getManifest, getSupport}, nil},
		"identity_token_without_realm": {auth.Credential{IdentityToken: canary}, "Bearer issued", supports(200, "{}"), registry.ErrNotFound, []string{getManifest, getSupport}, []string{getManifest}},
		"unavailable":                  {ci, basic, supports(503, ""), registry.ErrUnavailable, nil, nil},
		"anonymous":                    {auth.Credential{}, basic, challenge("Basic realm=x"), registry.ErrNotFound, []string{getManifest}, []string{getManifest}},
	} {
		t.Run(name, func(t *testing.T) {
			h := &hidingRegistry{gateway: gateway{code: "MANIFEST_UNKNOWN", support: test.support}, authorization: test.authorization}
			server := servePlain(t, h.ServeHTTP)
			c := newClient(t, credentials(map[string]auth.Credential{address(server): test.credential}))
			for i, want := range [][]string{test.first, test.next} {
				_, err := c.pull(t, address(server)+"/app").GetManifest(c.context(t), "1")
				if test.want != nil {
					assertErrorKind(t, err, test.want)
				} else if err != nil {
					t.Errorf("GetManifest() = %v", err)
				}
				if got := h.takeRequests(); want != nil && !slices.Equal(got, want) {
					t.Errorf("GetManifest(), number %d, sent %q, want %q", i+1, got, want)
				}
			}
		})
	}
}

// For a source, the client confirms a HEAD that finds nothing. For a destination it does
// not, because the tags are yet to be created.
func TestResolve_WithoutCredentials(t *testing.T) {
	for access, want := range map[remote.Access][]string{
		remote.Pull: {headManifest, getManifest, getSupport, getManifest + " granted"},
		remote.Push: {headManifest},
	} {
		h := &hidingRegistry{gateway: gateway{code: "MANIFEST_UNKNOWN", support: supports(401, "", "WWW-Authenticate", "Basic realm=x")}, authorization: "Basic " + base64.StdEncoding.EncodeToString([]byte("ci:"+canary))}
		server := servePlain(t, h.ServeHTTP)
		c := newClient(t, credentials(map[string]auth.Credential{address(server): {Username: "ci", Password: canary}}))
		_, err := c.Repository(parse(t, address(server)+"/app"), access).Resolve(t.Context(), "1")
		if access == remote.Pull && err != nil || access == remote.Push && !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("Resolve() = %v", err)
		}
		if got := h.takeRequests(); !slices.Equal(got, want) {
			t.Errorf("Resolve() sent %q, want %q", got, want)
		}
	}
}

// Unreadable credentials matter only if the registry requires credentials.
func TestNotFound_UnreadableCredentials(t *testing.T) {
	for name, test := range map[string]struct {
		support http.HandlerFunc
		want    error
	}{
		"open":       {supports(200, "{}"), registry.ErrNotFound},
		"challenged": {supports(401, "", "WWW-Authenticate", "Basic realm=x"), registry.ErrCredentials},
	} {
		g := &gateway{code: "MANIFEST_UNKNOWN", support: test.support}
		server := servePlain(t, g.ServeHTTP)
		_, err := newClient(t, withDockerConfig(`{"credsStore": "does-not-exist"}`)).pull(t, address(server)+"/app").GetManifest(t.Context(), "1")
		assertErrorKind(t, err, test.want)
		if got := g.takeRequests(); !slices.Equal(got, []string{getManifest, getSupport}) {
			t.Errorf("%s: GetManifest() sent %q, want one request for the manifest and one for /v2/", name, got)
		}
	}
}
