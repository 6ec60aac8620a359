package remote

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

const (
	// largeBlob is from where on it is worth a request to find out whether a
	// blob is there when a host's 202 may not mean that it is missing.
	largeBlob = 1 << 20
	// cancelTimeout is how long giving up an upload may take, whatever became
	// of the copy.
	cancelTimeout = 5 * time.Second
)

// PutBlob asks the registry to mount the blob, from where it is known to be or
// else from this repository itself, which answers at once whether it is there:
// 201 means yes, 202 opens the upload that is then needed (OCI distribution
// specification, "Mounting a blob from another repository").
func (r *repository) PutBlob(ctx context.Context, d registry.Descriptor, content registry.Content) (registry.Outcome, error) {
	if err := registry.ValidateDescriptor(d); err != nil {
		return "", err
	}
	outcome := registry.Copied
	err := r.client.retry(ctx, func(attempt int) error {
		session, there, err := r.offer(ctx, d, content)
		if err != nil || session == nil {
			outcome = there
			return err
		}
		if err = r.send(ctx, session, d, content, attempt > 1); err != nil {
			r.cancel(ctx, session)
		}
		return err
	})
	var failed contentError
	if errors.As(err, &failed) {
		return "", failed.error
	}
	if err != nil {
		return "", err
	}
	return outcome, nil
}

// offer finds out whether the blob is there or can be mounted, and opens an
// upload where it is not.
func (r *repository) offer(ctx context.Context, d registry.Descriptor, content registry.Content) (*url.URL, registry.Outcome, error) {
	if content.Distrust {
		session, err := r.begin(ctx, d)
		return session, "", err
	}
	from, fromSelf := strings.TrimPrefix(content.From, r.host.name+"/"), false
	if from == "" || from == r.path || !r.host.seen.mountable(from, r.path) {
		from, fromSelf = r.path, true
	}
	if r.host.seen.habit() == mountBlind {
		if r.has(ctx, d) {
			return nil, registry.Present, nil
		}
		session, err := r.begin(ctx, d)
		return session, "", err
	}
	// A 202 of a host that never said 201 may be that of one that does not
	// mount. For a large blob that is worth knowing, and is asked meanwhile.
	there := make(chan bool, 1)
	if r.host.seen.habit() == mountUnknown && d.Size >= largeBlob && fromSelf {
		go func() { there <- r.has(ctx, d) }()
	} else {
		there <- false
	}
	session, err := r.mount(ctx, d, from, fromSelf)
	present := <-there
	switch {
	case err != nil:
		return nil, "", err
	case session == nil && fromSelf:
		return nil, registry.Present, nil
	case session == nil:
		return nil, registry.Mounted, nil
	case present, !fromSelf && d.Size >= largeBlob && r.host.seen.habit() != mountTruthful && r.has(ctx, d):
		r.host.seen.setHabit(mountBlind)
		r.cancel(ctx, session)
		return nil, registry.Present, nil
	}
	return session, "", nil
}

// has says whether the blob is known to be here. What cannot be found out is
// not known, and no failure.
func (r *repository) has(ctx context.Context, d registry.Descriptor) bool {
	resp, err := r.attempt(ctx, r.statRequest(http.MethodHead, d.Digest), false)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.ContentLength == d.Size
}

