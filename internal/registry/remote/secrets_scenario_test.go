package remote_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// allOperations performs every operation of a repository and returns the errors.
func allOperations(ctx context.Context, repo registry.Repository) []error {
	m := registrytest.Image{Seed: "a"}.Build()
	manifest := registry.Manifest{MediaType: m.MediaType, Digest: m.Digest, Content: m.Bytes}
	var failures []error
	add := func(err error) {
		if err != nil {
			failures = append(failures, err)
		}
	}
	_, err := repo.PutBlob(ctx, descriptor(small), registry.Content{From: repo.Host() + "/from", Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(small)), nil
	}})
	add(err)
	_, err = repo.StatBlob(ctx, descriptor(small).Digest)
	add(err)
	blob, err := repo.GetBlob(ctx, descriptor(small))
	if err == nil {
		_, err = io.Copy(io.Discard, blob)
		_ = blob.Close()
	}
	add(err)
	add(repo.PutManifest(ctx, "1", manifest))
	_, err = repo.Resolve(ctx, "1")
	add(err)
	_, err = repo.GetManifest(ctx, "1")
	add(err)
	_, err = repo.ListTags(ctx)
	add(err)
	add(repo.DeleteTag(ctx, "1"))
	add(repo.DeleteManifest(ctx, m.Digest))
	return failures
}

// serveSecrets starts a registry with a token server whose tokens are secrets. It
// redirects downloads to URLs with a secret in the query. Its requests fail as the
// function fail determines.
func serveSecrets(t *testing.T, fail func(http.ResponseWriter, *http.Request) bool) string {
	t.Helper()
	signature := "X-Amz-Signature=" + url.QueryEscape(canary) + "&sig=" + url.QueryEscape(canary)
	upstream := registrytest.Scripted(t, registrytest.Behaviour{Unchecked: true})
	p := registrytest.Intercept(t, upstream)
	p.On(".*", ".*").Do(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		switch {
		case r.URL.Path == "/token":
			if !fail(w, r) {
				_, _ = io.WriteString(w, `{"token":"`+canary+`","expires_in":300}`)
			}
			return
		case r.Header.Get("Authorization") == "" && !r.URL.Query().Has("sig"):
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token?secret=`+url.QueryEscape(canary)+`"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		case fail(w, r):
			return
		case r.Method == http.MethodGet && !r.URL.Query().Has("sig"):
			redirect(r.URL.Path+"?"+signature)(w, r)
			return
		}
		r.URL.RawQuery = strings.ReplaceAll(r.URL.RawQuery, "&"+signature, "")
		next.ServeHTTP(w, r)
	})
	return p.Addr
}

func TestRedact_AllOperations(t *testing.T) {
	credential := map[string]auth.Credential{
		"password":       {Username: "ci", Password: canary},
		"identity_token": {IdentityToken: canary},
		"registry_token": {RegistryToken: canary},
	}
	faults := map[string]func(http.ResponseWriter, *http.Request) bool{
		"none": func(http.ResponseWriter, *http.Request) bool { return false },
		"refused_with_document": func(w http.ResponseWriter, r *http.Request) bool {
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write(registrytest.ErrorBody("DENIED", fmt.Sprint(r.URL, r.Header)))
			return true
		},
		"refused_with_page": func(w http.ResponseWriter, r *http.Request) bool {
			w.WriteHeader(http.StatusBadGateway)
			_, _ = fmt.Fprint(w, "<pre>", r.URL, r.Header)
			return true
		},
		"unauthorized": func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		},
		"forbidden_redirect": func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Location", "ftp://u:"+url.QueryEscape(canary)+"@elsewhere.example.com/?sig="+url.QueryEscape(canary))
			w.WriteHeader(map[bool]int{true: http.StatusAccepted, false: http.StatusTemporaryRedirect}[r.Method == http.MethodPost])
			return true
		},
		"connection_closed": func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) },
	}
	for kind, c := range credential {
		for name, fault := range faults {
			t.Run(kind+"_"+name, func(t *testing.T) {
				host := serveSecrets(t, fault)
				client := newClient(t, credentials(map[string]auth.Credential{host: c}), func(o *remote.Options) { o.Attempts = 2 })
				failures := allOperations(client.context(t), client.push(t, host+"/app"))
				if (len(failures) > 0) != (name != "none") {
					t.Errorf("failed operations = %d: %v", len(failures), failures)
				}
				for _, err := range failures {
					if e := registryError(t, err); !strings.HasPrefix(e.Repository, host) {
						t.Errorf("error = %v, want the repository", err)
					}
					for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
						assertNoSecret(t, "error as "+verb, fmt.Sprintf(verb, err))
					}
				}
				assertContains(t, client.log.String(), "msg=request", host)
				if name == "none" {
					assertContains(t, client.log.String(), "sig=***")
				}
			})
		}
	}
}

