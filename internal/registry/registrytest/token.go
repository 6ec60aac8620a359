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

// TokenServer is a token server in this process, whose tokens (JSON Web Tokens,
// ES256) the registries verify (distribution, "Token Authentication
// Specification"). Set its fields before the first request; a registry that was
// started with TokenAuth trusts it.
type TokenServer struct {
	// URL is its realm. It may be changed to another that leads here, a path of
	// a Proxy for example: a TokenServer is an http.Handler.
	URL string
	// CA is the PEM of the authority that signed its certificate; nil where it
	// speaks plain HTTP.
	CA []byte
	// Service is the audience of its tokens: "registrytest".
	Service string

	// User and Password are asked for by Basic authentication, and by
	// grant_type=password; where User is "", everybody may have any token. Where
	// Allow is set, so may who brings no user, as far as Allow goes.
	User, Password string
	// IdentityToken is taken as refresh_token; none where "".
	IdentityToken string
	// Allow says what a user ("" for nobody) may do with a repository: action
	// is "pull", "push" or "delete". nil allows everything. A token is issued
	// all the same, for what remains.
	Allow func(user, repo, action string) bool
	// Lifetime is how long a token is good for; five minutes where 0. The
	// registries add a minute of their own: less than minus one minute gives
	// tokens that they refuse.
	Lifetime time.Duration
	// Opaque makes tokens that are short and say nothing. Only scripted
	// registries know them; they cost a test less.
	Opaque bool
	// Answer is how an issued token is answered; where nil, as
	// {"token": …, "access_token": …, "expires_in": …, "issued_at": …}.
	Answer func(w http.ResponseWriter, r TokenRequest, token string)

	issuer string
	key    *ecdsa.PrivateKey
	der    []byte
	cert   []byte // der in PEM, what registries trust

	verified sync.Map // the claims of tokens that were found good
	setup    sync.Map // the tokens of forSetup, by repository

	mu       sync.Mutex
	requests []TokenRequest
}

// TokenRequest is what somebody asked a token server.
type TokenRequest struct {
	// Method is GET, or POST for OAuth 2.
	Method string
	// Service and Scopes are as they were sent, a scope an element.
	Service string
	Scopes  []string
	// User and Password are those of Basic authentication or of the form.
	User, Password string
	// GrantType, RefreshToken and ClientID are the form's of OAuth 2.
	GrantType, RefreshToken, ClientID string
	// Header is the whole of the request's.
	Header http.Header
	// Status is what was answered.
	Status int
}

// NewTokenServer starts a token server that ends with t. Of the options it takes
// TLS.
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

// Requests are the requests so far, in the order of their answers.
func (s *TokenServer) Requests() []TokenRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]TokenRequest(nil), s.requests...)
}

// ServeHTTP answers as the realm.
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
		s.answer(w, s.issue(user, request.Scopes))
	}
}

// authenticate says who asks, and whether that is somebody who may.
func (s *TokenServer) authenticate(r TokenRequest) (user string, known bool) {
	switch {
	case r.GrantType == "refresh_token":
		return "identity", s.IdentityToken != "" && r.RefreshToken == s.IdentityToken
	case r.User == "" && s.Allow != nil:
		return "", true // what nobody may do is Allow's to say
	}
	return r.User, s.User == "" || (r.User == s.User && r.Password == s.Password)
}

func (s *TokenServer) lifetime() time.Duration {
	if s.Lifetime == 0 {
		return 5 * time.Minute
	}
	return s.Lifetime
}

func (s *TokenServer) answer(w http.ResponseWriter, token string) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"token": token, "access_token": token,
		"expires_in": int(s.lifetime().Seconds()), "issued_at": time.Now().UTC().Format(time.RFC3339),
	})
}

// access is one entry of a token's access claim.
type access struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Actions []string `json:"actions"`
}

// issue makes a token for what user may do of the scopes.
func (s *TokenServer) issue(user string, scopes []string) string {
	var granted []access
	for _, scope := range scopes {
		kind, rest, _ := strings.Cut(scope, ":")
		// A name may have a colon of its own: "host:port/app".
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

// forSetup is a token with which this package itself does whatever it wants
// with a repository; nobody asked for it.
func (s *TokenServer) forSetup(repo string) string {
	if known, ok := s.setup.Load(repo); ok {
		return known.(string)
	}
	token := s.token("registrytest", []access{{"repository", repo, []string{"pull", "push", "delete"}}}, time.Hour)
	s.setup.Store(repo, token)
	return token
}

// allows says whether a request brings a good token for all of what is needed.
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

// challenge is the WWW-Authenticate header for what is needed.
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
