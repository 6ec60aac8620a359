package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
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
	Errors []struct {
		Code    string          `json:"code"`
		Message string          `json:"message"`
		Detail  json.RawMessage `json:"detail"`
	} `json:"errors"`
}

// maxCode is how many bytes of an error code are kept.
const maxCode = 64

// answerError makes the error of an answer that is a failure, and closes its
// body. This is the one place where a registry's words become an error: they
// are read under a cap, rid of secrets, cleaned, and only an error document
// makes a 404 one of ErrNotFound.
func (r *repository) answerError(ctx context.Context, q request, resp *http.Response, authorization string) *registry.Error {
	defer resp.Body.Close()
	e := &registry.Error{Op: q.op, Repository: r.Name(), Reference: q.about, Status: resp.StatusCode}
	body, err := readCapped(resp.Body, maxErrorBytes)
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
		first := document.Errors[0]
		detail := mask(string(first.Detail))
		if detail == "null" || detail == "{}" {
			detail = ""
		}
		e.Code, e.Message = shortened(mask(first.Code), maxCode), registry.Clean(join(mask(first.Message), detail))
	} else if text := mask(string(body)); text != "" {
		e.Message = "what answered is not a registry's error document: " + strconv.Quote(shortened(text, maxExcerpt))
	}
	e.Kind = kindOf(resp, e.Code, e.Message, spoke && r.host.isOrigin(resp.Request.URL), q.method)
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
// cancelled, and a 404 means little without the document that goes with it.
func (r *repository) brokenOff(ctx context.Context, q request, resp *http.Response, err error) *registry.Error {
	if err == nil || errors.Is(err, registry.ErrLimit) || ctx.Err() == nil && resp.StatusCode != http.StatusNotFound {
		return nil
	}
	e := connectionError(err)
	e.Op, e.Repository, e.Reference, e.Status = q.op, r.Name(), q.about, resp.StatusCode
	return e
}

// masked is e without what a server may have seen of ours and may repeat in any
// place that becomes part of an error: a header, a URL, a name.
func (r *repository) masked(q request, e registry.Error) registry.Error {
	hide := func(text string) string { return r.mask(text, q.url, "") }
	e.Code, e.Message, e.Reference, e.Hint = hide(e.Code), hide(e.Message), hide(e.Reference), hide(e.Hint)
	if e.Err != nil {
		if text := hide(e.Err.Error()); text != e.Err.Error() {
			e.Err = maskedError{e.Err, text}
		}
	}
	return e
}