func TestRedact_NetHTTPError(t *testing.T) {
	// net/http quotes what it cannot parse. This server requests a password and sends it
	// back in a malformed header.
	listener := serveRaw(t, func(conn net.Conn, request string) {
		if !strings.Contains(request, "Authorization") {
			_, _ = io.WriteString(conn, "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n no header "+canary+"\r\n\r\n")
	})
	c := newClient(t, credentials(map[string]auth.Credential{listener: {Username: "ci", Password: canary}}))
	_, err := c.pull(t, listener+"/app").GetManifest(t.Context(), "1")
	assertContains(t, assertErrorKind(t, err, registry.ErrProtocol).Error(), "no header ***")
}

func TestClient_NoLeaks(t *testing.T) {
	registrytest.NoLeaks(t)
	host := serveSecrets(t, func(http.ResponseWriter, *http.Request) bool { return false })
	c := newClient(t, credentials(map[string]auth.Credential{host: {Username: "ci", Password: canary}}))
	if failures := allOperations(t.Context(), c.push(t, host+"/app")); len(failures) > 0 {
		t.Error(failures)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if failures := allOperations(ctx, c.push(t, host+"/app")); len(failures) != 9 {
		t.Errorf("failed operations after the cancellation = %d, want 9", len(failures))
	}
}

// logKeys is a slog.Handler that records the messages and the keys of all records.
type logKeys struct {
	slog.Handler
	mu   sync.Mutex
	seen map[string]bool
}

func (k *logKeys) Handle(ctx context.Context, r slog.Record) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.seen[r.Message] = true
	r.Attrs(func(a slog.Attr) bool { k.seen[a.Key] = true; return true })
	return k.Handler.Handle(ctx, r)
}

// The log contains only the messages and keys in this list. It contains no header and no
// body of any request, response, failure or token.
func TestLog_NoHeadersOrBodies(t *testing.T) {
	const marker = "Marker"
	host := serveSecrets(t, func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("X-"+marker, marker)
		w.Header().Set("Set-Cookie", marker)
		switch {
		case r.Method == http.MethodHead:
			panic(http.ErrAbortHandler)
		case r.URL.Query().Has("digest"):
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write(registrytest.ErrorBody(strings.ToUpper(marker), marker))
			return true
		}
		return false
	})
	var log logBuffer
	recorded := &logKeys{Handler: slog.NewTextHandler(&log, &slog.HandlerOptions{Level: remote.LevelTrace}), seen: map[string]bool{}}
	c := newClient(t, singleAttempt, credentials(map[string]auth.Credential{host: {Username: "ci", Password: canary}}), func(o *remote.Options) {
		o.Logger, o.UserAgent = slog.New(recorded), marker
	})
	ctx := c.context(t)
	for _, repo := range []string{"app", "other"} {
		_ = allOperations(ctx, c.push(t, host+"/"+repo)) // some of these operations fail, as intended
	}
	want := []string{
		"credentials chosen", "fetched a token", "request", "request failed",
		"error", "from", "host", "lifetime", "method", "realm", "scopes", "status", "took", "url", "used",
	}
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(recorded.seen)); !slices.Equal(got, want) {
		t.Errorf("logged messages and keys = %q, want %q", got, want)
	}
	if text := strings.ToLower(log.String()); strings.Contains(text, strings.ToLower(marker)) {
		t.Errorf("the log contains a header or a body:\n%s", text)
	}
	assertNoSecret(t, "log", log.String())
}
