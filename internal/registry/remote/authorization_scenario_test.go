package remote_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

func TestAuthorization_NoCredentialsBeforeChallenge(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{}, registrytest.BasicAuth("ci", canary))
	pushed := p.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	c := newClient(t, credentials(map[string]auth.Credential{p.Addr: {Username: "ci", Password: canary}}))
	for range 3 {
		if _, err := c.pull(t, p.Ref("app", "1")).GetManifest(c.context(t), string(pushed.Digest)); err != nil {
			t.Fatal(err)
		}
	}
	requests := p.Requests()
	if first := requests[0]; first.Path != "/v2/app/manifests/"+string(pushed.Digest) || first.Header.Get("Authorization") != "" {
		t.Errorf("first request = %s with Authorization %q, want the manifest without credentials", first.Path, first.Header.Get("Authorization"))
	}
	if p.Count(".*", "/v2/") != 0 {
		t.Error("the client requested /v2/, want no such request")
	}
	// The challenge is remembered: the client gets one 401, then none.
	if len(requests) != 4 {
		t.Errorf("requests for three manifests = %d, want 4", len(requests))
	}
	// A challenge is not a failure, so the request that follows it is not a retry.
	if sent, retries := c.sent(); sent != 4 || retries != 0 {
		t.Errorf("trace = %d requests and %d retries, want 4 and 0", sent, retries)
	}
}

func TestAuthorization_TokenPerRepository(t *testing.T) {
	tokens := registrytest.NewTokenServer(t)
	tokens.User, tokens.Password = "ci", canary
	p := scripted(t, registrytest.Behaviour{}, registrytest.TokenAuth(tokens))
	pushed := p.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	c := newClient(t, credentials(map[string]auth.Credential{p.Addr: {Username: "ci", Password: canary, TokenHosts: []string{hostOf(t, tokens.URL)}}}))
	repo := c.push(t, p.Ref("app", "1"))
	if _, err := repo.Resolve(t.Context(), "1"); err != nil {
		t.Fatal(err)
	}
	if _, err := readAll(t, repo, pushed.Blobs[0].Descriptor()); err != nil {
		t.Fatal(err)
	}
	if _, err := repo.PutBlob(t.Context(), descriptor("new"), newBody(t, "new").get()); err != nil {
		t.Fatal(err)
	}
	tokenRequests := tokens.Requests()
	if len(tokenRequests) != 1 || !slices.Equal(tokenRequests[0].Scopes, []string{"repository:app:pull,push"}) {
		t.Errorf("token requests = %+v, want one with repository:app:pull,push", tokenRequests)
	}
}

func TestAuthorization_TokenRefreshLimit(t *testing.T) {
	var issued atomic.Int32
	tokens := registrytest.NewTokenServer(t)
	tokens.Answer = func(w http.ResponseWriter, _ registrytest.TokenRequest, _ string) {
		_, _ = w.Write([]byte(`{"token":"` + canary + string('a'+issued.Add(1)) + `"}`))
	}
	p := scripted(t, registrytest.Behaviour{}, registrytest.TokenAuth(tokens))
	p.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	c := newClient(t, credentials(map[string]auth.Credential{p.Addr: {Username: "ci", Password: canary, TokenHosts: []string{hostOf(t, tokens.URL)}, Source: "the test"}}))
	repo := c.pull(t, p.Ref("app", "1"))
	_, err := repo.GetManifest(c.context(t), "1")
	e := assertErrorKind(t, err, registry.ErrUnauthorized)
	assertContains(t, e.Hint, `"ci"`, "the test")
	// The two token requests count as requests. The request that follows a rejected token
	// is a retry.
	if sent, retries := c.sent(); sent != 5 || retries != 1 {
		t.Errorf("trace = %d requests and %d retries, want 5 and 1", sent, retries)
	}
	if e.Status != http.StatusUnauthorized || e.Code != "UNAUTHORIZED" {
		t.Errorf("status = %d, code = %q, want 401 and UNAUTHORIZED", e.Status, e.Code)
	}
	// Without a token, with a token, and with a new token.
	if n := len(p.Requests()); n != 3 {
		t.Errorf("requests = %d, want 3", n)
	}
	// The challenge is known now: with a token, and with two new tokens.
	p.Forget()
	_, err = repo.GetManifest(t.Context(), "1")
	assertErrorKind(t, err, registry.ErrUnauthorized)
	if n := len(p.Requests()); n != 3 {
		t.Errorf("requests = %d, want 3", n)
	}
	if n := issued.Load(); n != 5 {
		t.Errorf("issued tokens = %d, want 5", n)
	}
}

