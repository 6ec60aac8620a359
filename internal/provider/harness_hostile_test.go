package provider_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// hostile is a registry that works correctly until its attack becomes active. It requires a
// login. It redirects blob requests to signed URLs of a bucket on another origin.
type hostile struct {
	*registrytest.Proxy
	attack
	bucket       *registrytest.Proxy
	attacker     string // URL of the attacker, who must never receive a secret
	knownSecrets []string
	active       atomic.Bool
	attacks      atomic.Int64 // number of attacks
}

// attack is the behavior of a registry once it is active.
type attack struct {
	name    string
	login   login
	at      requestFilter
	respond responder
}

// responder writes the response of a registry to a request.
type responder func(h *hostile, w http.ResponseWriter, r *http.Request)

// login is how the provider gets a credential, and how the registry requests it.
type login struct {
	secret string // name of the secret
	hcl    string // entry of registries; in docker_config_json if empty
	scheme string // of the challenge
}

var (
	basicLogin        = login{"password", `username = "deploy", password = var.secret["password"]`, "Basic"}
	tokenExchange     = login{"password", basicLogin.hcl, "Bearer"}
	identityToken     = login{"identity_token", `identity_token = var.secret["identity_token"]`, "Bearer"}
	registryToken     = login{"registry_token", `registry_token = var.secret["registry_token"]`, "Bearer"}
	dockerConfig      = login{"password", "", "Bearer"}
	clientCertificate = login{"password", basicLogin.hcl + `, client_certificate = var.secret["client_certificate"], client_key = var.secret["client_key"]`, "Basic"}
)

// requestFilter selects requests to a registry or its bucket. The last fields name the
// operations that make such requests: a data source, a copy from the registry, and a copy to
// it.
type requestFilter struct {
	method, path   string
	inBucket       bool
	data, from, to bool
}

var (
	anyRequest       = requestFilter{".*", "/v2/.*", false, true, true, true}
	tokenRequests    = requestFilter{".*", "/token", false, true, true, true}
	manifestRequests = requestFilter{"GET", "/v2/.*/manifests/.*", false, true, true, false}
	blobRequests     = requestFilter{"GET", "/v2/.*/blobs/.*", false, false, true, false}
	uploadStarts     = requestFilter{"POST", "/v2/.*/blobs/uploads/", false, false, false, true}
	bucketDownloads  = requestFilter{"GET", ".*", true, false, true, false}
	bucketUploads    = requestFilter{"PUT", ".*", true, false, false, true}

	// The provider retries these for seconds, so one resource is enough.
	dataRequests = requestFilter{".*", "/v2/.*", false, true, false, false}
	dataTokens   = requestFilter{".*", "/token", false, true, false, false}
)

// user is the user name. Its length shifts the password within base64 text.
const user = "deploy"

// bearer is the token that is issued for a credential.
const bearer = canary + "bearer=="

// signature is the signature in the bucket's URLs.
var signature = "X-Amz-Signature=" + url.QueryEscape(canary+"amz=") + "&sig=" + url.QueryEscape(canary+"sas=")

// newHostile starts a hostile registry.
func newHostile(t *testing.T, s secrets, attacker string, attack attack) *hostile {
	t.Helper()
	var options []registrytest.Option
	if attack.login == clientCertificate {
		options = append(options, registrytest.TLS())
	}
	upstream := registrytest.Scripted(t, registrytest.Behaviour{}, options...)
	h := &hostile{Proxy: registrytest.Intercept(t, upstream), bucket: registrytest.Intercept(t, upstream), attack: attack, attacker: attacker, knownSecrets: []string{s[attack.login.secret]}}
	if attack.login.scheme == "Bearer" && attack.login != registryToken && attack.at.path != tokenRequests.path { // otherwise no token was issued
		h.knownSecrets = append(h.knownSecrets, bearer)
	}
	behind := h.Proxy
	if attack.at.inBucket {
		behind = h.bucket
	}
	asks := func(r *http.Request) bool {
		return r.Header.Get("Authorization") == "" && r.URL.Path != "/token"
	}
	h.On(".*", "/v2/.*").Where(asks).Reply(401, http.Header{"WWW-Authenticate": {fmt.Sprintf("%s realm=%q", attack.login.scheme, h.URL()+"/token")}}, "")
	behind.On(attack.at.method, attack.at.path).Where(func(*http.Request) bool { return h.active.Load() }).Do(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.Copy(io.Discard, r.Body)
		h.attacks.Add(1)
		attack.respond(h, w, r)
	})
	h.On(".*", "/token").Reply(200, nil, fmt.Sprintf(`{"token":%q}`, bearer))
	if attack.login != clientCertificate { // the bucket has no trusted certificate
		h.On("GET", "/v2/.*/blobs/.*").Do(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			http.Redirect(w, r, h.bucket.URL()+r.URL.Path+"?"+signature, http.StatusTemporaryRedirect)
		})
		h.On("POST", ".*").Alter(func(r *http.Response) {
			if location := r.Header.Get("Location"); r.StatusCode == http.StatusAccepted {
				r.Header.Set("Location", h.bucket.URL()+location+"&"+signature)
			}
		})
	}
	return h
}

