package remote

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// errorDocument is the body of a registry's error response (OCI distribution specification,
// "Error Codes").
type errorDocument struct {
	Errors []errorEntry `json:"errors"`
}

type errorEntry struct {
	Code    string          `json:"code"`
	Message string          `json:"message"`
	Detail  json.RawMessage `json:"detail"`
}

const (
	// maxCode is the maximum length of an error code in bytes. Longer codes are truncated.
	maxCode = 64
	// maxEntries is how many errors of a document are shown. The first one determines the
	// kind of the failure.
	maxEntries = 3
)

// text returns the code and the message of an entry, safe to display.
func (e errorEntry) text(redact func(string) string) (code, message string) {
	detail := redact(string(e.Detail))
	// The detail of an access error is the requested scope in JSON, which does not help the
	// user.
	accessDenied := e.Code == "UNAUTHORIZED" || e.Code == "DENIED"
	if detail == "null" || detail == "{}" || accessDenied && strings.ContainsAny(detail[:min(1, len(detail))], "{[") {
		detail = ""
	}
	return truncate(redact(e.Code), maxCode), registry.Sanitize(joinText(redact(e.Message), detail))
}

// additional returns the further errors of a document, each preceded by a semicolon.
func (d errorDocument) additional(redact func(string) string) string {
	var b strings.Builder
	for _, entry := range d.Errors[1:min(len(d.Errors), maxEntries)] {
		if text := joinText(entry.text(redact)); text != "" {
			b.WriteString("; " + text)
		}
	}
	return b.String()
}

// responseError converts the response to a failed request into an error and closes its body.
// It is the only place that does so. It reads a limited number of bytes, redacts secrets
// and sanitizes text. A 404 to a GET request becomes ErrNotFound only with an error
// document.
func (r *repository) responseError(ctx context.Context, q request, resp *http.Response, authorization string) *registry.Error {
	defer resp.Body.Close()
	e := &registry.Error{Op: q.op, Repository: r.Name(), Reference: q.reference, Status: resp.StatusCode}
	body, err := registry.ReadLimited(resp.Body, maxErrorBytes)
	if truncated := r.truncatedError(ctx, q, resp, err); truncated != nil {
		return truncated
	}
	if err != nil || resp.Header.Get("Content-Encoding") != "" {
		body = nil // the status alone must suffice
	}
	redact := func(text string) string { return registry.Sanitize(r.redactFor(text, resp.Request.URL, authorization)) }
	var document errorDocument
	isDocument := json.Unmarshal(body, &document) == nil && len(document.Errors) > 0 && document.Errors[0].Code != ""
	if isDocument {
		e.Code, e.Message = document.Errors[0].text(redact)
	} else if text := redact(registry.Excerpt(r.redactFor(string(body), resp.Request.URL, authorization))); text != "" {
		e.Message = "what answered says " + strconv.Quote(text)
	}
	fromRegistry := isDocument && r.host.isOrigin(resp.Request.URL)
	e.Kind = errorKind(resp, e.Code, e.Message, fromRegistry, fromRegistry && r.isNotFoundCode(e.Code), q.method)
	if isDocument {
		e.Message = registry.Sanitize(e.Message + document.additional(redact))
	}
	if wait := auth.ParseRetryAfter(resp.Header.Get("Retry-After"), r.client.options.Now()); wait > 0 {
		e.Err = auth.WaitError(wait)
	}
	if e.Hint = r.hint(e); !r.host.isOrigin(resp.Request.URL) {
		e.Message = joinText("from "+r.displayHost(resp.Request.URL)+", where the registry pointed to", e.Message)
		e.Hint = "This is not the registry itself but a place that it sends its clients to, without credentials. If it stays like this, ask those who run the registry."
	}
	return e
}