// mask hides what a server may have seen of ours and may repeat: the credential
// and, of the URL that it was asked by, what can be a signature.
func (r *repository) mask(text string, asked *url.URL, authorization string) string {
	_, token, _ := strings.Cut(authorization, " ")
	secrets := []auth.Secret{auth.Secret(token)}
	r.mu.Lock()
	if c := r.found; c != nil {
		secrets = append(secrets, c.Password, c.IdentityToken, c.RegistryToken)
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

// connectionError makes the error of a request that was not answered.
func connectionError(err error) *registry.Error {
	e := &registry.Error{Kind: registry.ErrUnavailable, Err: err}
	dns, unresolved := errors.AsType[*net.DNSError](err)
	switch text := err.Error(); {
	case errors.Is(err, errStalled):
		e.Hint = "The connection stood still. Look at the network and at the registry's health, then try again."
	case errors.As(err, new(permanent)):
	case unresolved && dns.IsNotFound:
		e.Err, e.Hint = permanent{err}, "The host name could not be found. Look for a typing error in it, and at this machine's DNS."
	case unresolved:
		e.Hint = "The host name could not be looked up. Look at this machine's DNS."
	case strings.Contains(text, "refused"): // Windows has its own words around it
		e.Hint = "Nothing listens there. Look at host and port, and whether the registry is running."
	default:
		if hint := misfit(err); hint != "" {
			e.Kind, e.Hint = registry.ErrProtocol, hint
		}
	}
	return e
}

// misfit says what to do where the two ends do not understand each other, so
// that trying again is in vain; "" where that is not why there was no answer.
// net/http has no types for what it does not understand.
func misfit(err error) string {
	text := err.Error()
	switch {
	case errors.As(err, new(tls.RecordHeaderError)) || strings.Contains(text, "server gave HTTP response to HTTPS client"):
		return "The registry speaks plain HTTP and was asked over HTTPS. If it really has no TLS, set plain_http = true for this host."
	case strings.Contains(text, "malformed HTTP"):
		return "What answered does not speak plain HTTP; it probably wants TLS. Set plain_http = false for this host."
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return "Nobody this machine trusts has signed the registry's certificate. Give the certificate of its authority as ca_certificate for this host."
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return "The registry's certificate is not valid for this host or at this time. Use the name that it was made for, or have it renewed."
	case refusedHandshake(err):
		return "The registry ended the TLS handshake. It may want a client certificate: set client_certificate and client_key for this host. Or it has no TLS version in common with this program, which needs 1.2 or later."
	case strings.Contains(text, "server response headers exceeded"), strings.Contains(text, "too many 1xx"), strings.Contains(text, "malformed MIME header"),
		strings.Contains(text, "bad Content-Length"), strings.Contains(text, "unsupported transfer encoding"):
		return notARegistry
	}
	return ""
}

// refusedHandshake says whether the other end refused TLS with this one. An
// internal error of its own passes.
func refusedHandshake(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error" && !strings.Contains(op.Error(), "internal error")
}

// notARegistry is the advice for answers that make no sense.
const notARegistry = "What answered does not seem to be a registry: look at the host, the port, and any proxy on the way."

// permanent marks the cause of an error that trying again does not mend.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// hint says what a person can do about a refusal, where that is known.
func (r *repository) hint(e *registry.Error) string {
	host := r.host.name
	writing := strings.HasPrefix(e.Op, "upload") || strings.HasPrefix(e.Op, "push")
	switch {
	case strings.HasSuffix(host, ".amazonaws.com") && errors.Is(e.Kind, registry.ErrNotFound) && writing:
		return "ECR does not create repositories by itself: create this one first, for example with aws_ecr_repository, and let the destination refer to it."
	case errors.Is(e.Kind, registry.ErrNotFound) && writing:
		return "The registry does not have this repository and did not create it. Create it first, or look at its name."
	case errors.Is(e.Kind, registry.ErrNotFound):
		return "Look at the repository's name and the tag or digest. Some registries answer like this too where the credentials may not see the repository."
	case errors.Is(e.Kind, registry.ErrRateLimited) && host == registry.DockerHub:
		return "Docker Hub limits how much an address or account may pull. Log in with an account, wait, or copy from a mirror of your own."
	case errors.Is(e.Kind, registry.ErrRateLimited):
		return "The registry wants fewer requests. Try again later, or set max_concurrent_requests or requests_per_second for this host."
	case errors.Is(e.Kind, registry.ErrTagImmutable):
		return "The tag exists and the registry's settings do not let it move. Promote to a new tag, or allow this one to be changed."
	case e.Status == http.StatusBadRequest && r.host.origin.Scheme == "http" && strings.Contains(strings.ToLower(e.Message), "https"):
		return "The registry speaks TLS and was asked in plain HTTP. Set plain_http = false for this host."
	case errors.Is(e.Kind, registry.ErrDenied) && e.Status == http.StatusForbidden && writing:
		return "The credentials may not write to this repository. Give them the right to push there, or use others."
	case errors.Is(e.Kind, registry.ErrDenied) && e.Status == http.StatusForbidden:
		return "The credentials may not do this in this repository. Give them the right to, or use others."
	case errors.Is(e.Kind, registry.ErrProtocol):
		return notARegistry
	case errors.Is(e.Kind, registry.ErrUnavailable):
		return "The registry is not well. Try again later."
	}
	return ""
}

// unauthorizedHint says which credential was used and where it came from. A
// user name without a password may be the secret itself.
func unauthorizedHint(c auth.Credential) string {
	if c.Anonymous() {
		return "The registry wants a login and there was none: " + c.Origin + ". Add one for this host to registries in the provider's configuration, or log in with docker login."
	}
	who := "the credentials"
	switch {
	case c.RegistryToken != "":
		who = "the registry token"
	case c.IdentityToken != "":
		who = "the identity token"
	case c.Username != "" && c.Password != "":
		who = fmt.Sprintf("the user %q", registry.Clean(c.Username))
	}
	return fmt.Sprintf("The registry refused %s from %s. Look whether it is right and has not expired, and whether it may use this repository.", who, c.Origin)
}
