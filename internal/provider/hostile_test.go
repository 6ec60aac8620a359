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

// hostile is a registry that is a good one until it has turned. It wants a login,
// which is given in one of several ways, and keeps its blobs in a bucket, another
// origin, to which it sends with signed URLs.
type hostile struct {
	*registrytest.Proxy
	attack
	bucket       *registrytest.Proxy
	attacker     string // the URL of who must never see a secret
	knownSecrets []string
	active       atomic.Bool
	attacks      atomic.Int64 // how often it was hostile
}

// hostility is what a registry does once it has turned.
type attack struct {
	name    string
	login   login
	at      requestFilter
	respond responder
}

// answer is how a registry answers a request.
type responder func(h *hostile, w http.ResponseWriter, r *http.Request)

// login is how the provider is given a credential, and asked for it.
type login struct {
	secret string // its name
	hcl    string // in registries; in docker_config_json where ""
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

// place is which of the requests to a registry or its bucket are meant, and whom
// that concerns: a data source, a copy from there, a copy to there.
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

	// Where a provider tries again for seconds, one that does so is enough.
	dataRequests = requestFilter{".*", "/v2/.*", false, true, false, false}
	dataTokens   = requestFilter{".*", "/token", false, true, false, false}
)

// The user's name, whose length puts a password out of step in base64.
const user = "deploy"

// bearer is the token that is issued for a credential.
const bearer = canary + "bearer=="

// signature is what signs the bucket's URLs.
var signature = "X-Amz-Signature=" + url.QueryEscape(canary+"amz=") + "&sig=" + url.QueryEscape(canary+"sas=")

// turnable starts a hostile registry.
func newHostile(t *testing.T, s secrets, attacker string, attack attack) *hostile {
	t.Helper()
	var options []registrytest.Option
	if attack.login == clientCertificate {
		options = append(options, registrytest.TLS())
	}
	upstream := registrytest.Scripted(t, registrytest.Behaviour{}, options...)
	h := &hostile{Proxy: registrytest.Intercept(t, upstream), bucket: registrytest.Intercept(t, upstream), attack: attack, attacker: attacker, knownSecrets: []string{s[attack.login.secret]}}
	if attack.login.scheme == "Bearer" && attack.login != registryToken && attack.at.path != tokenRequests.path { // otherwise none was issued
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
	if attack.login != clientCertificate { // the bucket has no certificate that is trusted
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

// hears is all that a registry has heard of secrets by now, and whoever works for
// it, in the forms in which it may say it.
func (h *hostile) leakedText(r *http.Request) string {
	heard := []string{fmt.Sprint(r.URL, r.Header)}
	for _, secret := range h.knownSecrets {
		heard = append(heard, secret, url.QueryEscape(secret), url.PathEscape(secret))
		for _, encoded := range []string{secret, user + ":" + secret} {
			if encoded == secret || strings.Contains(secret, "password") { // only that comes with a user
				heard = append(heard, base64.StdEncoding.EncodeToString([]byte(encoded)), base64.RawStdEncoding.EncodeToString([]byte(encoded)), base64.URLEncoding.EncodeToString([]byte(encoded)))
			}
		}
	}
	return strings.Join(heard, " ")
}

// The answers of registries that have turned. Those that might be worth another
// try ask to wait for longer than anybody does.

var longRetryAfter = strconv.Itoa(24 * 60 * 60)

func registryError(status int) responder {
	return func(h *hostile, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", longRetryAfter)
		w.WriteHeader(status)
		_, _ = w.Write(registrytest.ErrorBody("UNKNOWN", h.leakedText(r)))
	}
}

// code puts all of it into the code.
func errorCode(status int) responder {
	return func(h *hostile, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", longRetryAfter)
		w.WriteHeader(status)
		_, _ = w.Write(registrytest.ErrorBody(h.leakedText(r), "see the code"))
	}
}

// oauth is how token servers refuse (RFC 6749, section 5.2).
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

// headers puts it into every header that a client looks at.
func leakInHeaders(status int) responder {
	return func(h *hostile, w http.ResponseWriter, r *http.Request) {
		heard := h.leakedText(r)
		for _, name := range []string{"Content-Type", "Docker-Content-Digest", "Link", "Range", "Retry-After", "OCI-Chunk-Min-Length"} {
			w.Header().Set(name, heard)
		}
		w.Header().Set("Location", "ftp://elsewhere.example.com/"+url.PathEscape(heard))
		w.Header().Set("Warning", fmt.Sprintf("299 - %q", heard))
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm=%q,service=%q,scope=%q`, h.URL()+"/token/"+url.PathEscape(heard), heard, heard))
		w.WriteHeader(status)
	}
}

// packed says so of its answer, in words of its own.
func leakInContentEncoding(h *hostile, w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Encoding", h.leakedText(r))
}

// raw answers in what may or may not be HTTP.
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

// leads sends to a place: by a redirect, or as that of an upload. %s is the
// attacker's.
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

// realm wants the credential to be sent to a place. %s is the attacker's.
func tokenRealm(location string) responder {
	return func(h *hostile, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf("Bearer realm=%q", strings.ReplaceAll(location, "%s", h.attacker)))
		w.WriteHeader(http.StatusUnauthorized)
	}
}

// body answers with 200 and a body. %s is what it has heard.
func respondBody(contentType, format string) responder {
	return func(h *hostile, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = io.WriteString(w, strings.ReplaceAll(format, "%s", h.leakedText(r)))
	}
}

// typed answers with a manifest that it gives a media type of what it has heard.
func leakInMediaType(h *hostile, w http.ResponseWriter, _ *http.Request) {
	const manifest = `{"schemaVersion":2,"layers":[]}`
	w.Header().Set("Content-Type", "application/vnd."+base64.RawURLEncoding.EncodeToString([]byte(user+":"+h.knownSecrets[0]))+"+json")
	w.Header().Set("Docker-Content-Digest", digest.FromString(manifest).String())
	w.Header().Set("Content-Length", strconv.Itoa(len(manifest)))
	_, _ = io.WriteString(w, manifest)
}

// attacked starts whom registries point at: it asks for a password, and fails the
// test where it sees any secret.
func newAttacker(t *testing.T, s secrets) string {
	t.Helper()
	forms := s.encodings()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent, _ := io.ReadAll(r.Body)
		seen := fmt.Sprint(r.Method, r.URL, r.Header, string(sent))
		for _, form := range forms {
			if strings.Contains(seen, form) {
				t.Errorf("the attacker has seen a secret: %s", seen)
				break
			}
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="attacker"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	t.Cleanup(server.Close)
	return server.URL
}