// truncatedError returns an error if a failed response was truncated and its status alone
// is inconclusive. Every status is inconclusive if the operation was canceled. So is a 404,
// and a 400 to anything but an upload, because they mean little without the error document.
func (r *repository) truncatedError(ctx context.Context, q request, resp *http.Response, err error) *registry.Error {
	vague := resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusBadRequest && q.upload == nil
	if err == nil || errors.Is(err, registry.ErrLimit) || ctx.Err() == nil && !vague {
		return nil
	}
	e := r.host.connectionError(err, resp.Request.URL)
	e.Op, e.Repository, e.Reference, e.Status = q.op, r.Name(), q.reference, resp.StatusCode
	if e.Hint == "" && ctx.Err() == nil {
		e.Hint = registry.DefaultHint(e.Kind)
	}
	return e
}

// Redact replaces the credentials for the host and the tokens that were sent so far.
func (r *repository) Redact(text string) string { return r.redactFor(text, nil, "") }

// redactFor replaces the secrets that a server may have received and may echo: the
// credentials for the host, the logins of proxies, and what may be a signature in the query
// of u, the URL of the request.
func (r *repository) redactFor(text string, u *url.URL, authorization string) string {
	_, token, _ := strings.Cut(authorization, " ")
	secrets := append([]auth.Secret{auth.Secret(token)}, r.host.secrets()...)
	r.mu.Lock()
	if c := r.resolvedCredential; c != nil {
		secrets = append(secrets, c.Secrets()...)
	}
	secrets = append(secrets, r.sentCredentials...)
	r.mu.Unlock()
	if u != nil {
		secrets = append(secrets, querySecrets(u.RawQuery)...)
	}
	secrets = append(secrets, r.client.proxies.sentLogins()...)
	return auth.Redact(text, secrets...)
}

// displayHost returns the host of u, safe to display. A registry may direct the client to a
// host whose name contains a secret that the client sent.
func (r *repository) displayHost(u *url.URL) string {
	if r.host.isOrigin(u) {
		return registry.Sanitize(u.Host)
	}
	return registry.Sanitize(r.Redact(u.Host))
}

// delayHost returns the name of the host that u is at, for messages about delays.
func (r *repository) delayHost(u *url.URL) string {
	if r.host.isOrigin(u) {
		return r.host.name
	}
	return r.displayHost(u)
}

// publicParameters are the query parameters that are not secret. The client sets all except
// the last two, which tell a storage service which Content-Type to send.
var publicParameters = []string{"digest", "from", "mount", "n", "last", "response-content-type", "rsct"}

// querySecrets returns what may be a signature in a query: the encoded values, parameters
// without a name or a value, and the whole query. For some servers, semicolons separate
// parameters too.
func querySecrets(raw string) []auth.Secret {
	var secrets []auth.Secret
	for _, pair := range strings.FieldsFunc(raw, func(r rune) bool { return r == '&' || r == ';' }) {
		name, value, named := strings.Cut(pair, "=")
		switch {
		case slices.Contains(publicParameters, name):
		case named && strings.Trim(value, "=") != "":
			secrets = append(secrets, auth.Secret(value))
		default: // a value without a name is as likely as the reverse
			secrets = append(secrets, auth.Secret(pair), auth.Secret(name))
		}
	}
	if len(secrets) > 0 {
		secrets = append(secrets, auth.Secret(raw))
	}
	return secrets
}

func truncate(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}

// notFoundCodes are the codes of registries for missing content (OCI distribution
// specification, "Error Codes"). A 404 with another code, or without one, does not mean
// that: gateways also send error documents, and some registries respond with 404 to unauthorized
// clients.
var notFoundCodes = []string{"MANIFEST_UNKNOWN", "NAME_UNKNOWN", "BLOB_UNKNOWN", "BLOB_UPLOAD_UNKNOWN", "TAG_UNKNOWN"}

// harborNotFoundCode is Harbor's code for all of them. Gateways use it too, so it counts
// only if the host is known to be a registry.
const harborNotFoundCode = "NOT_FOUND"

