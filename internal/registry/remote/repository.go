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

// repository is one repository of a registry.
type repository struct {
	client  *Client
	host    *host
	refHost string // the host as the reference has it
	path    string
	access  Access

	mu    sync.Mutex
	found *auth.Credential
	shown []auth.Secret // what was sent last as Authorization, for masking
}

var _ registry.Repository = (*repository)(nil)

// maxShown is how many different tokens are remembered to have been sent: as many
// as may be under way to a host by default. Who wants a new one each time does not
// get all of them kept.
const maxShown = defaultConcurrency

// Name returns host/repository with the canonical host; see Client.CanonicalHost.
func (r *repository) Name() string { return r.host.name + "/" + r.path }

// Host returns the canonical host.
func (r *repository) Host() string { return r.host.name }

// credential looks up who asks, once for the life of the repository: operations
// are shorter than the credentials that helpers give.
func (r *repository) credential(ctx context.Context) (auth.Credential, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.found == nil {
		c, err := r.client.credentials.Credential(ctx, r.refHost, r.path)
		if err != nil {
			return auth.Credential{}, err
		}
		r.found = &c
		// Once for the host, however many of its repositories use it.
		if r.client.loggedCredentials.first(r.host.name + "\n" + c.Kind() + "\n" + c.Source) {
			r.client.options.Logger.DebugContext(ctx, "credentials chosen", "host", r.host.name, "used", c.Kind(), "from", c.Source)
		}
	}
	return *r.found, nil
}

// showed remembers what was sent to prove who asks: a server can repeat it
// wherever it likes.
func (r *repository) recordSent(authorization string) {
	_, value, _ := strings.Cut(authorization, " ")
	if value == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	secret := auth.Secret(value)
	r.shown = append(slices.DeleteFunc(r.shown, func(s auth.Secret) bool { return s == secret }), secret)
	if len(r.shown) > maxShown {
		r.shown = slices.Delete(r.shown, 0, 1)
	}
}

// url is a place below the repository's own, such as "manifests/latest".
func (r *repository) url(path string) *url.URL {
	u := *r.host.origin
	u.Path = "/v2/" + r.path + "/" + path
	return &u
}

// scopes are what most requests need: one token for all that is done here.
func (r *repository) scopes() []auth.Scope {
	if r.access == Push {
		return []auth.Scope{{Repository: r.path, Actions: []string{"pull", "push"}}}
	}
	return []auth.Scope{{Repository: r.path, Actions: []string{"pull"}}}
}

// deleteScopes are what deleting needs besides: a manifest, a tag, or an upload that is given up, for which the
// original registry wants the action "delete" too.
func (r *repository) deleteScopes() []auth.Scope {
	return []auth.Scope{{Repository: r.path, Actions: []string{"pull", "push", "delete"}}}
}

// algorithm is the one that a reference's digest is in, "" for a tag.
func algorithm(reference string) digest.Algorithm {
	if d := digest.Digest(reference); strings.Contains(reference, ":") && d.Validate() == nil {
		return d.Algorithm()
	}
	return ""
}

// manifestRequest is a request for what a tag or digest names. It always says
// what it accepts.
func (r *repository) manifestRequest(op, method, reference string) request {
	return request{
		op: op, object: "manifest", about: reference, method: method,
		url:    r.url("manifests/" + reference),
		header: http.Header{"Accept": {strings.Join(registry.ManifestMediaTypes(), ", ")}},
		scopes: r.scopes(),
		ok:     []int{http.StatusOK},
	}
}

// tagGrammar is a whole tag (OCI distribution specification, "Pulling
// manifests").
var tagGrammar = regexp.MustCompile(`^` + reference.TagRegexp.String() + `$`)

// checkReference refuses what is neither a tag nor a digest before it becomes
// part of a URL.
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
