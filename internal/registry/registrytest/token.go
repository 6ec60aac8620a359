package registrytest

import (
	"crypto/ecdsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// TokenServer is a token server in this process. Its tokens are JSON Web Tokens signed with
// ES256, which registries started with TokenAuth verify (distribution, "Token Authentication
// Specification"). Fields must be set before the first request.
type TokenServer struct {
	// URL is the realm. It may be set to another URL that reaches this server, for example one
	// on a Proxy: TokenServer is an http.Handler.
	URL string
	// CA is the PEM certificate of the authority that signed the server's certificate, or nil
	// if the server uses plain HTTP.
	CA []byte
	// Service is the audience of the tokens, "registrytest".
	Service string

	// User and Password are required, by Basic authentication or with grant_type=password,
	// unless User is "". If Allow is set, requests without a user are accepted too and get what
	// Allow permits for the user "".
	User, Password string
	// IdentityToken, if not empty, is accepted as refresh_token.
	IdentityToken string
	// Allow reports whether a user ("" for anonymous requests) may perform an action on a
	// repository: "pull", "push" or "delete". If it is nil, every action is allowed. Tokens are
	// issued even if they grant only some or none of the requested actions.
	Allow func(user, repo, action string) bool
	// Lifetime is the lifetime of a token, five minutes if 0. Registries allow one more minute,
	// so that values below minus one minute make tokens that are rejected as expired.
	Lifetime time.Duration
	// Opaque selects short random tokens instead of JSON Web Tokens, to save time. Only
	// scripted registries accept them.
	Opaque bool
	// Answer writes the response with an issued token. It defaults to {"token": …,
	// "access_token": …, "expires_in": …, "issued_at": …}.
	Answer func(w http.ResponseWriter, r TokenRequest, token string)

	issuer string
	key    *ecdsa.PrivateKey
	der    []byte
	cert   []byte // der in PEM, which registries trust

	verified sync.Map // claims of verified tokens
	setup    sync.Map // tokens of setupToken, by repository

	mu       sync.Mutex
	requests []TokenRequest
}

// TokenRequest is a request to a token server.
type TokenRequest struct {
	// Method is GET, or POST for OAuth 2.
	Method string
	// Service and Scopes are as sent, with each scope as one element.
	Service string
	Scopes  []string
	// User and Password are from Basic authentication or the form.
	User, Password string
	// GrantType, RefreshToken and ClientID are the OAuth 2 form fields.
	GrantType, RefreshToken, ClientID string
	// Header is the header of the request.
	Header http.Header
	// Status is the status of the response.
	Status int
}

// NewTokenServer starts a token server and stops it when t ends. It supports the option TLS.
func NewTokenServer(t testing.TB, options ...Option) *TokenServer {
	t.Helper()
	var o settings
	for _, option := range options {
		option(&o)
	}
	s := &TokenServer{Service: "registrytest", issuer: "registrytest issuer"}
	s.key, s.der = sign(t, &x509.Certificate{
		Subject:  pkix.Name{CommonName: "registrytest tokens"},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
	}, nil, nil)
	s.cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.der})
	server := httptest.NewUnstartedServer(s)
	if o.tls {
		identity := newIdentity(t, o.names)
		s.CA, server.TLS = identity.ca, identity.config(t)
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	s.URL = server.URL + "/token"
	return s
}

// Requests returns the requests so far, in the order of the responses.
func (s *TokenServer) Requests() []TokenRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]TokenRequest(nil), s.requests...)
}

