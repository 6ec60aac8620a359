package remote

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

const (
	// largeBlob is the size from which a HEAD request for a blob is worthwhile if a 202
	// from the host may not mean that the blob is missing.
	largeBlob = 1 << 20
	// cancelTimeout bounds how long canceling an upload may take. gracePeriod bounds how
	// long all of it may take after the copy itself was canceled.
	cancelTimeout = 5 * time.Second
	gracePeriod   = 700 * time.Millisecond
)

// PutBlob makes sure that the repository has the blob. Unless content.Force is set, it
// first asks the registry to mount the blob, from content.From or else from this repository
// itself. A 201 means that the blob exists, and a 202 starts the upload session that is
// then needed (OCI distribution specification, "Mounting a blob from another repository").
func (r *repository) PutBlob(ctx context.Context, d registry.Descriptor, content registry.Content) (registry.Outcome, error) {
	if err := registry.ValidateDescriptor(d); err != nil {
		return "", err
	}
	graceCtx, end := withGracePeriod(ctx)
	defer end()
	p := &blobPut{repository: r, desc: d, content: content, graceCtx: graceCtx}
	defer p.cancelSession(ctx)
	var outcome registry.Outcome
	err := r.client.retry(ctx, func(int) (err error) {
		for refreshes, modeChanges := 0, 0; ; {
			outcome, err = p.try(ctx)
			switch {
			case errors.As(err, new(nextModeError)) && modeChanges < maxModeChanges:
				r.client.options.Logger.DebugContext(ctx, "registry rejected the upload mode, trying the next one", "digest", d.Digest, "error", err)
				modeChanges++
			case errors.As(err, new(renewedError)) && refreshes < maxRefreshes:
				refreshes++
			case errors.Is(err, errEvicted) && ctx.Err() == nil:
				p.evictions++
				r.client.options.Logger.DebugContext(ctx, "upload gave its request slot to another copy, retrying", "digest", d.Digest)
			default:
				return err
			}
		}
	})
	if failed, ok := errors.AsType[contentError](err); ok {
		return "", failed.error
	}
	if refused, ok := errors.AsType[renewedError](err); ok {
		return "", refused.refusal
	}
	if refused, ok := errors.AsType[nextModeError](err); ok {
		return "", refused.error
	}
	return outcome, err
}

// blobPut is the state of one PutBlob call.
type blobPut struct {
	*repository
	desc          registry.Descriptor
	content       registry.Content
	graceCtx      context.Context //nolint:containedctx // outlives the copy's context to cancel an open upload
	attempts      int
	sent          bool     // set once content was sent: the blob may exist because of that
	session       *session // open session of this attempt or of the previous one
	evictions     int      // how often the upload gave its slot to another flow
	notFoundCount int      // number of 404 responses to uploads without a reason
}

// isRetry reports whether this is not the first attempt.
func (p *blobPut) isRetry() bool { return p.attempts > 1 }

// try makes one attempt to put the blob, in the cheapest way available. If it fails, it
// leaves an open session to the next attempt.
func (p *blobPut) try(ctx context.Context) (outcome registry.Outcome, err error) {
	p.attempts++
	early := p.openEarly(ctx)
	defer early.discard()
	if !p.resume(ctx) {
		p.cancelSession(ctx)
		if p.session, outcome, err = p.mountOrStart(ctx); err != nil {
			return "", err
		}
	}
	if p.session == nil {
		if p.sent && outcome == registry.AlreadyExists {
			outcome = registry.Copied
		}
		return outcome, nil
	}
	if err := p.send(ctx, p.session, early); err != nil {
		return "", err
	}
	p.session = nil
	p.probeMountSupport(ctx)
	return registry.Copied, nil
}

// probeMountSupport asks the host to mount a small blob that was just uploaded. The
// response shows whether a 202 from the host means that a blob is missing, which saves a
// HEAD request for each large blob that follows. Errors are ignored.
func (p *blobPut) probeMountSupport(ctx context.Context) {
	if p.desc.Size >= largeBlob || !p.host.capabilities.shouldProbeMount() {
		return
	}
	if open, _, _ := p.mount(ctx, p.path); open != nil {
		p.host.capabilities.recordMountIgnored()
		p.cancelUpload(ctx, open)
	}
}

// mountOrStart mounts the blob or starts an upload. It returns a nil session if the
// repository has the blob.
func (p *blobPut) mountOrStart(ctx context.Context) (open *session, outcome registry.Outcome, err error) {
	if p.content.Force {
		open, err = p.startUpload(ctx)
		return open, "", err
	}
	from := strings.TrimPrefix(p.content.From, p.host.name+"/")
	if from != "" && from != p.path && p.host.capabilities.canMount(from, p.path) {
		open, mounted, err := p.mount(ctx, from)
		switch {
		case err != nil:
			return nil, "", err
		case mounted:
			return nil, registry.Mounted, nil
		case open != nil:
			return p.cancelIfPresent(ctx, open)
		}
	}
	return p.mountSelf(ctx)
}

// cancelIfPresent handles an upload that the registry started instead of a mount from
// another repository. That response does not show whether this repository has the blob, so
// a HEAD request checks for a large one.
func (p *blobPut) cancelIfPresent(ctx context.Context, open *session) (*session, registry.Outcome, error) {
	if p.desc.Size >= largeBlob && p.blobExists(ctx) {
		p.cancelUpload(ctx, open)
		return nil, registry.AlreadyExists, nil
	}
	return open, "", nil
}

