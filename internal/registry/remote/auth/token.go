package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

const (
	// maxTokenBytes is the size limit of a token endpoint's response.
	maxTokenBytes = 64 << 10
	// maxTokenLength is the length limit of a token. It is more than most servers
	// before registries accept in a header: usually 8 KiB, sometimes 16 KiB. Tokens
	// have up to a few KiB.
	maxTokenLength = 16 << 10
	// minLifetime is the lifetime of a token without a lifetime, or with a shorter
	// one, which the specification forbids ("Token Authentication Specification",
	// expires_in).
	minLifetime = time.Minute
	// maxLifetime is how long a token is used, whatever its lifetime. A longer one
	// has no benefit, and could overflow.
	maxLifetime = time.Hour
	// clientID is the client_id of OAuth 2 token requests.
	clientID = "terraform-provider-registry"
)

// token is an access token for scopes.
type token struct {
	value   Secret
	scopes  []Scope
	refresh time.Time // when to fetch the next one, some time before the expiry
	number  int       // sequence number of the request, from 1
}

// tokenResponse is the response of a token endpoint.
type tokenResponse struct {
	value    Secret
	lifetime time.Duration
}

// fetch requests a token for scopes, and determines when to fetch the next one.
func (a *Authorizer) fetch(ctx context.Context, c Credential, params authParams, scopes []Scope) (*token, error) {
	// The lifetime is measured by the local clock from before the request.
	// issued_at depends on the clock of the server.
	sent := a.options.Now()
	i, err := a.requestToken(ctx, c, params, scopes)
	if err != nil {
		return nil, err
	}
	a.options.Logger.DebugContext(ctx, "fetched a token", "host", a.options.Host, "realm", c.redact(ctx, registry.RedactURL(params.realm)),
		"scopes", scopeParam(scopes), "lifetime", i.lifetime.String())
	ahead := min(i.lifetime/4, 30*time.Second)
	return &token{value: i.value, scopes: scopes, refresh: sent.Add(i.lifetime - ahead)}, nil
}

// requestToken requests a token from the realm. An identity token uses OAuth 2. A
// user name and password use GET, which every token endpoint supports, or OAuth 2
// if this one does not.
func (a *Authorizer) requestToken(ctx context.Context, c Credential, params authParams, scopes []Scope) (tokenResponse, error) {
	switch {
	case c.IdentityToken != "":
		return a.post(ctx, c, params, scopes, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {c.IdentityToken.Reveal()}})
	case c.Anonymous():
		return a.get(ctx, c, params, scopes)
	}
	password := url.Values{"grant_type": {"password"}, "username": {c.Username}, "password": {c.Password.Reveal()}}
	if a.postOnly.Load() {
		return a.post(ctx, c, params, scopes, password)
	}
	i, err := a.get(ctx, c, params, scopes)
	e, failed := errors.AsType[*registry.Error](err)
	if !failed || e.Status != http.StatusNotFound && e.Status != http.StatusMethodNotAllowed {
		return i, err
	}
	i, postErr := a.post(ctx, c, params, scopes, password)
	if errors.Is(postErr, registry.ErrProtocol) {
		// The endpoint does not support POST either, so the error of GET is more
		// useful.
		return tokenResponse{}, err
	}
	a.postOnly.Store(postErr == nil)
	return i, postErr
}

// get sends the token request that every endpoint supports ("Token Authentication
// Specification").
func (a *Authorizer) get(ctx context.Context, c Credential, params authParams, scopes []Scope) (tokenResponse, error) {
	u := *params.realm
	query := u.Query()
	if params.service != "" {
		query.Set("service", params.service)
	}
	for _, s := range scopes {
		query.Add("scope", s.String())
	}
	if c.Username != "" {
		query.Set("account", c.Username)
	}
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return tokenResponse{}, a.endpointError(params, registry.ErrProtocol, "it cannot be asked under this URL")
	}
	if header := basic(c); header != "" {
		req.Header.Set("Authorization", header)
	}
	return a.send(req, c, params)
}

// post sends an OAuth 2 token request ("Oauth2 Token Authentication").
func (a *Authorizer) post(ctx context.Context, c Credential, params authParams, scopes []Scope, form url.Values) (tokenResponse, error) {
	form.Set("client_id", clientID)
	if params.service != "" {
		form.Set("service", params.service)
	}
	if len(scopes) > 0 {
		form.Set("scope", scopeParam(scopes))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, params.realm.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return tokenResponse{}, a.endpointError(params, registry.ErrProtocol, "it cannot be asked under this URL")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return a.send(req, c, params)
}

// send sends a token request and reads the response. Every response other than a
// 200 with a token is an error.
func (a *Authorizer) send(req *http.Request, c Credential, params authParams) (tokenResponse, error) {
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", a.options.UserAgent)
	resp, err := a.options.Send(req)
	if err != nil {
		return tokenResponse{}, a.transportError(params, err)
	}
	defer resp.Body.Close()
	body, err := registry.ReadLimited(resp.Body, maxTokenBytes)
	if err != nil {
		body = nil // a truncated body cannot be decoded
	}
	switch {
	case resp.StatusCode != http.StatusOK:
		return tokenResponse{}, a.responseError(req.Context(), resp, body, c, params)
	case errors.Is(err, registry.ErrLimit):
		return tokenResponse{}, a.endpointError(params, registry.ErrLimit, fmt.Sprintf("its answer is larger than %d bytes", maxTokenBytes))
	case err != nil:
		return tokenResponse{}, a.transportError(params, err)
	}
	i, err := parseToken(body)
	if err != nil {
		return tokenResponse{}, a.endpointError(params, registry.ErrProtocol,
			fmt.Sprintf("%s (its Content-Type is %q)", err, registry.Sanitize(c.redact(req.Context(), resp.Header.Get("Content-Type")))))
	}
	return i, nil
}

// parseToken parses a token endpoint's response. If it has both token fields, which
// should then be the same, token is used.
func parseToken(body []byte) (tokenResponse, error) {
	var answer struct {
		Token       Secret         `json:"token"`
		AccessToken Secret         `json:"access_token"`
		ExpiresIn   jsontext.Value `json:"expires_in"`
	}
	// An error of the decoder may quote the token.
	if json.Unmarshal(body, &answer) != nil {
		return tokenResponse{}, errors.New("its answer is not a token")
	}
	value := cmp.Or(answer.Token, answer.AccessToken)
	if value == "" {
		return tokenResponse{}, errors.New("its answer has no token in it")
	}
	if len(value) > maxTokenLength {
		return tokenResponse{}, fmt.Errorf("its answer has a token of more than %d bytes, which is too long for a header", maxTokenLength)
	}
	if !isHeaderSafe(value.Reveal()) {
		return tokenResponse{}, errors.New("its answer has a token with characters that no header can carry")
	}
	return tokenResponse{value, lifetime(answer.ExpiresIn)}, nil
}

// lifetime parses expires_in and limits it to minLifetime and maxLifetime. It is in
// seconds; some servers send a string.
func lifetime(expiresIn jsontext.Value) time.Duration {
	// The result of ParseFloat is 0 or NaN if the value is not a number, and
	// infinite if it overflows.
	seconds, _ := strconv.ParseFloat(strings.Trim(string(expiresIn), `"`), 64)
	switch {
	case seconds >= maxLifetime.Seconds():
		return maxLifetime
	case seconds > minLifetime.Seconds():
		return time.Duration(seconds * float64(time.Second))
	}
	return minLifetime
}