// ServeHTTP serves the token endpoint.
func (s *TokenServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	request := TokenRequest{
		Method: r.Method, Service: r.Form.Get("service"), Header: r.Header.Clone(),
		GrantType: r.Form.Get("grant_type"), RefreshToken: r.Form.Get("refresh_token"), ClientID: r.Form.Get("client_id"),
		User: r.Form.Get("username"), Password: r.Form.Get("password"), Status: http.StatusOK,
	}
	for _, scope := range r.Form["scope"] {
		request.Scopes = append(request.Scopes, strings.Fields(scope)...)
	}
	if user, password, ok := r.BasicAuth(); ok {
		request.User, request.Password = user, password
	}
	user, known := s.authenticate(request)
	if !known {
		request.Status = http.StatusUnauthorized
	}
	s.mu.Lock()
	s.requests = append(s.requests, request)
	s.mu.Unlock()

	switch {
	case !known:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"errors":[{"code":"UNAUTHORIZED","message":"incorrect username or password"}]}`))
	case s.Answer != nil:
		s.Answer(w, request, s.issue(user, request.Scopes))
	default:
		s.writeToken(w, s.issue(user, request.Scopes))
	}
}

// authenticate returns the user of a request and whether its credentials are accepted.
func (s *TokenServer) authenticate(r TokenRequest) (user string, known bool) {
	switch {
	case r.GrantType == "refresh_token":
		return "identity", s.IdentityToken != "" && r.RefreshToken == s.IdentityToken
	case r.User == "" && s.Allow != nil:
		return "", true // Allow decides what an anonymous request may do
	}
	return r.User, s.User == "" || (r.User == s.User && r.Password == s.Password)
}

func (s *TokenServer) lifetime() time.Duration {
	if s.Lifetime == 0 {
		return 5 * time.Minute
	}
	return s.Lifetime
}

func (s *TokenServer) writeToken(w http.ResponseWriter, token string) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"token": token, "access_token": token,
		"expires_in": int(s.lifetime().Seconds()), "issued_at": time.Now().UTC().Format(time.RFC3339),
	})
}

// access is an entry of the access claim of a token.
type access struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Actions []string `json:"actions"`
}

// issue returns a token for those actions of the scopes that user is allowed to perform.
func (s *TokenServer) issue(user string, scopes []string) string {
	var granted []access
	for _, scope := range scopes {
		kind, rest, _ := strings.Cut(scope, ":")
		// A name may contain a colon, as in "host:port/app".
		cut := strings.LastIndex(rest, ":")
		if kind != "repository" || cut < 0 {
			continue
		}
		a := access{Type: kind, Name: rest[:cut], Actions: []string{}}
		for action := range strings.SplitSeq(rest[cut+1:], ",") {
			if s.Allow == nil || s.Allow(user, a.Name, action) {
				a.Actions = append(a.Actions, action)
			}
		}
		granted = append(granted, a)
	}
	return s.token(user, granted, s.lifetime())
}

// setupToken returns a token that allows this package every action on a repository. It is not
// recorded as a request.
func (s *TokenServer) setupToken(repo string) string {
	if known, ok := s.setup.Load(repo); ok {
		return known.(string)
	}
	token := s.token("registrytest", []access{{"repository", repo, []string{"pull", "push", "delete"}}}, time.Hour)
	s.setup.Store(repo, token)
	return token
}

// allows reports whether a request has a valid token that grants all of needed.
func (s *TokenServer) allows(r *http.Request, needed []access) bool {
	raw, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return false
	}
	claims, ok := s.verify(raw)
	if !ok || time.Now().After(time.Unix(claims.Expires, 0).Add(time.Minute)) {
		return false
	}
	granted := map[string]bool{}
	for _, a := range claims.Access {
		for _, action := range a.Actions {
			granted[a.Name+":"+action] = true
		}
	}
	for _, a := range needed {
		for _, action := range a.Actions {
			if !granted[a.Name+":"+action] {
				return false
			}
		}
	}
	return true
}

// challenge returns the WWW-Authenticate header for the needed access.
func (s *TokenServer) challenge(needed []access) string {
	value := fmt.Sprintf("Bearer realm=%q,service=%q", s.URL, s.Service)
	var scopes []string
	for _, a := range needed {
		scopes = append(scopes, a.Type+":"+a.Name+":"+strings.Join(a.Actions, ","))
	}
	if scopes != nil {
		value += fmt.Sprintf(",scope=%q", strings.Join(scopes, " "))
	}
	return value
}
