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

// errorDocument is what a registry explains itself with (OCI distribution
// specification, "Error Codes").
type errorDocument struct {
	Errors []errorEntry `json:"errors"`
}

type errorEntry struct {
	Code    string          `json:"code"`
	Message string          `json:"message"`
	Detail  json.RawMessage `json:"detail"`
}

const (
	// maxCode is how many bytes of an error code are kept.
	maxCode = 64
	// maxEntries is how many of a document's errors are shown. The first says
	// what kind of failure it is.
	maxEntries = 3
)

// words are the code and the message of an entry, fit to be shown.
func (e errorEntry) text(redact func(string) string) (code, message string) {
	detail := redact(string(e.Detail))
	// What was wanted of a repository, as JSON, tells a person nothing.
	accessDenied := e.Code == "UNAUTHORIZED" || e.Code == "DENIED"
	if detail == "null" || detail == "{}" || accessDenied && strings.ContainsAny(detail[:min(1, len(detail))], "{[") {
		detail = ""
	}
	return truncate(redact(e.Code), maxCode), registry.Sanitize(joinText(redact(e.Message), detail))
}

// others are the further errors of a document, each behind a semicolon.
func (d errorDocument) additional(redact func(string) string) string {
	var b strings.Builder
	for _, entry := range d.Errors[1:min(len(d.Errors), maxEntries)] {
		if text := joinText(entry.text(redact)); text != "" {
			b.WriteString("; " + text)
		}
	}
	return b.String()
}