// isNotFoundCode reports whether code is an error code of the host for missing content.
func (r *repository) isNotFoundCode(code string) bool {
	return slices.Contains(notFoundCodes, code) || code == harborNotFoundCode && r.host.evidence.registry.Load()
}

// loginCodes are the error codes with which registries request a login.
var loginCodes = []string{"UNAUTHORIZED", "DENIED"}

// codeOf returns the first code of an error document, or "" for any other body.
func codeOf(body []byte) string {
	var document errorDocument
	if json.Unmarshal(body, &document) != nil || len(document.Errors) == 0 {
		return ""
	}
	return document.Errors[0].Code
}

// errorKind returns the kind of a failure. The registry's error code takes precedence over
// the status. explained reports whether the registry itself sent an error document, and
// notFound whether its code stands for missing content.
func errorKind(resp *http.Response, code, message string, explained, notFound bool, method string) error {
	switch status := resp.StatusCode; {
	case isImmutableTag(status, code, message):
		return registry.ErrTagImmutable
	case method == http.MethodPut && (code == "MANIFEST_BLOB_UNKNOWN" || code == "BLOB_UNKNOWN" || code == "MANIFEST_UNKNOWN"):
		return registry.ErrMissingContent
	case code == "MANIFEST_INVALID" || code == "MANIFEST_UNVERIFIED":
		return registry.ErrInvalidManifest
	case code == "DIGEST_INVALID" || code == "SIZE_INVALID":
		return registry.ErrMismatch
	case status == http.StatusUnauthorized:
		return registry.ErrUnauthorized
	case status == http.StatusNotFound && (notFound || method == http.MethodHead):
		return registry.ErrNotFound
	case status == http.StatusNotFound && code == "UNAUTHORIZED", status == http.StatusNotFound && code == "DENIED":
		return registry.ErrDenied
	case status == http.StatusMethodNotAllowed || status == http.StatusNotImplemented || code == "UNSUPPORTED":
		return registry.ErrUnsupported
	case status == http.StatusTooManyRequests || code == "TOOMANYREQUESTS":
		return registry.ErrRateLimited
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == 499,
		status == 500, status == 502, status == 503, status == 504, status >= 520 && status <= 529:
		return registry.ErrUnavailable
	case explained && status >= 500:
		return registry.ErrUnavailable
	case status == http.StatusNotFound, status >= 500, status < 400, status == http.StatusBadRequest && !explained && method != http.MethodHead:
		return registry.ErrProtocol
	}
	return registry.ErrDenied
}

// isImmutableTag reports whether a registry refused to move a tag. ECR sends the name of an
// exception, Harbor and Quay send text, and others send a conflict.
func isImmutableTag(status int, code, message string) bool {
	if strings.Contains(message+code, "ImageTagAlreadyExists") {
		return true
	}
	switch status {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusConflict, http.StatusPreconditionFailed:
		return strings.Contains(strings.ToLower(message), "immutable") || code == "TAG_INVALID" && status != http.StatusBadRequest ||
			code == "TAG_INVALID" && strings.Contains(strings.ToLower(message), "exist")
	}
	return false
}

// notARegistryHint is the advice for responses that do not look like a registry's.
var notARegistryHint = registry.DefaultHint(registry.ErrProtocol)

// isStorageFull reports whether a registry failed because its storage is full: with a 507,
// or with the operating system's message for a full disk.
func isStorageFull(e *registry.Error) bool {
	return e.Status == http.StatusInsufficientStorage || strings.Contains(strings.ToLower(e.Message), "no space left")
}

// quotaPattern matches what registries report when a project or an account is full.
var quotaPattern = regexp.MustCompile(`(?i)\b(quotas?|limits?|exceed(s|ed|ing)?)\b`)

