package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// endpointError is an error of the token endpoint.
func (a *Authorizer) endpointError(wanted authParams, kind error, message string) *registry.Error {
	return &registry.Error{Op: "fetch a token", Kind: kind, Hint: endpointHints[kind],
		Message: fmt.Sprintf("the token endpoint at %s: %s", registry.Sanitize(wanted.realm.Host), message)}
}

// endpointAdvice is what can be done about a token endpoint, besides looking at
// the credential.
var endpointHints = map[error]string{
	registry.ErrProtocol:          "What answers there does not issue tokens as registries' token services do. Look for a proxy on the way, or ask those who run the registry whether its realm is right.",
	registry.ErrLimit:             "What answers there does not issue tokens as registries' token services do. Look for a proxy on the way, or ask those who run the registry whether its realm is right.",
	registry.ErrForbiddenRedirect: "Those who run the registry can name the right place as its realm.",
	registry.ErrRateLimited:       "Too many tokens were asked for. Try again later, or log in where that was done without an account.",
	registry.ErrUnavailable:       "The token service is not well. Try again later.",
}

// unreachable is the error of a request without an answer.
func (a *Authorizer) transportError(wanted authParams, err error) error {
	if e, ok := errors.AsType[*registry.Error](err); ok {
		named := *e
		if named.Op == "" {
			named.Op, named.Reference = "fetch a token from", registry.RedactURL(wanted.realm)
		}
		return &named
	}
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err // it would quote the URL with all that is in it
	}
	e := a.endpointError(wanted, registry.ErrUnavailable, "no answer")
	e.Err = err
	return e
}

// answerError is the error of an answer that gives no token.
func (a *Authorizer) responseError(ctx context.Context, resp *http.Response, body []byte, c Credential, wanted authParams) error {
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		where := "elsewhere"
		if to, err := resp.Location(); err == nil && to.Host != "" {
			where = "to " + registry.Sanitize(to.Host)
		}
		e := a.endpointError(wanted, registry.ErrForbiddenRedirect, "it redirects "+where+", and credentials are not taken along")
		e.Status = resp.StatusCode
		return e
	}
	code, words := parseErrorBody(body)
	e := a.endpointError(wanted, tokenErrorKind(resp.StatusCode, code), "")
	e.Status = resp.StatusCode
	e.Code = registry.Sanitize(c.redact(ctx, code))
	if words = registry.Sanitize(c.redact(ctx, words)); words == "" {
		words = "it gives no reason"
		if text := c.redact(ctx, registry.Excerpt(c.redact(ctx, string(body)))); text != "" && text[0] != '{' { // there may be a token in JSON
			words = "it says " + strconv.Quote(text)
		}
	}
	e.Message += words
	if errors.Is(e, registry.ErrUnauthorized) || errors.Is(e, registry.ErrDenied) {
		e.Hint = c.Advice(a.options.Host)
	}
	if wait := ParseRetryAfter(resp.Header.Get("Retry-After"), a.options.Now()); wait > 0 {
		e.Err = WaitError(wait)
	}
	return e
}

// tokenErrorKind classifies a status. A 404 is never ErrNotFound: it says
// nothing of what the registry holds.
func tokenErrorKind(status int, code string) error {
	switch {
	case status == http.StatusUnauthorized:
		return registry.ErrUnauthorized
	case status == http.StatusForbidden:
		return registry.ErrDenied
	case status == http.StatusBadRequest && slices.Contains([]string{"invalid_grant", "invalid_client", "unauthorized_client"}, code):
		return registry.ErrUnauthorized // RFC 6749, section 5.2
	case status == http.StatusTooManyRequests:
		return registry.ErrRateLimited
	case status >= 500 || status == http.StatusRequestTimeout || status == http.StatusTooEarly || status == 499:
		return registry.ErrUnavailable
	}
	return registry.ErrProtocol
}

// explanation finds the code and the words of an error, in the forms that token
// endpoints have: a registry's (OCI distribution specification, "Error Codes"),
// OAuth 2's, and Docker Hub's.
func parseErrorBody(body []byte) (code, words string) {
	var said struct {
		Errors []struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"errors"`
		Error       jsontext.Value `json:"error"`
		Description string         `json:"error_description"`
		Details     jsontext.Value `json:"details"`
		Message     jsontext.Value `json:"message"`
	}
	if json.Unmarshal(body, &said) != nil {
		return "", ""
	}
	if len(said.Errors) > 0 {
		return said.Errors[0].Code, said.Errors[0].Message
	}
	for _, text := range []string{said.Description, textOf(said.Details), textOf(said.Message)} {
		if text != "" {
			return textOf(said.Error), text
		}
	}
	return textOf(said.Error), ""
}

// textOf is the text that a JSON value is, "" for any other value.
func textOf(value jsontext.Value) string {
	var text string
	if json.Unmarshal(value, &text) != nil {
		return ""
	}
	return text
}

// WaitError is an error that says how long to wait before the next try.
type WaitError time.Duration

// Error says it in words.
func (e WaitError) Error() string { return "it asks to wait " + time.Duration(e).String() }

// RetryAfter is how long to wait.
func (e WaitError) RetryAfter() time.Duration { return time.Duration(e) }

// ParseRetryAfter reads a Retry-After header, which is seconds or a date (RFC
// 9110, section 10.2.3), as the time from now, at most a day. What is neither,
// or in the past, is 0.
func ParseRetryAfter(value string, now time.Time) time.Duration {
	const most = 24 * time.Hour
	value = strings.TrimSpace(value)
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now), 0), most)
	}
	if strings.Trim(value, "0123456789") != "" {
		return 0
	}
	seconds, _ := strconv.ParseUint(value, 10, 64) // of too many digits, as many as there can be
	return time.Duration(min(seconds, uint64(most/time.Second))) * time.Second
}
