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

// endpointError returns an error of the token endpoint.
func (a *Authorizer) endpointError(params authParams, kind error, message string) *registry.Error {
	return &registry.Error{Op: "fetch a token", Kind: kind, Hint: endpointHints[kind],
		Message: fmt.Sprintf("the token endpoint at %s: %s", registry.Sanitize(params.realm.Host), message)}
}

// endpointHints maps kinds of token endpoint errors to their hint, if they do not
// depend on the credential.
var endpointHints = map[error]string{
	registry.ErrProtocol:          "What answers there does not issue tokens as registries' token services do. Look for a proxy on the way, or ask those who run the registry whether its realm is right.",
	registry.ErrLimit:             "What answers there does not issue tokens as registries' token services do. Look for a proxy on the way, or ask those who run the registry whether its realm is right.",
	registry.ErrForbiddenRedirect: "Those who run the registry can name the right place as its realm.",
	registry.ErrRateLimited:       "Too many tokens were asked for. Try again later, or log in where that was done without an account.",
	registry.ErrUnavailable:       "The token service is not well. Try again later.",
}

// transportError returns the error of a token request without a response.
func (a *Authorizer) transportError(params authParams, err error) error {
	if e, ok := errors.AsType[*registry.Error](err); ok {
		result := *e
		if result.Op == "" {
			result.Op, result.Reference = "fetch a token from", registry.RedactURL(params.realm)
		}
		return &result
	}
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err // a *url.Error quotes the URL, which may contain secrets
	}
	e := a.endpointError(params, registry.ErrUnavailable, "no answer")
	e.Err = err
	return e
}

// responseError returns the error of a response without a token.
func (a *Authorizer) responseError(ctx context.Context, resp *http.Response, body []byte, c Credential, params authParams) error {
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		where := "elsewhere"
		if to, err := resp.Location(); err == nil && to.Host != "" {
			where = "to " + registry.Sanitize(to.Host)
		}
		e := a.endpointError(params, registry.ErrForbiddenRedirect, "it redirects "+where+", and credentials are not taken along")
		e.Status = resp.StatusCode
		return e
	}
	code, words := parseErrorBody(body)
	e := a.endpointError(params, tokenErrorKind(resp.StatusCode, code), "")
	e.Status = resp.StatusCode
	e.Code = registry.Sanitize(c.redact(ctx, code))
	if words = registry.Sanitize(c.redact(ctx, words)); words == "" {
		words = "it gives no reason"
		if text := c.redact(ctx, registry.Excerpt(c.redact(ctx, string(body)))); text != "" && text[0] != '{' { // JSON may contain a token
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

// tokenErrorKind returns the kind of error for a status. It is not ErrNotFound for
// a 404, which says nothing about the content of the registry.
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

// parseErrorBody returns the code and the message of an error in the formats of
// token endpoints: that of registries (OCI distribution specification, "Error
// Codes"), of OAuth 2, and of Docker Hub.
func parseErrorBody(body []byte) (code, words string) {
	var parsed struct {
		Errors []struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"errors"`
		Error       jsontext.Value `json:"error"`
		Description string         `json:"error_description"`
		Details     jsontext.Value `json:"details"`
		Message     jsontext.Value `json:"message"`
	}
	if json.Unmarshal(body, &parsed) != nil {
		return "", ""
	}
	if len(parsed.Errors) > 0 {
		return parsed.Errors[0].Code, parsed.Errors[0].Message
	}
	for _, text := range []string{parsed.Description, textOf(parsed.Details), textOf(parsed.Message)} {
		if text != "" {
			return textOf(parsed.Error), text
		}
	}
	return textOf(parsed.Error), ""
}

// textOf returns the text of a JSON string, or "" for any other value.
func textOf(value jsontext.Value) string {
	var text string
	if json.Unmarshal(value, &text) != nil {
		return ""
	}
	return text
}

// WaitError is an error with the time to wait before the next attempt.
type WaitError time.Duration

// Error describes the time to wait.
func (e WaitError) Error() string { return "it asks to wait " + time.Duration(e).String() }

// RetryAfter returns the time to wait.
func (e WaitError) RetryAfter() time.Duration { return time.Duration(e) }

// ParseRetryAfter parses a Retry-After header, which is a number of seconds or a
// date (RFC 9110, section 10.2.3). It returns the time from now, at most one day.
// The result is 0 if the value is invalid or in the past.
func ParseRetryAfter(value string, now time.Time) time.Duration {
	const most = 24 * time.Hour
	value = strings.TrimSpace(value)
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now), 0), most)
	}
	if strings.Trim(value, "0123456789") != "" {
		return 0
	}
	seconds, _ := strconv.ParseUint(value, 10, 64) // the maximum if there are too many digits
	return time.Duration(min(seconds, uint64(most/time.Second))) * time.Second
}
