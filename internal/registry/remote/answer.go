package remote

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
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
func (e errorEntry) words(mask func(string) string) (code, message string) {
	detail := mask(string(e.Detail))
	// What was wanted of a repository, as JSON, tells a person nothing.
	refusal := e.Code == "UNAUTHORIZED" || e.Code == "DENIED"
	if detail == "null" || detail == "{}" || refusal && strings.ContainsAny(detail[:min(1, len(detail))], "{[") {
		detail = ""
	}
	return shortened(mask(e.Code), maxCode), registry.Clean(join(mask(e.Message), detail))
}

// others are the further errors of a document, each behind a semicolon.
func (d errorDocument) others(mask func(string) string) string {
	var b strings.Builder
	for _, entry := range d.Errors[1:min(len(d.Errors), maxEntries)] {
		if text := join(entry.words(mask)); text != "" {
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
	body, err := registry.ReadCapped(resp.Body, maxErrorBytes)
	if broken := r.brokenOff(ctx, q, resp, err); broken != nil {
		return broken
	}
	if err != nil || resp.Header.Get("Content-Encoding") != "" {
		body = nil // the status says what there is to say
	}
	mask := func(text string) string { return registry.Clean(r.mask(text, resp.Request.URL, authorization)) }
	var document errorDocument
	spoke := json.Unmarshal(body, &document) == nil && len(document.Errors) > 0 && document.Errors[0].Code != ""
	if spoke {
		e.Code, e.Message = document.Errors[0].words(mask)
	} else if text := mask(string(body)); text != "" {
		e.Message = "what answered says " + strconv.Quote(shortened(text, maxExcerpt))
	}
	e.Kind = kindOf(resp, e.Code, e.Message, spoke && r.host.isOrigin(resp.Request.URL), q.method)
	if spoke {
		e.Message = registry.Clean(e.Message + document.others(mask))
	}
	if wait := auth.ParseRetryAfter(resp.Header.Get("Retry-After"), r.client.options.Now()); wait > 0 {
		e.Err = auth.WaitError(wait)
	}
	if e.Hint = r.hint(e); !r.host.isOrigin(resp.Request.URL) {
		e.Message = join("from "+registry.Clean(resp.Request.URL.Host)+", where the registry pointed to", e.Message)
		e.Hint = "This is not the registry itself but a place that it sends its clients to, without credentials. If it stays like this, ask those who run the registry."
	}
	return e
}

// brokenOff is the error of a failure that did not come to its end, where its
// status alone does not say enough: nothing does when the operation was
// cancelled, and a 404, or a 400 to what is not an upload, means little without the
// document that goes with it.
func (r *repository) brokenOff(ctx context.Context, q request, resp *http.Response, err error) *registry.Error {
	vague := resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusBadRequest && q.upload == nil
	if err == nil || errors.Is(err, registry.ErrLimit) || ctx.Err() == nil && !vague {
		return nil
	}
	e := r.host.connectionError(err, resp.Request.URL)
	e.Op, e.Repository, e.Reference, e.Status = q.op, r.Name(), q.about, resp.StatusCode
	return e
}

// Mask hides the credential and the tokens that were sent so far.
func (r *repository) Mask(text string) string { return r.mask(text, nil, "") }

// mask hides what a server may have seen of ours and may repeat: the credential,
// the login of a proxy on the way and, of the URL that it was asked by, what can be
// a signature.
func (r *repository) mask(text string, asked *url.URL, authorization string) string {
	_, token, _ := strings.Cut(authorization, " ")
	secrets := []auth.Secret{auth.Secret(token)}
	r.mu.Lock()
	if c := r.found; c != nil {
		secrets = append(secrets, c.Secrets()...)
	}
	secrets = append(secrets, r.shown...)
	r.mu.Unlock()
	if asked != nil {
		query, _ := url.ParseQuery(asked.RawQuery)
		for key, values := range query {
			if !slices.Contains(plainQuery, key) {
				for _, value := range values {
					secrets = append(secrets, auth.Secret(value))
				}
			}
		}
	}
	secrets = append(secrets, r.client.proxyLogin(cmp.Or(asked, r.host.origin))...)
	for _, secret := range secrets {
		// What is inside of JSON may be shown as it came.
		if quoted, err := json.Marshal(secret.Reveal()); err == nil {
			inside := string(quoted[1 : len(quoted)-1])
			secrets = append(secrets, auth.Secret(inside), auth.Secret(strings.ReplaceAll(inside, "/", `\/`)))
		}
	}
	return auth.Mask(text, secrets...)
}

// plainQuery are the query parameters that are no secret: we put them there.
var plainQuery = []string{"digest", "from", "mount", "n", "last"}

// maxExcerpt is how much is shown of a text that nobody expected.
const maxExcerpt = 200

func shortened(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}

// absences are the codes with which registries say that something is not there
// (OCI distribution specification, "Error Codes"; NOT_FOUND is Harbor's). A 404
// with any other code, or none, says no such thing: gateways have error
// documents too, and some registries answer 404 to those who may not see.
var absences = []string{"MANIFEST_UNKNOWN", "NAME_UNKNOWN", "BLOB_UNKNOWN", "BLOB_UPLOAD_UNKNOWN", "TAG_UNKNOWN", "NOT_FOUND"}

// kindOf tells what a failure is, by the registry's own code before the status.
// spoke says that the registry itself explained it.
func kindOf(resp *http.Response, code, message string, spoke bool, method string) error {
	switch status := resp.StatusCode; {
	case immutable(status, code, message):
		return registry.ErrTagImmutable
	case method == http.MethodPut && (code == "MANIFEST_BLOB_UNKNOWN" || code == "BLOB_UNKNOWN" || code == "MANIFEST_UNKNOWN"):
		return registry.ErrMissingContent
	case code == "MANIFEST_INVALID" || code == "MANIFEST_UNVERIFIED":
		return registry.ErrInvalidManifest
	case code == "DIGEST_INVALID" || code == "SIZE_INVALID":
		return registry.ErrMismatch
	case status == http.StatusUnauthorized:
		return registry.ErrUnauthorized
	case status == http.StatusNotFound && (spoke && slices.Contains(absences, code) || method == http.MethodHead):
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
	case spoke && status >= 500:
		return registry.ErrUnavailable
	case status == http.StatusNotFound, status >= 500, status < 400, status == http.StatusBadRequest && !spoke && method != http.MethodHead:
		return registry.ErrProtocol
	}
	return registry.ErrDenied
}

// immutable recognises the ways in which registries refuse to move a tag: ECR
// by its exception's name, Harbor and Quay in words, others by a conflict.
func immutable(status int, code, message string) bool {
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
var notARegistry = registry.Advice(registry.ErrProtocol)

// noSpace says whether a registry has failed because its storage is full: 507,
// or a 500 with what the system says of a full disk.
func noSpace(e *registry.Error) bool {
	return e.Status == http.StatusInsufficientStorage || strings.Contains(strings.ToLower(e.Message), "no space left")
}

// denied says which login a 403 was given to, and what to do.
func (r *repository) denied(writing bool) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.found == nil:
		return "The registry did not ask who it is, so that no login was sent. A policy, or something before the registry, refuses this to everybody: ask those who run it."
	case writing:
		return r.found.AdviceTo(r.host.name, "They may not write to this repository. Give them the right to push there, or use others.")
	}
	return r.found.AdviceTo(r.host.name, "They may not do this in this repository. Give them the right to, or use others.")
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
	case errors.Is(e.Kind, registry.ErrNotFound):
		return "Look at the repository's name and the tag or digest. Some registries answer like this too where the credentials may not see the repository."
	case errors.Is(e.Kind, registry.ErrRateLimited):
		return "The registry limits how much an address or account may ask for. Whoever is logged in may have more, and a mirror of your own has no limit. Try again later, or set " +
			registry.Setting(host, "max_concurrent_requests = 4, requests_per_second = 5") + "."
	case errors.Is(e.Kind, registry.ErrTagImmutable):
		return registry.Advice(e.Kind)
	case e.Status == http.StatusBadRequest && r.host.origin.Scheme == "http" && strings.Contains(strings.ToLower(e.Message), "https"):
		return "The registry wants TLS and was asked in plain HTTP. Set " + registry.Setting(host, "plain_http = false") + "."
	case e.Status == http.StatusProxyAuthRequired:
		return "A proxy on the way wants a login: put it into HTTP_PROXY, as in http://user:password@proxy:3128, or name the registry's host in NO_PROXY."
	case e.Status == http.StatusMethodNotAllowed && writing:
		return "The registry takes no uploads: it is read-only, or a mirror of another one. Copy to the one behind it, or have uploads allowed there. If it is neither, look at host and port."
	case e.Status == http.StatusRequestEntityTooLarge && writing:
		return "The registry, or a proxy before it, takes no request as large as this one, and smaller ones were tried where there are any. Have its limit raised: of an nginx that is client_max_body_size."
	case errors.Is(e.Kind, registry.ErrUnsupported) && e.Code == "":
		return notARegistry
	case errors.Is(e.Kind, registry.ErrDenied) && e.Status == http.StatusForbidden:
		return r.denied(writing)
	case errors.Is(e.Kind, registry.ErrUnavailable) && noSpace(e):
		return "The registry has no space left: those who run it have to make some, for example with a garbage collection."
	case errors.Is(e.Kind, registry.ErrUnavailable) && e.Code != "":
		return "The registry itself failed. Try again later, and ask those who run it if it stays like this."
	case errors.Is(e.Kind, registry.ErrUnavailable):
		return "The registry is not well. Try again later."
	}
	return registry.Advice(e.Kind)
}
