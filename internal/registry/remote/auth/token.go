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
	// maxTokenBytes is the cap on a token endpoint's answer.
	maxTokenBytes = 64 << 10
	// maxTokenLength is more than what is before registries takes in a header:
	// 8 KiB of most, 16 KiB of some. Tokens have up to a few.
	maxTokenLength = 16 << 10
	// leastLife is how long a token lives that comes without a lifetime, or
	// with a shorter one, which the specification forbids ("Token
	// Authentication Specification", expires_in).
	minLifetime = time.Minute
	// mostLife is how long a token is used without asking again, whatever its
	// lifetime: a larger one gains nothing, and one that overflows would lose.
	maxLifetime = time.Hour
	// clientID names this client to token endpoints that want to know.
	clientID = "terraform-provider-registry"
)

// token is what a token endpoint issued for scopes.
type token struct {
	value   Secret
	scopes  []Scope
	refresh time.Time // when another is to be fetched, ahead of its expiry
	number  int       // in the order in which they were asked for, from 1
}

// issued is what a token endpoint answers: a token and how long it is good for.
type tokenResponse struct {
	value    Secret
	lifetime time.Duration
}

// fetch gets a token for scopes and works out when to fetch the next.
func (a *Authorizer) fetch(ctx context.Context, c Credential, wanted authParams, scopes []Scope) (*token, error) {
	// Counted from before the request, and by this clock alone: a server's
	// issued_at is as good as its clock.
	asked := a.options.Now()
	i, err := a.requestToken(ctx, c, wanted, scopes)
	if err != nil {
		return nil, err
	}
	a.options.Logger.DebugContext(ctx, "fetched a token", "host", a.options.Host, "realm", c.redact(ctx, registry.RedactURL(wanted.realm)),
		"scopes", scopeParam(scopes), "lifetime", i.lifetime.String())
	ahead := min(i.lifetime/4, 30*time.Second)
	return &token{value: i.value, scopes: scopes, refresh: asked.Add(i.lifetime - ahead)}, nil
}

// requestToken asks the realm for a token: with an identity token by OAuth 2, with a
// user name and password by GET, as every token endpoint knows it, or by OAuth
// 2 where this one does not.
func (a *Authorizer) requestToken(ctx context.Context, c Credential, wanted authParams, scopes []Scope) (tokenResponse, error) {
	switch {
	case c.IdentityToken != "":
		return a.post(ctx, c, wanted, scopes, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {c.IdentityToken.Reveal()}})
	case c.Anonymous():
		return a.get(ctx, c, wanted, scopes)
	}
	password := url.Values{"grant_type": {"password"}, "username": {c.Username}, "password": {c.Password.Reveal()}}
	if a.postOnly.Load() {
		return a.post(ctx, c, wanted, scopes, password)
	}
	i, err := a.get(ctx, c, wanted, scopes)
	e, failed := errors.AsType[*registry.Error](err)
	if !failed || e.Status != http.StatusNotFound && e.Status != http.StatusMethodNotAllowed {
		return i, err
	}
	i, postErr := a.post(ctx, c, wanted, scopes, password)
	if errors.Is(postErr, registry.ErrProtocol) {
		// POST is not known either, so that the first answer is the telling one.
		return tokenResponse{}, err
	}
	a.postOnly.Store(postErr == nil)
	return i, postErr
}

// get is the token request that every endpoint knows ("Token Authentication
// Specification").
func (a *Authorizer) get(ctx context.Context, c Credential, wanted authParams, scopes []Scope) (tokenResponse, error) {
	u := *wanted.realm
	query := u.Query()
	if wanted.service != "" {
		query.Set("service", wanted.service)
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
		return tokenResponse{}, a.endpointError(wanted, registry.ErrProtocol, "it cannot be asked under this URL")
	}
	if header := basic(c); header != "" {
		req.Header.Set("Authorization", header)
	}
	return a.send(req, c, wanted)
}

// post is the token request of OAuth 2 ("Oauth2 Token Authentication").
func (a *Authorizer) post(ctx context.Context, c Credential, wanted authParams, scopes []Scope, form url.Values) (tokenResponse, error) {
	form.Set("client_id", clientID)
	if wanted.service != "" {
		form.Set("service", wanted.service)
	}
	if len(scopes) > 0 {
		form.Set("scope", scopeParam(scopes))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, wanted.realm.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return tokenResponse{}, a.endpointError(wanted, registry.ErrProtocol, "it cannot be asked under this URL")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return a.send(req, c, wanted)
}

// send sends a token request and reads the answer. Every answer but a 200 with
// a token in it is an error.
func (a *Authorizer) send(req *http.Request, c Credential, wanted authParams) (tokenResponse, error) {
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", a.options.UserAgent)
	resp, err := a.options.Send(req)
	if err != nil {
		return tokenResponse{}, a.transportError(wanted, err)
	}
	defer resp.Body.Close()
	body, err := registry.ReadLimited(resp.Body, maxTokenBytes)
	if err != nil {
		body = nil // the beginning of an answer is none
	}
	switch {
	case resp.StatusCode != http.StatusOK:
		return tokenResponse{}, a.responseError(req.Context(), resp, body, c, wanted)
	case errors.Is(err, registry.ErrLimit):
		return tokenResponse{}, a.endpointError(wanted, registry.ErrLimit, fmt.Sprintf("its answer is larger than %d bytes", maxTokenBytes))
	case err != nil:
		return tokenResponse{}, a.transportError(wanted, err)
	}
	i, err := parseToken(body)
	if err != nil {
		return tokenResponse{}, a.endpointError(wanted, registry.ErrProtocol,
			fmt.Sprintf("%s (its Content-Type is %q)", err, registry.Sanitize(resp.Header.Get("Content-Type"))))
	}
	return i, nil
}

// parseToken reads a token endpoint's answer. Where both names of the token are
// there, which should then be the same, the older one counts.
func parseToken(body []byte) (tokenResponse, error) {
	var answer struct {
		Token       Secret         `json:"token"`
		AccessToken Secret         `json:"access_token"`
		ExpiresIn   jsontext.Value `json:"expires_in"`
	}
	// What the decoder says may quote the token.
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

// lifetime reads expires_in, in seconds and by some given as text, as between
// leastLife and mostLife.
func lifetime(expiresIn jsontext.Value) time.Duration {
	// What is no number is 0 or NaN; what overflows is infinite.
	seconds, _ := strconv.ParseFloat(strings.Trim(string(expiresIn), `"`), 64)
	switch {
	case seconds >= maxLifetime.Seconds():
		return maxLifetime
	case seconds > minLifetime.Seconds():
		return time.Duration(seconds * float64(time.Second))
	}
	return minLifetime
}