// leakedText returns all secrets that the registry or its bucket has received so far, in the
// encodings in which a response may contain them.
func (h *hostile) leakedText(r *http.Request) string {
	leaked := []string{fmt.Sprint(r.URL, r.Header)}
	for _, secret := range h.knownSecrets {
		leaked = append(leaked, secret, url.QueryEscape(secret), url.PathEscape(secret))
		for _, encoded := range []string{secret, user + ":" + secret} {
			if encoded == secret || strings.Contains(secret, "password") { // only a password is sent with a user name
				leaked = append(leaked, base64.StdEncoding.EncodeToString([]byte(encoded)), base64.RawStdEncoding.EncodeToString([]byte(encoded)), base64.URLEncoding.EncodeToString([]byte(encoded)))
			}
		}
	}
	return strings.Join(leaked, " ")
}

// The responses of active registries. A retryable response requests a delay that is longer than
// any timeout.

var longRetryAfter = strconv.Itoa(24 * 60 * 60)

func registryError(status int) responder {
	return func(h *hostile, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", longRetryAfter)
		w.WriteHeader(status)
		_, _ = w.Write(registrytest.ErrorBody("UNKNOWN", h.leakedText(r)))
	}
}

// errorCode puts the secrets into the error code.
func errorCode(status int) responder {
	return func(h *hostile, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", longRetryAfter)
		w.WriteHeader(status)
		_, _ = w.Write(registrytest.ErrorBody(h.leakedText(r), "see the code"))
	}
}

// oauthError returns the error response of a token server (RFC 6749, section 5.2).
func oauthError(status int) responder {
	return func(h *hostile, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", longRetryAfter)
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `{"error":%q,"error_description":%q}`, h.leakedText(r), h.leakedText(r))
	}
}

func htmlPage(status int) responder {
	return func(h *hostile, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Retry-After", longRetryAfter)
		w.WriteHeader(status)
		_, _ = fmt.Fprint(w, "<html><pre>", h.leakedText(r), "</pre></html>")
	}
}

// leakInHeaders puts the secrets into every header that a client reads.
func leakInHeaders(status int) responder {
	return func(h *hostile, w http.ResponseWriter, r *http.Request) {
		leaked := h.leakedText(r)
		for _, name := range []string{"Content-Type", "Docker-Content-Digest", "Link", "Range", "Retry-After", "OCI-Chunk-Min-Length"} {
			w.Header().Set(name, leaked)
		}
		w.Header().Set("Location", "ftp://elsewhere.example.com/"+url.PathEscape(leaked))
		w.Header().Set("Warning", fmt.Sprintf("299 - %q", leaked))
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm=%q,service=%q,scope=%q`, h.URL()+"/token/"+url.PathEscape(leaked), leaked, leaked))
		w.WriteHeader(status)
	}
}

// leakInContentEncoding puts the secrets into Content-Encoding.
func leakInContentEncoding(h *hostile, w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Encoding", h.leakedText(r))
}

// rawResponse writes a response that may not be valid HTTP.
func rawResponse(t *testing.T, format string) responder {
	return func(h *hostile, w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = fmt.Fprintf(conn, format, h.leakedText(r))
	}
}

func abortConnection(*hostile, http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// redirectTo sets Location in a redirect or in the response to an upload. %s is the attacker's
// URL.
func redirectTo(location string) responder {
	return func(h *hostile, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", strings.ReplaceAll(location, "%s", h.attacker))
		status := http.StatusTemporaryRedirect
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/uploads/") {
			status = http.StatusAccepted
		}
		w.WriteHeader(status)
	}
}

// tokenRealm requests that the credential is sent to a realm. %s is the attacker's URL.
func tokenRealm(location string) responder {
	return func(h *hostile, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf("Bearer realm=%q", strings.ReplaceAll(location, "%s", h.attacker)))
		w.WriteHeader(http.StatusUnauthorized)
	}
}

// respondBody responds with status 200 and a body. %s is the leaked text.
func respondBody(contentType, format string) responder {
	return func(h *hostile, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = io.WriteString(w, strings.ReplaceAll(format, "%s", h.leakedText(r)))
	}
}

// leakInMediaType responds with a manifest whose media type contains the secrets.
func leakInMediaType(h *hostile, w http.ResponseWriter, _ *http.Request) {
	const manifest = `{"schemaVersion":2,"layers":[]}`
	w.Header().Set("Content-Type", "application/vnd."+base64.RawURLEncoding.EncodeToString([]byte(user+":"+h.knownSecrets[0]))+"+json")
	w.Header().Set("Docker-Content-Digest", digest.FromString(manifest).String())
	w.Header().Set("Content-Length", strconv.Itoa(len(manifest)))
	_, _ = io.WriteString(w, manifest)
}

// newAttacker starts the server that registries redirect to. It requests a password, and fails
// the test if it receives a secret.
func newAttacker(t *testing.T, s secrets) string {
	t.Helper()
	forms := s.encodings()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent, _ := io.ReadAll(r.Body)
		seen := fmt.Sprint(r.Method, r.URL, r.Header, string(sent))
		for _, form := range forms {
			if strings.Contains(seen, form) {
				t.Errorf("the attacker received a secret: %s", seen)
				break
			}
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="attacker"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	t.Cleanup(server.Close)
	return server.URL
}