// answerError makes the error of an answer that is a failure, and closes its
// body. This is the one place where a registry's words become an error: they
// are read under a cap, rid of secrets, cleaned, and only an error document
// makes a 404 one of ErrNotFound.
func (r *repository) answerError(ctx context.Context, q request, resp *http.Response, authorization string) *registry.Error {
	defer resp.Body.Close()
	e := &registry.Error{Op: q.op, Repository: r.Name(), Reference: q.about, Status: resp.StatusCode}
	body, err := registry.ReadLimited(resp.Body, maxErrorBytes)
	if truncated := r.truncatedError(ctx, q, resp, err); truncated != nil {
		return truncated
	}
	if err != nil || resp.Header.Get("Content-Encoding") != "" {
		body = nil // the status says what there is to say
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

// truncatedError is the error of a failure that did not come to its end, where its
// status alone does not say enough: nothing does when the operation was
// cancelled, and a 404, or a 400 to what is not an upload, means little without the
// document that goes with it.
func (r *repository) truncatedError(ctx context.Context, q request, resp *http.Response, err error) *registry.Error {
	vague := resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusBadRequest && q.upload == nil
	if err == nil || errors.Is(err, registry.ErrLimit) || ctx.Err() == nil && !vague {
		return nil
	}
	e := r.host.connectionError(err, resp.Request.URL)
	e.Op, e.Repository, e.Reference, e.Status = q.op, r.Name(), q.about, resp.StatusCode
	if e.Hint == "" && ctx.Err() == nil {
		e.Hint = registry.DefaultHint(e.Kind)
	}
	return e
}

// Redact hides the credentials for the host and the tokens that were sent so far.
func (r *repository) Redact(text string) string { return r.redactFor(text, nil, "") }

// mask hides what a server may have seen of ours, now or before, and may repeat: the
// credentials for the host, the logins of the proxies on the way and, of the URL that
// it was asked by, what can be a signature.
func (r *repository) redactFor(text string, u *url.URL, authorization string) string {
	_, token, _ := strings.Cut(authorization, " ")
	secrets := append([]auth.Secret{auth.Secret(token)}, r.host.secrets()...)
	r.mu.Lock()
	if c := r.found; c != nil {
		secrets = append(secrets, c.Secrets()...)
	}
	secrets = append(secrets, r.shown...)
	r.mu.Unlock()
	if u != nil {
		secrets = append(secrets, querySecrets(u.RawQuery)...)
	}
	secrets = append(secrets, r.client.proxies.sentLogins()...)
	return auth.Redact(text, secrets...)
}

// placeOf is the host of a URL, fit to be shown: a registry can have made the name
// of the place that it points to of what it was sent.
func (r *repository) displayHost(u *url.URL) string {
	if r.host.isOrigin(u) {
		return registry.Sanitize(u.Host)
	}
	return registry.Sanitize(r.Redact(u.Host))
}

// plainQuery are the query parameters that are no secret: we put the first of them
// there, and with the others a storage service is told what to answer as
// Content-Type.
var publicParameters = []string{"digest", "from", "mount", "n", "last", "response-content-type", "rsct"}

// querySecrets are what can be a signature in a query: the values as they are
// written there, what has no name, and all of it. Semicolons separate parameters
// for some servers.
func querySecrets(raw string) []auth.Secret {
	var secrets []auth.Secret
	for _, pair := range strings.FieldsFunc(raw, func(r rune) bool { return r == '&' || r == ';' }) {
		name, value, named := strings.Cut(pair, "=")
		switch {
		case slices.Contains(publicParameters, name):
		case named && strings.Trim(value, "=") != "":
			secrets = append(secrets, auth.Secret(value))
		default: // a value without a name, as likely as the reverse
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

// absences are the codes with which registries say that something is not there
// (OCI distribution specification, "Error Codes"). A 404
// with any other code, or none, says no such thing: gateways have error
// documents too, and some registries answer 404 to those who may not see.
var notFoundCodes = []string{"MANIFEST_UNKNOWN", "NAME_UNKNOWN", "BLOB_UNKNOWN", "BLOB_UPLOAD_UNKNOWN", "TAG_UNKNOWN"}

// notFoundCode is Harbor's code for all of them. Gateways have it too, so that it counts from a registry alone.
const harborNotFoundCode = "NOT_FOUND"

// saysAbsent reports whether an error code of the host says that something is not there.
func (r *repository) isNotFoundCode(code string) bool {
	return slices.Contains(notFoundCodes, code) || code == harborNotFoundCode && r.host.evidence.registry.Load()
}

// refusals are the codes with which registries want a login.
var loginCodes = []string{"UNAUTHORIZED", "DENIED"}

// codeOf returns the first code of an error document, "" for any other body.
func codeOf(body []byte) string {
	var document errorDocument
	if json.Unmarshal(body, &document) != nil || len(document.Errors) == 0 {
		return ""
	}
	return document.Errors[0].Code
}

// kindOf tells what a failure is, by the registry's own code before the status.
// spoke says that the registry itself explained it, and absent that it says that something is not there.
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

// immutable recognises the ways in which registries refuse to move a tag: ECR
// by its exception's name, Harbor and Quay in words, others by a conflict.
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

// notARegistry is the advice for answers that make no sense.
var notARegistryHint = registry.DefaultHint(registry.ErrProtocol)

// noSpace says whether a registry has failed because its storage is full: 507,
// or a 500 with what the system says of a full disk.
func isStorageFull(e *registry.Error) bool {
	return e.Status == http.StatusInsufficientStorage || strings.Contains(strings.ToLower(e.Message), "no space left")
}

// quota finds what registries say where a project or account is full.
var quotaPattern = regexp.MustCompile(`(?i)\b(quotas?|limits?|exceed(s|ed|ing)?)\b`)

// denied says which login a 403 was given to, and what to do. Why it was given the
// registry may have said, or not.
func (r *repository) deniedHint(writing bool) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.found == nil:
		return "The registry did not ask who it is, so that no login was sent. A policy, or something before the registry, may refuse this to everybody: ask those who run it."
	case writing:
		return r.found.AdviceTo(r.host.name, "If they may not write to this repository, give them the right to push there, or use others.")
	}
	return r.found.AdviceTo(r.host.name, "If they may not do this in this repository, give them the right to, or use others.")
}

// hint says what a person can do about a refusal, as far as that is known.
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