func TestAuthorization_LogsCredentialOnce(t *testing.T) {
	for name, test := range map[string]struct {
		credential auth.Credential
		want       string
	}{
		"user":           {auth.Credential{Username: "ci", Password: canary, Source: "a file"}, `used="the login of the user \"ci\"" from="a file"`},
		"user_name_only": {auth.Credential{Username: canary, Source: "a file"}, `used="the login" from="a file"`},
		"registry_token": {auth.Credential{RegistryToken: canary, Source: "a file"}, `used="the registry token" from="a file"`},
		"identity_token": {auth.Credential{IdentityToken: canary, Source: "a file"}, `used="the identity token" from="a file"`},
		"anonymous":      {auth.Credential{}, `used="none, anonymous" from="no credentials were found in registries"`},
	} {
		t.Run(name, func(t *testing.T) {
			tokens := registrytest.NewTokenServer(t)
			p := scripted(t, registrytest.Behaviour{}, registrytest.TokenAuth(tokens))
			test.credential.TokenHosts = []string{hostOf(t, tokens.URL)}
			c := newClient(t, credentials(map[string]auth.Credential{p.Addr: test.credential}))
			for _, repo := range []string{"app", "other", "app"} {
				_, _ = c.pull(t, p.Ref(repo, "1")).GetManifest(t.Context(), "1") // the result does not matter
			}
			line := `level=DEBUG msg="credentials chosen" host=` + p.Addr + " " + test.want + "\n"
			if n := strings.Count(c.log.String(), "credentials chosen"); n != 1 || !strings.Contains(c.log.String(), line) {
				t.Errorf("log lines about credentials = %d, want one %q:\n%s", n, line, c.log)
			}
		})
	}
}

func TestAuthorization_RejectedCredential(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{}, registrytest.BasicAuth("ci", "right"))
	for name, test := range map[string]struct {
		credential auth.Credential
		hint       []string
		requests   int
	}{
		"wrong_password":          {auth.Credential{Username: "ci", Password: canary, Source: "a file"}, []string{`"ci"`, "a file"}, 2},
		"no_credentials":          {auth.Credential{}, []string{"no credentials were found", `Set registries = { "`}, 1},
		"secret_user_name":        {auth.Credential{Username: canary, Source: "a file"}, []string{"the login, from a file"}, 2},
		"registry_token":          {auth.Credential{RegistryToken: canary, Source: "a file"}, []string{"the registry token", "a file"}, 1},
		"identity_token":          {auth.Credential{IdentityToken: canary, Source: "a file"}, []string{"the identity token, from a file. This registry takes a user name and a password and no token: set registries"}, 1},
		"line_break_in_user_name": {auth.Credential{Username: "c\ni", Password: canary, Source: "a file"}, []string{`"c\ni"`}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			p.Forget()
			c := newClient(t, credentials(map[string]auth.Credential{p.Addr: test.credential}))
			_, err := c.pull(t, p.Ref("app", "1")).GetManifest(t.Context(), "1")
			assertContains(t, assertErrorKind(t, err, registry.ErrUnauthorized).Hint, test.hint...)
			if n := len(p.Requests()); n != test.requests {
				t.Errorf("requests = %d, want %d", n, test.requests)
			}
		})
	}
}