// mountSelf asks the registry to mount the blob from this repository itself. If the host
// has never responded with 201, a 202 may mean that it does not support mounting. A concurrent
// HEAD request checks for the blob if the blob is large or the host is known to ignore
// mounts.
func (p *blobPut) mountSelf(ctx context.Context) (open *session, outcome registry.Outcome, err error) {
	support := p.host.capabilities.mountState()
	found := make(chan bool, 1)
	if support == mountIgnored || support == mountUnknown && p.desc.Size >= largeBlob {
		p.host.capabilities.recordCheck()
		go func() { found <- p.blobExists(ctx) }()
	} else {
		found <- false
	}
	mounted := false
	if support != mountIgnored {
		open, mounted, err = p.mount(ctx, p.path)
	}
	if err == nil && open == nil && !mounted {
		open, err = p.startUpload(ctx)
	}
	switch exists := <-found; {
	case mounted:
		return nil, registry.AlreadyExists, nil
	case exists && open != nil:
		p.host.capabilities.recordMountIgnored()
		p.cancelUpload(ctx, open)
		fallthrough
	case exists:
		return nil, registry.AlreadyExists, nil
	}
	return open, "", err
}

// blobExists reports whether a HEAD request confirms that the repository has the blob. It
// returns false on errors.
func (p *blobPut) blobExists(ctx context.Context) bool {
	resp, err := p.attempt(ctx, p.statRequest(http.MethodHead, p.desc.Digest), p.isRetry())
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.ContentLength == p.desc.Size
}

// mount asks the registry to mount the blob. It returns the session if the registry started
// an upload instead, and nil if the registry rejected the request. A rejection costs one
// request. It is not an error unless the context ended or a rate limit was reached.
func (p *blobPut) mount(ctx context.Context, from string) (open *session, mounted bool, err error) {
	q := p.startRequest()
	if from != p.path {
		q.scopes = append(q.scopes, auth.Scope{Repository: from, Actions: []string{"pull"}})
	}
	q.url.RawQuery = url.Values{"mount": {p.desc.Digest.String()}, "from": {from}}.Encode()
	q.ok = append(q.ok, http.StatusCreated)
	resp, err := p.attempt(ctx, q, p.isRetry())
	if err != nil {
		if ctx.Err() != nil || errors.Is(err, registry.ErrRateLimited) {
			return nil, false, err
		}
		if e, ok := errors.AsType[*registry.Error](err); ok && e.Status != 0 {
			p.host.capabilities.recordNotMounted(from, p.path, true)
		}
		return nil, false, nil
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusAccepted {
		p.host.capabilities.recordNotMounted(from, p.path, false)
		open, err = p.newSession(q, resp)
		return open, false, err
	}
	if reported := digest.Digest(resp.Header.Get("Docker-Content-Digest")); reported != "" && !registry.SameDigest(reported, p.desc.Digest) {
		return nil, false, nil
	}
	p.host.capabilities.recordMounted(from, p.path)
	return nil, true, nil
}

// startUpload starts an upload session.
func (p *blobPut) startUpload(ctx context.Context) (*session, error) {
	q := p.startRequest()
	resp, err := p.attempt(ctx, q, p.isRetry())
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return p.newSession(q, resp)
}

func (p *blobPut) startRequest() request {
	return request{
		op: "upload the blob", reference: p.desc.Digest.String(), method: http.MethodPost,
		url: p.url("blobs/uploads/"), scopes: p.scopes(), ok: []int{http.StatusAccepted}, graceCtx: p.graceCtx,
	}
}

// withGracePeriod returns a context that is canceled shortly after ctx, so that an open
// upload can be canceled. The caller must call end.
func withGracePeriod(ctx context.Context) (graceCtx context.Context, end func()) {
	graceCtx, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	detach := context.AfterFunc(ctx, func() {
		_ = sleep(graceCtx, gracePeriod)
		stop(context.Cause(ctx))
	})
	return graceCtx, func() { detach(); stop(nil) }
}

// cancelUpload tries to cancel an upload, so that the registry does not keep incomplete
// data (OCI distribution specification, "Canceling a blob upload"). It also works after the
// copy was canceled, within gracePeriod.
func (p *blobPut) cancelUpload(ctx context.Context, open *session) {
	cancelCtx, stop := context.WithTimeout(context.WithoutCancel(ctx), cancelTimeout)
	defer stop()
	detach := context.AfterFunc(p.graceCtx, stop) //nolint:contextcheck // outlives ctx by gracePeriod
	defer detach()
	q := request{
		op: "give up the upload", reference: p.desc.Digest.String(), method: http.MethodDelete, url: open.url, scopes: p.deleteScopes(),
		ok: []int{http.StatusNoContent, http.StatusOK, http.StatusAccepted},
	}
	resp, err := p.attempt(cancelCtx, q, false)
	if err != nil && !isResponseError(err) && cancelCtx.Err() == nil {
		// Canceling a request closes its connection, which may be the one used here.
		resp, err = p.attempt(cancelCtx, q, true)
	}
	if err != nil {
		p.client.options.Logger.DebugContext(ctx, "failed to cancel upload", "repository", p.Name(), "error", err)
		return
	}
	resp.Body.Close()
}
