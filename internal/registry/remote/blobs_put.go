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
	// largeBlob is from where on it is worth a request to find out whether a
	// blob is there when a host's 202 may not mean that it is missing.
	largeBlob = 1 << 20
	// cancelTimeout is how long giving up an upload may take, and hurriedTimeout
	// how long all of it may take once the copy itself was cancelled.
	cancelTimeout = 5 * time.Second
	gracePeriod   = 700 * time.Millisecond
)

// PutBlob asks the registry to mount the blob, from where it is known to be or
// else from this repository itself, which answers at once whether it is there:
// 201 means yes, 202 opens the upload that is then needed (OCI distribution
// specification, "Mounting a blob from another repository").
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
				r.client.options.Logger.DebugContext(ctx, "the registry does not take a blob like this, and is sent it another way", "digest", d.Digest, "error", err)
				modeChanges++
			case errors.As(err, new(renewedError)) && refreshes < maxRefreshes:
				refreshes++
			case errors.Is(err, errEvicted) && ctx.Err() == nil:
				p.evictions++
				r.client.options.Logger.DebugContext(ctx, "the upload gave its request slot to another copy and is sent again", "digest", d.Digest)
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

// blobPut is one blob on its way into a repository.
type blobPut struct {
	*repository
	desc          registry.Descriptor
	content       registry.Content
	graceCtx      context.Context //nolint:containedctx // it outlives the copy's, to leave no upload open
	attempts      int
	sent          bool     // once: what is there by now may be what was sent
	session       *session // the open one, of this attempt or of the one before
	evictions     int      // how often an upload gave its slot to another flow
	notFoundCount int      // how often an upload was answered a 404 that gives no reason
}

// again says whether what is done now was done before and failed.
func (p *blobPut) isRetry() bool { return p.attempts > 1 }

// try brings the blob once, by the cheapest way there is. A session that it did
// not complete it leaves to the next attempt.
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

// probeMountSupport asks to mount a small blob where it was completed just now, which shows
// whether the host's 202 means that a blob is missing: the large ones that come
// are spared a request each. What it does not show costs nothing.
func (p *blobPut) probeMountSupport(ctx context.Context) {
	if p.desc.Size >= largeBlob || !p.host.seen.shouldProbeMount() {
		return
	}
	if open, _, _ := p.mount(ctx, p.path); open != nil {
		p.host.seen.recordMountIgnored()
		p.cancelUpload(ctx, open)
	}
}

// mountOrStart finds out whether the blob is there or can be mounted, and opens an
// upload where it is not.
func (p *blobPut) mountOrStart(ctx context.Context) (open *session, outcome registry.Outcome, err error) {
	if p.content.Force {
		open, err = p.startUpload(ctx)
		return open, "", err
	}
	from := strings.TrimPrefix(p.content.From, p.host.name+"/")
	if from != "" && from != p.path && p.host.seen.canMount(from, p.path) {
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

// unlessThere is for an upload that was opened in place of a mount from another
// repository. That says nothing of what is here.
func (p *blobPut) cancelIfPresent(ctx context.Context, open *session) (*session, registry.Outcome, error) {
	if p.desc.Size >= largeBlob && p.blobExists(ctx) {
		p.cancelUpload(ctx, open)
		return nil, registry.AlreadyExists, nil
	}
	return open, "", nil
}

// mountSelf asks for what is in this very repository. A 202 of a host that
// never said 201 may be that of one that does not mount: where the blob is
// large enough for it to matter, or the host known to be like that, it is asked
// meanwhile whether the blob is there.
func (p *blobPut) mountSelf(ctx context.Context) (open *session, outcome registry.Outcome, err error) {
	support := p.host.seen.mountState()
	found := make(chan bool, 1)
	if support == mountIgnored || support == mountUnknown && p.desc.Size >= largeBlob {
		p.host.seen.recordCheck()
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
		p.host.seen.recordMountIgnored()
		p.cancelUpload(ctx, open)
		fallthrough
	case exists:
		return nil, registry.AlreadyExists, nil
	}
	return open, "", err
}

// has says whether the blob is known to be here. What cannot be found out is
// not known, and no failure.
func (p *blobPut) blobExists(ctx context.Context) bool {
	resp, err := p.attempt(ctx, p.statRequest(http.MethodHead, p.desc.Digest), p.isRetry())
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.ContentLength == p.desc.Size
}

// mount asks to mount the blob. It returns the upload that was opened instead,
// or nothing where that was refused too: a refusal of any kind costs this blob
// a request, and nothing else anything.
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
			p.host.seen.recordNotMounted(from, p.path, true)
		}
		return nil, false, nil
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusAccepted {
		p.host.seen.recordNotMounted(from, p.path, false)
		open, err = p.newSession(q, resp)
		return open, false, err
	}
	if reported := digest.Digest(resp.Header.Get("Docker-Content-Digest")); reported != "" && !registry.SameDigest(reported, p.desc.Digest) {
		return nil, false, nil
	}
	p.host.seen.recordMounted(from, p.path)
	return nil, true, nil
}

// startUpload opens an upload.
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
		op: "upload the blob", about: p.desc.Digest.String(), method: http.MethodPost,
		url: p.url("blobs/uploads/"), scopes: p.scopes(), ok: []int{http.StatusAccepted}, graceCtx: p.graceCtx,
	}
}

// withGracePeriod is a context that ends a moment after another, for what must not be
// left half done. Its end must be called.
func withGracePeriod(ctx context.Context) (graceCtx context.Context, end func()) {
	graceCtx, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	detach := context.AfterFunc(ctx, func() {
		_ = sleep(graceCtx, gracePeriod)
		stop(context.Cause(ctx))
	})
	return graceCtx, func() { detach(); stop(nil) }
}

// cancelUpload gives an upload up, as well as it can, so that the registry does not
// keep what nobody completes (OCI distribution specification, "Canceling a blob
// upload"). It works also when the copy was cancelled, and is then short.
func (p *blobPut) cancelUpload(ctx context.Context, open *session) {
	cancelCtx, stop := context.WithTimeout(context.WithoutCancel(ctx), cancelTimeout)
	defer stop()
	detach := context.AfterFunc(p.graceCtx, stop) //nolint:contextcheck // it outlives ctx by a moment
	defer detach()
	q := request{
		op: "give up the upload", about: p.desc.Digest.String(), method: http.MethodDelete, url: open.url, scopes: p.deleteScopes(),
		ok: []int{http.StatusNoContent, http.StatusOK, http.StatusAccepted},
	}
	resp, err := p.attempt(cancelCtx, q, false)
	if err != nil && !isResponseError(err) && cancelCtx.Err() == nil {
		// Connections end with what was cancelled, and this may have been one.
		resp, err = p.attempt(cancelCtx, q, true)
	}
	if err != nil {
		p.client.options.Logger.DebugContext(ctx, "an upload could not be given up", "repository", p.Name(), "error", err)
		return
	}
	resp.Body.Close()
}
