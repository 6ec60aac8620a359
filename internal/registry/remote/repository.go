package remote

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// repository implements registry.Repository for one repository of a registry.
type repository struct {
	client  *Client
	host    *host
	refHost string // host as written in the reference
	path    string
	access  Access

	mu                 sync.Mutex
	resolvedCredential *auth.Credential
	sentCredentials    []auth.Secret // credentials sent most recently, for redaction
}

var _ registry.Repository = (*repository)(nil)

// maxSentCredentials is how many sent tokens are remembered: the default number of requests in flight
// to a host. The limit bounds memory if a registry requires a new token for each request.
const maxSentCredentials = defaultConcurrency

// Name returns host/repository with the canonical host; see Client.CanonicalHost.
func (r *repository) Name() string { return r.host.name + "/" + r.path }

// Host returns the canonical host.
func (r *repository) Host() string { return r.host.name }

// credential looks up the credentials once for the lifetime of the repository. Operations
// are shorter than the validity of credentials from helpers.
func (r *repository) credential(ctx context.Context) (auth.Credential, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.resolvedCredential == nil {
		c, err := r.client.credentials.Credential(ctx, r.refHost, r.path)
		if err != nil {
			return auth.Credential{}, err
		}
		r.resolvedCredential = &c
		// Log once per host, even if several of its repositories use the credentials.
		if r.client.loggedCredentials.first(r.host.name + "\n" + c.Kind() + "\n" + c.Source) {
			r.client.options.Logger.DebugContext(ctx, "credentials chosen", "host", r.host.name, "used", c.Kind(), "from", c.Source)
		}
	}
	return *r.resolvedCredential, nil
}

// recordSent remembers a sent credential so that it can be redacted if the server echoes
// it.
func (r *repository) recordSent(authorization string) {
	_, value, _ := strings.Cut(authorization, " ")
	if value == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	secret := auth.Secret(value)
	r.sentCredentials = append(slices.DeleteFunc(r.sentCredentials, func(s auth.Secret) bool { return s == secret }), secret)
	if len(r.sentCredentials) > maxSentCredentials {
		r.sentCredentials = slices.Delete(r.sentCredentials, 0, 1)
	}
}

// url returns the URL of a path below the repository, such as "manifests/latest".
func (r *repository) url(path string) *url.URL {
	u := *r.host.origin
	u.Path = "/v2/" + r.path + "/" + path
	return &u
}

// scopes returns the token scopes for most requests: one token covers all operations.
func (r *repository) scopes() []auth.Scope {
	if r.access == Push {
		return []auth.Scope{{Repository: r.path, Actions: []string{"pull", "push"}}}
	}
	return []auth.Scope{{Repository: r.path, Actions: []string{"pull"}}}
}

// deleteScopes returns the token scopes for deleting a manifest or a tag, and for canceling
// an upload. Docker's registry also requires the action "delete" for these.
func (r *repository) deleteScopes() []auth.Scope {
	return []auth.Scope{{Repository: r.path, Actions: []string{"pull", "push", "delete"}}}
}

// algorithm returns the algorithm of a digest, or "" for a tag.
func algorithm(reference string) digest.Algorithm {
	if d := digest.Digest(reference); strings.Contains(reference, ":") && d.Validate() == nil {
		return d.Algorithm()
	}
	return ""
}

// manifestRequest returns a request for the manifest of a tag or digest. It always sends an
// Accept header.
func (r *repository) manifestRequest(op, method, reference string) request {
	return request{
		op: op, object: "manifest", reference: reference, method: method,
		url:    r.url("manifests/" + reference),
		header: http.Header{"Accept": {strings.Join(registry.ManifestMediaTypes(), ", ")}},
		scopes: r.scopes(),
		ok:     []int{http.StatusOK},
	}
}

// tagGrammar matches a complete tag (OCI distribution specification, "Pulling manifests").
var tagGrammar = regexp.MustCompile(`^` + reference.TagRegexp.String() + `$`)

// checkReference returns an error if s is neither a tag nor a digest, before s becomes part
// of a URL.
func checkReference(s string) error {
	if strings.Contains(s, ":") {
		return registry.ValidateDigest(digest.Digest(s))
	}
	if !tagGrammar.MatchString(s) {
		return &registry.Error{Op: "read the tag", Reference: registry.Sanitize(s), Kind: registry.ErrInvalidReference,
			Message: "a tag has at most 128 letters, digits, underscores, dots and dashes, and does not start with a dot or dash",
			Hint:    registry.DefaultHint(registry.ErrInvalidReference)}
	}
	return nil
}
