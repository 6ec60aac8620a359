package copier

import (
	"context"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

const (
	// minSharedRate is the rate in bytes per second below which a copy does not wait for the
	// upload of another copy. It uploads the blob from its own source instead.
	minSharedRate = 64 << 10
	// sharedInterval is how often a waiting copy checks the rate, and sharedWindow is the
	// time over which the rate is measured.
	sharedInterval = time.Second
	sharedWindow   = 5 * time.Second
)

// blobTable records which repositories of a host have a blob and which uploads of it are in
// progress, across all copies of a Copier. Thus a blob is sent to a host only once. A copy
// into the same repository waits for the upload, and a copy into another repository mounts
// the blob afterwards.
type blobTable struct {
	mu    sync.Mutex
	blobs map[blobKey]*locations
}

// blobKey identifies a blob at a host.
type blobKey struct {
	host   string
	digest digest.Digest
}

// locations records which repositories of a host have a blob. There is one for each blob, so
// maps and channels are allocated only while they are needed.
type locations struct {
	repositories []string              // repositories that have it, sorted
	leases       map[string]*blobLease // uploads in progress, by repository
	changed      chan struct{}         // closed by the next change; nil if no copy waits
}

// wait returns a channel that is closed by the next change.
func (at *locations) wait() <-chan struct{} {
	if at.changed == nil {
		at.changed = make(chan struct{})
	}
	return at.changed
}

// set records whether a repository has the blob.
func (at *locations) set(name string, holds bool) {
	switch i, known := slices.BinarySearch(at.repositories, name); {
	case holds && !known:
		at.repositories = slices.Insert(at.repositories, i, name)
	case !holds && known:
		at.repositories = slices.Delete(at.repositories, i, i+1)
	}
}

// newBlobTable returns an empty table.
func newBlobTable() *blobTable { return &blobTable{blobs: map[blobKey]*locations{}} }

// blobLease is the right to upload a blob to a repository.
type blobLease struct {
	table *blobTable
	at    *locations
	host  string // the destination host
	name  string // the destination repository
	// source is the host that the blob is read from. copy describes the copy that uploads
	// it, for errors of other copies.
	source, copy string
	// from is a repository of the host that has the blob, or "" if none is known.
	from string
	// read counts the bytes of the blob that were read from the source.
	read atomic.Int64
	// reading runs while the blob is opened at or read from its source. sending runs while
	// content is sent to the destination or committed there.
	reading, sending registry.Stopwatch
}

// blobRequest describes a blob that a copy needs in a repository.
type blobRequest struct {
	blobKey
	name         string // the destination repository
	source, copy string // as in blobLease
	from         string // a repository of the host that is known to have it, or ""
}

// lease waits until the repository has the blob, and returns nil, or until the caller has to
// upload it. It does not wait for a copy that failed, or for one that reads from another
// source at less than minSharedRate, so that a copy depends only on its own hosts. If the
// context ends first, the error is a *registry.BusyError.
func (t *blobTable) lease(ctx context.Context, q blobRequest) (*blobLease, error) {
	began := time.Now()
	var watched *blobLease
	var seen leaseProgress
	slow := map[*blobLease]bool{}
	for {
		acquired, other, changed := t.try(q, slow)
		if other == nil {
			if watched != nil {
				recordSharedWait(ctx, watched, began)
			}
			return acquired, nil
		}
		if other != watched {
			watched, seen = other, other.progress()
		}
		timer := time.NewTimer(sharedInterval)
		select {
		case <-changed:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			recordSharedWait(ctx, other, began)
			return nil, &registry.BusyError{For: "the blob", Holder: other.copy, Took: time.Since(began), Err: context.Cause(ctx)}
		case <-timer.C:
			slow[other] = other.source != q.source && other.slowSince(seen)
			if now := other.progress(); now.at.Sub(seen.at) >= sharedWindow {
				seen = now // a fast source may have become slow
			}
		}
	}
}

// leaseProgress is the progress of an upload at a point in time.
type leaseProgress struct {
	at          time.Time
	read        int64
	destination time.Duration // time spent waiting only for the destination
}

// progress returns the current progress of the upload.
func (c *blobLease) progress() leaseProgress {
	return leaseProgress{time.Now(), c.read.Load(), max(0, c.sending.Total()-c.reading.Total())}
}

// slowSince reports whether the upload was slower than minSharedRate since seen was measured.
// Time that the destination took to receive or commit content does not count, because the
// waiting copy depends on the same destination. Time spent waiting for a request slot counts,
// because uploads from slow sources get slots last.
func (c *blobLease) slowSince(seen leaseProgress) bool {
	now := c.progress()
	took := now.at.Sub(seen.at) - max(0, now.destination-seen.destination)
	return took >= sharedInterval/2 && float64(now.read-seen.read) < minSharedRate*took.Seconds()
}

// recordSharedWait records the time spent waiting for the upload of another copy.
func recordSharedWait(ctx context.Context, other *blobLease, began time.Time) {
	registry.RecordWait(ctx, registry.Delay{Reason: registry.WaitShared, Host: other.host, Holder: other.copy}, time.Since(began))
}

// try returns a lease, or only nil values if the repository has the blob. Otherwise it returns
// the upload to wait for and a channel that is closed by the next change. It never returns an
// upload in slow.
func (t *blobTable) try(q blobRequest, slow map[*blobLease]bool) (lease, other *blobLease, changed <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := t.at(q.blobKey)
	if _, present := slices.BinarySearch(at.repositories, q.name); present {
		return nil, nil, nil
	}
	if other = at.leases[q.name]; other != nil && !slow[other] {
		return nil, other, at.wait()
	}
	from := q.from
	if from == "" && len(at.repositories) > 0 {
		from = at.repositories[0]
	}
	if from == "" {
		for _, name := range slices.Sorted(maps.Keys(at.leases)) {
			if other = at.leases[name]; !slow[other] {
				return nil, other, at.wait() // mount the blob from there afterwards
			}
		}
	}
	lease = &blobLease{table: t, at: at, host: q.host, name: q.name, source: q.source, copy: q.copy, from: from}
	if at.leases == nil {
		at.leases = map[string]*blobLease{}
	}
	at.leases[q.name] = lease // replaces a slow upload
	return lease, nil, nil
}

// at returns the locations of a blob, which it creates if needed. The caller must hold mu.
func (t *blobTable) at(k blobKey) *locations {
	if t.blobs[k] == nil {
		t.blobs[k] = &locations{}
	}
	return t.blobs[k]
}

// end removes a lease and wakes the copies that wait for the blob.
func (c *blobLease) end(uploaded bool) {
	c.table.mu.Lock()
	defer c.table.mu.Unlock()
	if uploaded {
		c.at.set(c.name, true)
	}
	if c.at.leases[c.name] == c {
		if delete(c.at.leases, c.name); len(c.at.leases) == 0 {
			c.at.leases = nil
		}
	}
	if c.at.changed != nil {
		close(c.at.changed)
		c.at.changed = nil
	}
}

// countReads wraps open to measure how the content is read.
func (c *blobLease) countReads(open func(context.Context) (io.ReadCloser, error)) func(context.Context) (io.ReadCloser, error) {
	return func(ctx context.Context) (io.ReadCloser, error) {
		c.reading.Start()
		defer c.reading.Stop()
		content, err := open(ctx)
		if err != nil {
			return nil, err
		}
		return &countedReader{ReadCloser: content, lease: c}, nil
	}
}

// countedReader adds the time and bytes of reads to its lease.
type countedReader struct {
	io.ReadCloser
	lease *blobLease
}

// Read implements io.Reader.
func (r *countedReader) Read(p []byte) (int, error) {
	r.lease.reading.Start()
	n, err := r.ReadCloser.Read(p)
	r.lease.reading.Stop()
	r.lease.read.Add(int64(n))
	return n, err
}

// set records whether a repository has a blob.
func (t *blobTable) set(k blobKey, name string, holds bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.at(k).set(name, holds)
}