// A different password does not help if no supported scheme is offered.
func TestAuthorization_UnsupportedScheme(t *testing.T) {
	const body = `{"errors":[{"code":"UNAUTHORIZED","message":"no"}]}`
	for name, test := range map[string]struct{ challenge, body, want string }{
		"with_message":      {"Negotiate", body, "UNAUTHORIZED: no. It wants negotiate authentication, and no container tool"},
		"without_message":   {"NTLM, Negotiate", "", "HTTP 401. It wants ntlm or negotiate authentication"},
		"without_challenge": {"", "", "HTTP 401. It does not say how to log in, so that no login was sent: look for"},
	} {
		server := servePlain(t, func(w http.ResponseWriter, _ *http.Request) {
			if test.challenge != "" {
				w.Header().Set("WWW-Authenticate", test.challenge)
			}
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, test.body)
		})
		_, err := newClient(t, singleAttempt).pull(t, address(server)+"/app").GetManifest(t.Context(), "1")
		e := assertErrorKind(t, err, registry.ErrUnauthorized)
		if text := e.Error() + ". " + e.Hint; !strings.Contains(text, test.want) {
			t.Errorf("%s: error = %s, want it to contain %s", name, text, test.want)
		}
	}
}

func TestAuthorization_CredentialPerRepository(t *testing.T) {
	tokens := registrytest.NewTokenServer(t)
	tokens.Allow = func(user, repo, _ string) bool { return repo == user+"/app" }
	p := scripted(t, registrytest.Behaviour{}, registrytest.TokenAuth(tokens))
	realm := []string{hostOf(t, tokens.URL)}
	c := newClient(t, credentials(map[string]auth.Credential{
		p.Addr:            {Username: "nobody", Password: canary, TokenHosts: realm},
		p.Addr + "/team":  {Username: "team", Password: canary, TokenHosts: realm},
		p.Addr + "/other": {Username: "other", Password: canary, TokenHosts: realm},
	}))
	for _, team := range []string{"team", "other"} {
		p.Push(t, team+"/app", "1", registrytest.Image{Seed: team})
		if _, err := c.pull(t, p.Ref(team+"/app", "1")).Resolve(t.Context(), "1"); err != nil {
			t.Error(err)
		}
	}
	_, err := c.pull(t, p.Ref("app", "1")).Resolve(t.Context(), "1")
	assertContains(t, assertErrorKind(t, err, registry.ErrUnauthorized).Hint, `"nobody"`)
}

