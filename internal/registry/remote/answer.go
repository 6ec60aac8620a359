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

// answerError makes the error of an answer that is a failure, and closes its
// body. This is the one place where a registry's words become an error: they
// are read under a cap, cleaned, and only an error document of the registry
// itself makes a 404 one of ErrNotFound.
func (r *repository) answerError(ctx context.Context, q request, resp *http.Response) *registry.Error {
	defer resp.Body.Close()
	e := &registry.Error{Op: q.op, Repository: r.Name(), Reference: q.about, Status: resp.StatusCode}
	body, err := readCapped(resp.Body, maxErrorBytes)
	if err != nil && ctx.Err() == nil {
		body = nil // the status says what there is to say
	}
	var document errorDocument
	spoke := json.Unmarshal(body, &document) == nil && len(document.Errors) > 0 && document.Errors[0].Code != ""
	if spoke {
		first := document.Errors[0]
		e.Code, e.Message = registry.Clean(first.Code), registry.Clean(first.Message)
		if detail := registry.Clean(string(first.Detail)); detail != "" && detail != "null" && detail != "{}" {
			e.Message = strings.TrimPrefix(e.Message+" "+detail, " ")
		}
		e.Message = registry.Clean(e.Message)
	} else if text := string(body); strings.TrimSpace(text) != "" {
		e.Message = "what answered is not a registry's error document: " + excerpt(text)
	}
	e.Kind = kindOf(resp, e.Code, e.Message, spoke, q.method)
	if wait := parseRetryAfter(resp.Header.Get("Retry-After"), r.client.options.Now()); wait > 0 {
		e.Err = &waitError{wait}
	}
	e.Hint = r.hint(e)
	return e
}

// excerpt is the start of a text that nobody expected.
func excerpt(text string) string {
	const enough = 200
	clean := registry.Clean(text)
	if len(clean) > enough {
		clean = strings.ToValidUTF8(clean[:enough], "") + "…"
	}
	return strconv.Quote(clean)
}

// kindOf tells what a failure is, by the registry's own code before the status.
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
	case status == http.StatusNotFound && (spoke || method == http.MethodHead):
		return registry.ErrNotFound
	case status == http.StatusNotFound:
		return registry.ErrProtocol
	case status == http.StatusMethodNotAllowed || status == http.StatusNotImplemented || code == "UNSUPPORTED":
		return registry.ErrUnsupported
	case status == http.StatusTooManyRequests || code == "TOOMANYREQUESTS":
		return registry.ErrRateLimited
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == 499,
		status == 500, status == 502, status == 503, status == 504, status >= 520 && status <= 529:
		return registry.ErrUnavailable
	case status >= 500:
		return registry.ErrProtocol
	case status < 400:
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
	var dns *net.DNSError
	var authority x509.UnknownAuthorityError
	var verification *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch text := err.Error(); {
	case errors.Is(err, errStalled):
		e.Hint = "The connection stood still. Look at the network and at the registry's health, then try again."
	case errors.As(err, &dns):
		e.Hint = "The host name could not be found. Look for a typing error in it, and at this machine's DNS."
		if dns.IsNotFound {
			e.Err = permanent{err}
		}
	case errors.As(err, &record) || strings.Contains(text, "server gave HTTP response to HTTPS client"):
		e.Kind, e.Hint = registry.ErrProtocol, "The registry speaks plain HTTP and was asked over HTTPS. If it really has no TLS, set plain_http = true for this host."
	case strings.Contains(text, "malformed HTTP response"):
		e.Kind, e.Hint = registry.ErrProtocol, "The registry did not answer in plain HTTP; it probably wants TLS. Set plain_http = false for this host."
	case errors.As(err, &authority):
		e.Kind, e.Hint = registry.ErrProtocol, "Nobody this machine trusts has signed the registry's certificate. Give the certificate of its authority as ca_certificate for this host."
	case errors.As(err, &verification):
		e.Kind, e.Hint = registry.ErrProtocol, "The registry's certificate is not valid for this host or at this time. Use the name that it was made for, or have it renewed."
	case strings.Contains(text, "connection refused"):
		e.Hint = "Nothing listens there. Look at host and port, and whether the registry is running."
	}
	return e
}

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
	case e.Status == http.StatusBadRequest && strings.Contains(e.Message, "HTTP request to an HTTPS server"):
		return "The registry speaks TLS and was asked in plain HTTP. Set plain_http = false for this host."
	case errors.Is(e.Kind, registry.ErrDenied) && e.Status == http.StatusForbidden && writing:
		return "The credentials may not write to this repository. Give them the right to push there, or use others."
	case errors.Is(e.Kind, registry.ErrDenied) && e.Status == http.StatusForbidden:
		return "The credentials may not do this in this repository. Give them the right to, or use others."
	case errors.Is(e.Kind, registry.ErrProtocol):
		return "What answered does not seem to be a registry: look at the host, the port, and any proxy on the way."
	case errors.Is(e.Kind, registry.ErrUnavailable):
		return "The registry is not well. Try again later."
	}
	return ""
}

func unauthorizedHint(c auth.Credential) string {
	if c.Anonymous() {
		return "The registry wants a login and there was none: " + c.Origin + ". Add one for this host to registries in the provider's configuration, or log in with docker login."
	}
	who := "the credentials"
	if c.Username != "" {
		who = fmt.Sprintf("the user %q", registry.Clean(c.Username))
	}
	return fmt.Sprintf("The registry refused %s from %s. Look at the user name and password or token, whether it has expired, and whether it may use this repository.", who, c.Origin)
}

// notices passes on what a registry says beside its answers: Warning headers
// (OCI distribution specification, "Warnings") and a rate limit that runs low.
func (r *repository) notices(ctx context.Context, header http.Header) {
	for _, value := range header.Values("Warning") {
		if text, ok := strings.CutPrefix(value, "299 - "); ok {
			if unquoted, err := strconv.Unquote(text); err == nil {
				text = unquoted
			}
			r.client.warn(ctx, "%s says: %s", r.host.name, text)
		}
	}
	const low = 10
	remaining, _, _ := strings.Cut(header.Get("RateLimit-Remaining"), ";")
	if left, err := strconv.Atoi(strings.TrimSpace(remaining)); err == nil && left <= low {
		r.client.warn(ctx, "%s allows %d more pulls before its rate limit (limit: %s)", r.host.name, left, header.Get("RateLimit-Limit"))
	}
}