// mount asks to mount a blob. It returns nil where that was done, and an open
// upload where it was not. A refusal of any kind costs this blob a request, and
// nothing else anything.
func (r *repository) mount(ctx context.Context, d registry.Descriptor, from string, fromSelf bool) (*url.URL, error) {
	scopes := r.scopes()
	if !fromSelf {
		scopes = append(scopes, auth.Scope{Repository: from, Actions: []string{"pull"}})
	}
	q := r.beginRequest(d)
	q.op, q.scopes = "mount the blob", scopes
	q.url.RawQuery = url.Values{"mount": {d.Digest.String()}, "from": {from}}.Encode()
	q.ok = append(q.ok, http.StatusCreated)
	resp, err := r.attempt(ctx, q, false)
	if err != nil {
		if ctx.Err() != nil || errors.Is(err, registry.ErrRateLimited) {
			return nil, err
		}
		r.host.seen.mounted(from, r.path, false)
		if fromSelf {
			r.host.seen.setHabit(mountBlind)
		}
		return r.begin(ctx, d)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusCreated {
		if said := digest.Digest(resp.Header.Get("Docker-Content-Digest")); said != "" && !registry.SameDigest(said, d.Digest) {
			return r.begin(ctx, d)
		}
		r.host.seen.setHabit(mountTruthful)
		r.host.seen.mounted(from, r.path, true)
		return nil, nil
	}
	if !fromSelf {
		r.host.seen.mounted(from, r.path, false)
	}
	return r.opened(q, resp)
}

// begin opens an upload.
func (r *repository) begin(ctx context.Context, d registry.Descriptor) (*url.URL, error) {
	q := r.beginRequest(d)
	resp, err := r.attempt(ctx, q, false)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return r.opened(q, resp)
}

func (r *repository) beginRequest(d registry.Descriptor) request {
	return request{
		op: "upload the blob", about: d.Digest.String(), method: http.MethodPost,
		url: r.url("blobs/uploads/"), scopes: r.scopes(), ok: []int{http.StatusAccepted},
	}
}

// opened is where an answer says that its upload goes on.
func (r *repository) opened(q request, resp *http.Response) (*url.URL, error) {
	session, err := target(q.url, resp.Header.Get("Location"))
	return session, r.broken(q, err)
}

// send uploads a blob in one request to an open upload. Nothing is sent before
// the content is there.
func (r *repository) send(ctx context.Context, session *url.URL, d registry.Descriptor, content registry.Content, again bool) error {
	body, err := content.Open(ctx)
	if err != nil {
		return contentError{err}
	}
	q := request{
		op: "upload the blob", about: d.Digest.String(), method: http.MethodPut,
		url: withDigest(session, d.Digest), header: http.Header{"Content-Type": {"application/octet-stream"}},
		content: body, size: d.Size, scopes: r.scopes(),
		ok: []int{http.StatusCreated, http.StatusOK, http.StatusNoContent},
	}
	resp, err := r.attempt(ctx, q, again)
	var e *registry.Error
	if errors.As(err, &e) && e.Repository == r.Name() && (e.Status == http.StatusNotFound || e.Status == http.StatusRequestedRangeNotSatisfiable) {
		// The upload is gone. Another one is opened by trying again.
		gone := *e
		gone.Kind = registry.ErrUnavailable
		return &gone
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if said := digest.Digest(resp.Header.Get("Docker-Content-Digest")); said != "" && !registry.SameDigest(said, d.Digest) {
		return r.broken(q, &registry.Error{Status: resp.StatusCode, Kind: registry.ErrMismatch, Message: "the registry says that it stored " + registry.Clean(said.String())})
	}
	return nil
}

// withDigest adds the digest to the query of an upload's place, which is kept
// byte for byte: it may be signed.
func withDigest(session *url.URL, d digest.Digest) *url.URL {
	u := *session
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += "digest=" + url.QueryEscape(d.String())
	return &u
}

// cancel gives an upload up, as well as it can, so that the registry does not
// keep what nobody completes (OCI distribution specification, "Canceling a
// blob upload"). It works also when the copy was cancelled.
func (r *repository) cancel(ctx context.Context, session *url.URL) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), cancelTimeout)
	defer stop()
	q := request{
		op: "give up the upload", method: http.MethodDelete, url: session, scopes: r.scopes(),
		ok: []int{http.StatusNoContent, http.StatusOK, http.StatusAccepted},
	}
	resp, err := r.attempt(ctx, q, false)
	if err != nil {
		r.client.options.Logger.DebugContext(ctx, "an upload could not be given up", "repository", r.Name(), "error", err)
		return
	}
	resp.Body.Close()
}

// bytesText is a number of bytes as people read it.
func bytesText(n int64) string {
	if n >= 1<<20 && n%(1<<20) == 0 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d bytes", n)
}