// The client requests no more access than the operation needs, even if the challenge names
// more. A pull never requests push or delete, and a push never requests delete.
func TestAuthorization_TokenScope(t *testing.T) {
	tokens := registrytest.NewTokenServer(t)
	p := scripted(t, registrytest.Behaviour{}, registrytest.TokenAuth(tokens))
	pushed := p.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	p.On(".*", ".*").Alter(func(r *http.Response) {
		if r.StatusCode == http.StatusUnauthorized {
			r.Header.Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s?scope=repository:app:push",service="registrytest",scope="repository:app:pull,push,delete repository:other:pull,push"`, tokens.URL))
		}
	})
	read := func(repo registry.Repository) {
		t.Helper()
		if _, err := repo.Resolve(t.Context(), "1"); err != nil {
			t.Fatal(err)
		}
		if _, err := repo.ListTags(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := readAll(t, repo, pushed.Blobs[0].Descriptor()); err != nil {
			t.Fatal(err)
		}
	}
	c := newClient(t)
	read(c.pull(t, p.Ref("app", "1")))
	if tokenRequests := tokens.Requests(); len(tokenRequests) != 1 || !slices.Equal(tokenRequests[0].Scopes, []string{"repository:app:pull"}) {
		t.Errorf("token requests for reading = %+v, want one with repository:app:pull", tokenRequests)
	}
	destination := c.push(t, p.Ref("app", "2"))
	if _, err := destination.PutBlob(t.Context(), descriptor("new"), newBody(t, "new").get()); err != nil {
		t.Fatal(err)
	}
	if tokenRequests := tokens.Requests(); len(tokenRequests) != 2 || !slices.Equal(tokenRequests[1].Scopes, []string{"repository:app:pull,push"}) {
		t.Errorf("token requests for pushing = %+v, want a second one with repository:app:pull,push", tokenRequests)
	}
}

func TestAuthorization_MountScope(t *testing.T) {
	tokens := registrytest.NewTokenServer(t)
	p := scripted(t, registrytest.Behaviour{}, registrytest.TokenAuth(tokens))
	p.PushBlob(t, "from", registrytest.Blob{Content: []byte("content")})
	c := newClient(t)
	content := newBody(t, "content")
	content.from = p.Addr + "/from"
	outcome, err := c.push(t, p.Ref("to", "1")).PutBlob(t.Context(), descriptor("content"), content.get())
	if err != nil || outcome != registry.Mounted {
		t.Fatalf("PutBlob() = %q, %v; want Mounted", outcome, err)
	}
	tokenRequests := tokens.Requests()
	if len(tokenRequests) != 1 || !slices.Equal(tokenRequests[0].Scopes, []string{"repository:from:pull", "repository:to:pull,push"}) {
		t.Errorf("token requests = %+v, want one with both scopes", tokenRequests)
	}
	if content.opens() != 0 {
		t.Error("the content was opened although no byte is needed")
	}
}

func TestAuthorization_MountScopeRefused(t *testing.T) {
	tokens := registrytest.NewTokenServer(t)
	tokens.Answer = func(w http.ResponseWriter, r registrytest.TokenRequest, token string) {
		if len(r.Scopes) > 1 {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_, _ = w.Write([]byte(`{"token":"` + token + `"}`))
	}
	p := scripted(t, registrytest.Behaviour{}, registrytest.TokenAuth(tokens))
	content := newBody(t, "content")
	content.from = p.Addr + "/from"
	outcome, err := newClient(t).push(t, p.Ref("to", "1")).PutBlob(t.Context(), descriptor("content"), content.get())
	if err != nil || outcome != registry.Copied {
		t.Fatalf("PutBlob() = %q, %v; want Copied", outcome, err)
	}
}

func TestAuthorization_UnreadableCredential(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{}, registrytest.BasicAuth("ci", "right"))
	open := scripted(t, registrytest.Behaviour{})
	open.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	c := newClient(t, withDockerConfig(`{"credsStore": "does-not-exist"}`))
	_, err := c.pull(t, p.Ref("app", "1")).GetManifest(t.Context(), "1")
	assertContains(t, assertErrorKind(t, err, registry.ErrCredentials).Error(), "does-not-exist")
	if _, err := c.pull(t, open.Ref("app", "1")).GetManifest(t.Context(), "1"); err != nil {
		t.Errorf("GetManifest() from an open registry = %v", err)
	}
}

func TestAuthorization_UnrelatedRealm(t *testing.T) {
	for kind, c := range map[string]auth.Credential{"password": {Username: "ci", Password: canary}, "identity_token": {IdentityToken: canary}} {
		for _, host := range []string{"attacker.example.net", "evilexample.com", "registry.example.com.example.net"} {
			t.Run(kind+"_for_"+host, func(t *testing.T) {
				n := newFakeNetwork(t)
				n.serve(t, "registry.example.com", registryAddress, bearerChallenge("https://"+host+"/token"))
				attacker := &foreignHost{t: t, handler: serveBlob(`{"token":"t"}`)}
				n.serve(t, host, otherAddress, attacker.ServeHTTP)
				client := newClient(t, n.options, settings(n.trustedHosts("registry.example.com", host)), credentials(map[string]auth.Credential{"registry.example.com": c}))
				for range 2 {
					_, err := client.pull(t, "registry.example.com/app").GetManifest(t.Context(), "1")
					e := assertErrorKind(t, err, registry.ErrForbiddenRedirect)
					assertContains(t, e.Error(), "registry.example.com", host)
					assertContains(t, e.Hint, `registries = { "registry.example.com" = { token_hosts = ["`+host+`"] } }`)
				}
				if attacker.requestCount() != 0 || slices.Contains(n.dials(), otherAddress+":443") {
					t.Errorf("requests to the attacker = %d, dialed addresses = %s, want none to the attacker", attacker.requestCount(), n.dials())
				}
			})
		}
	}
}

func TestAuthorization_ChallengeOnlyWith401(t *testing.T) {
	for _, status := range []int{200, 400, 403, 407, 429, 503} { // for 404 see TestNotFound_WithoutCredentials
		server := servePlain(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "" || r.URL.Path == "/token" {
				t.Errorf("after HTTP %d: %s with Authorization %q", status, r.URL.Path, r.Header.Get("Authorization"))
			}
			w.Header().Add("WWW-Authenticate", "Basic realm=x")
			w.Header().Add("WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token"`)
			w.WriteHeader(status)
			_, _ = w.Write(registrytest.ErrorBody("UNAUTHORIZED", "log in"))
		})
		c := newClient(t, singleAttempt, credentials(map[string]auth.Credential{address(server): {Username: "ci", Password: canary}}))
		for range 2 {
			_, err := c.pull(t, address(server)+"/app").GetManifest(t.Context(), "1")
			if e := registryError(t, err); errors.Is(e, registry.ErrUnauthorized) {
				t.Errorf("error of HTTP %d = %v, want no ErrUnauthorized", status, e)
			}
		}
	}
}

func TestAuthorization_RetriesTokenServer(t *testing.T) {
	later := func(status int, retryAfter string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", retryAfter)
			w.WriteHeader(status)
		}
	}
	for name, test := range map[string]struct {
		fail  http.HandlerFunc
		least time.Duration
	}{
		"unavailable":         {later(http.StatusServiceUnavailable, ""), 100 * time.Millisecond},
		"connection_closed":   {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 0},
		"retry_after":         {later(http.StatusTooManyRequests, "30"), 30 * time.Second},
		"long_retry_after":    {later(http.StatusServiceUnavailable, "90"), 90 * time.Second},
		"invalid_retry_after": {later(http.StatusServiceUnavailable, "90s"), 100 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var tokenRequests atomic.Int32
				began := newClock()
				c := newClient(t, servePipes(t, func(w http.ResponseWriter, r *http.Request) {
					switch {
					case r.URL.Path == "/token" && tokenRequests.Add(1) == 1:
						test.fail(w, r)
					case r.URL.Path == "/token":
						_, _ = io.WriteString(w, `{"token":"t"}`)
					case r.Header.Get("Authorization") == "Bearer t":
						serveManifest(w, r)
					default:
						bearerChallenge("http://"+pipeHost+"/token")(w, r)
					}
				}).options)
				if _, err := c.pull(t, pipeHost+"/app").GetManifest(t.Context(), "1"); err != nil {
					t.Fatal(err)
				}
				if tokenRequests.Load() != 2 || began.elapsed() < test.least || began.elapsed() > test.least+time.Second {
					t.Errorf("token requests = %d in %s", tokenRequests.Load(), began.elapsed())
				}
			})
		})
	}
}

// The hint must not advise token_hosts for a realm that is refused anyway. The advice
// would not help the user, and an attacker could exploit it.
func TestAuthorization_ForbiddenRealmHint(t *testing.T) {
	for _, realm := range []string{"https://169.254.169.254/token", "https://10.0.0.1/token", "https://localhost/token"} {
		n := newFakeNetwork(t)
		n.serve(t, "registry.example.com", registryAddress, bearerChallenge(realm))
		c := newClient(t, n.options, settings(n.trustedHosts("registry.example.com")),
			credentials(map[string]auth.Credential{"registry.example.com": {Username: "ci", Password: canary}}))
		_, err := c.pull(t, "registry.example.com/app").GetManifest(t.Context(), "1")
		if e := assertErrorKind(t, err, registry.ErrForbiddenRedirect); strings.Contains(e.Hint, "token_hosts") {
			t.Errorf("%s: hint = %q", realm, e.Hint)
		}
	}
}

func TestAuthorization_PrivateRealmThroughProxy(t *testing.T) {
	n, proxied := newFakeNetwork(t), []string{}
	server := n.serve(t, "10.0.0.1", "10.0.0.1", func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/token":
			_, _ = io.WriteString(w, `{"token":"t"}`)
		case r.Header.Get("Authorization") != "Bearer t":
			bearerChallenge("https://10.0.0.1/token")(w, r)
		default:
			serveManifest(w, r)
		}
	})
	n.at("10.0.0.1:443", server.Listener.Addr().String())
	c := newClient(t, n.options, withProxy(n.proxy(t, &proxied)), settings(map[string]remote.HostOptions{"10.0.0.1": {InsecureSkipTLSVerify: true}}))
	if _, err := c.pull(t, "10.0.0.1/app").GetManifest(t.Context(), "1"); err != nil {
		t.Error(err)
	}
}

func TestAuthorization_RealmRedirect(t *testing.T) {
	n := newFakeNetwork(t)
	n.serve(t, "registry.example.com", registryAddress, bearerChallenge("https://auth.example.com/token"))
	n.serve(t, "auth.example.com", "203.0.113.3", redirect("https://attacker.example.net/token"))
	attacker := &foreignHost{t: t, handler: serveBlob(`{"token":"t"}`)}
	n.serve(t, "attacker.example.net", otherAddress, attacker.ServeHTTP)
	c := newClient(t, n.options, withRegistryLogin, settings(n.trustedHosts("registry.example.com", "auth.example.com", "attacker.example.net")))
	_, err := c.pull(t, "registry.example.com/app").GetManifest(t.Context(), "1")
	assertErrorKind(t, err, registry.ErrForbiddenRedirect)
	if attacker.requestCount() != 0 {
		t.Error("the client followed the redirect of the token server")
	}
}

// bearerChallenge returns a handler that responds with a challenge for a token from the
// realm.
func bearerChallenge(realm string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+realm+`"`)
		w.WriteHeader(http.StatusUnauthorized)
	}
}

func TestAuthorization_TokenNeedsNoSlot(t *testing.T) {
	// The realm is on the registry's own host. All slots are in use, and a download that
	// broke needs a new token to resume.
	const content = "the content of a blob"
	var issued, blobs atomic.Int32
	started, resumed := make(chan struct{}), make(chan struct{})
	server := servePlain(t, func(w http.ResponseWriter, r *http.Request) {
		valid := fmt.Sprintf("Bearer t%d", issued.Load())
		switch {
		case r.URL.Path == "/token":
			_, _ = fmt.Fprintf(w, `{"token":"t%d"}`, issued.Add(1))
		case r.Header.Get("Authorization") != valid:
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token"`)
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/v2/other/manifests/1":
			close(started)
			<-resumed
			w.WriteHeader(http.StatusForbidden)
		case blobs.Add(1) == 1:
			w.Header().Set("Content-Length", strconv.Itoa(len(content)))
			_, _ = io.WriteString(w, content[:5])
			_ = http.NewResponseController(w).Flush()
			<-started
			issued.Add(1) // the token becomes invalid
			panic(http.ErrAbortHandler)
		default:
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
			close(resumed)
		}
	})
	host := server.Listener.Addr().String()
	c := newClient(t, settings(map[string]remote.HostOptions{host: {MaxConcurrentRequests: 2}}))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	blob, err := c.pull(t, host+"/app").GetBlob(ctx, descriptor(content))
	if err != nil {
		t.Fatal(err)
	}
	var other sync.WaitGroup
	other.Go(func() {
		_, err := c.pull(t, host+"/other").GetManifest(ctx, "1")
		if !errors.Is(err, registry.ErrDenied) {
			t.Errorf("GetManifest() of the waiting request = %v, want ErrDenied", err)
		}
	})
	got, err := io.ReadAll(blob)
	_ = blob.Close()
	if err != nil || string(got) != content {
		t.Errorf("GetBlob() read %q, %v", got, err)
	}
	other.Wait()
}

func TestAuthorization_CompressedToken(t *testing.T) {
	server := servePlain(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/token":
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(gzipped(t, `{"token":"a"}`))
		case r.Header.Get("Authorization") != "":
			t.Errorf("%s was sent with a token", r.URL.Path)
		default:
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	_, err := newClient(t).pull(t, address(server)+"/app").GetManifest(t.Context(), "1")
	assertContains(t, assertErrorKind(t, err, registry.ErrProtocol).Error(), address(server), "its answer is not a token")
}