// deniedHint returns the advice for a 403 and names the login that was used. The registry
// may have explained the 403 or not.
func (r *repository) deniedHint(writing bool) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.resolvedCredential == nil:
		return "The registry did not ask who it is, so that no login was sent. A policy, or something before the registry, may refuse this to everybody: ask those who run it."
	case writing:
		return r.resolvedCredential.AdviceTo(r.host.name, "If they may not write to this repository, give them the right to push there, or use others.")
	}
	return r.resolvedCredential.AdviceTo(r.host.name, "If they may not do this in this repository, give them the right to, or use others.")
}

// hint returns advice for a failed request.
func (r *repository) hint(e *registry.Error) string {
	host := r.host.name
	writing := strings.HasPrefix(e.Op, "upload") || strings.HasPrefix(e.Op, "push")
	switch {
	case strings.HasSuffix(host, ".amazonaws.com") && errors.Is(e.Kind, registry.ErrNotFound) && writing:
		return "ECR does not create repositories by itself: create this one first. In Terraform that is aws_ecr_repository, and the destination refers to it."
	case errors.Is(e.Kind, registry.ErrNotFound) && writing:
		return "The registry does not have this repository and did not create it. Create it first, or look at its name."
	case errors.Is(e.Kind, registry.ErrNotFound) && e.Op == "list the tags":
		return "Look at the repository's name. Some registries answer like this too where the credentials may not see it."
	case errors.Is(e.Kind, registry.ErrNotFound):
		return "Look at the repository's name and the tag or digest. Some registries answer like this too where the credentials may not see the repository."
	case errors.Is(e.Kind, registry.ErrRateLimited):
		return "The registry limits how much an address or account may ask for. Whoever is logged in may have more, and a mirror of your own has no limit. Try again later, or set " +
			registry.Setting(host, "max_concurrent_requests = 4, requests_per_second = 5") + "."
	case errors.Is(e.Kind, registry.ErrTagImmutable):
		return registry.DefaultHint(e.Kind)
	case e.Status == http.StatusBadRequest && r.host.origin.Scheme == "http" && strings.Contains(strings.ToLower(e.Message), "https"):
		return "The registry wants TLS and was asked in plain HTTP. Set " + registry.Setting(host, "plain_http = false") + "."
	case e.Status == http.StatusProxyAuthRequired:
		return "A proxy on the way wants a login: put it into HTTP_PROXY, as in http://user:password@proxy:3128, or name the registry's host in NO_PROXY."
	case e.Status == http.StatusMethodNotAllowed && writing:
		return "The registry takes no uploads: it is read-only, or a mirror of another one. Copy to the one behind it, or have uploads allowed there. If it is neither, look at host and port."
	case e.Status == http.StatusRequestEntityTooLarge && writing:
		return "The registry, or a proxy before it, takes no request as large as this one. Have its limit raised: in nginx that is client_max_body_size."
	case errors.Is(e.Kind, registry.ErrDenied) && quotaPattern.MatchString(e.Message):
		return "What the registry says sounds like a quota or a limit: have it raised, or make room there."
	case errors.Is(e.Kind, registry.ErrMismatch) && writing:
		return "The registry says that what arrived does not have this digest. It had it when it was sent: something on the way changes it, or the registry's storage does. " +
			"Try again, take a proxy out of the way, or ask those who run the registry."
	case errors.Is(e.Kind, registry.ErrUnsupported) && e.Code == "":
		return notARegistryHint
	case errors.Is(e.Kind, registry.ErrDenied) && e.Status == http.StatusForbidden:
		return r.deniedHint(writing)
	case errors.Is(e.Kind, registry.ErrUnavailable) && isStorageFull(e):
		return "The registry has no space left: those who run it have to make some, for example with a garbage collection."
	case errors.Is(e.Kind, registry.ErrUnavailable) && e.Code != "":
		return "The registry itself failed. Try again later, and ask those who run it if it stays like this."
	case errors.Is(e.Kind, registry.ErrUnavailable):
		return "The registry is not well. Try again later."
	}
	return registry.DefaultHint(e.Kind)
}
