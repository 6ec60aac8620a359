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
	// minSharedRate is the rate, in bytes per second, below which a copy that waits
	// for a blob of another copy uploads it from its own source.
	minSharedRate = 64 << 10
	// sharedInterval is how often a waiting copy compares the rate, and sharedWindow the
	// time over which it does.
	sharedInterval = time.Second
	sharedWindow   = 5 * time.Second
)

// blobTable records, for the whole process, which repositories of a host hold a
// blob and which uploads of it are in progress, so that a blob is sent to a host
// once: a copy into the same repository shares the upload, and one into another
// repository mounts the blob when it is there.
type blobTable struct {
	mu    sync.Mutex
	blobs map[blobKey]*locations
}

type blobKey struct {
	host   string
	digest digest.Digest
}

// locations are where a blob of one host is. A process keeps one for each blob, so it
// has maps and channels only while they are needed.
type locations struct {
	repositories []string              // repositories that hold it, in order
	leases       map[string]*blobLease // uploads in progress, by repository
	changed      chan struct{}         // closed by the next change, nil if nothing waits
}

// wait returns a channel that is closed by the next change.
func (at *locations) wait() <-chan struct{} {
	if at.changed == nil {
		at.changed = make(chan struct{})
	}
	return at.changed
}

// set records whether a repository holds the blob.
func (at *locations) set(name string, holds bool) {
	switch i, known := slices.BinarySearch(at.repositories, name); {
	case holds && !known:
		at.repositories = slices.Insert(at.repositories, i, name)
	case !holds && known:
		at.repositories = slices.Delete(at.repositories, i, i+1)
	}
}

func newBlobTable() *blobTable { return &blobTable{blobs: map[blobKey]*locations{}} }

// blobLease is the right to upload a blob to a repository.
type blobLease struct {
	table *blobTable
	at    *locations
	host  string // of the destination
	name  string // the repository
	// source is the host that the blob is read from, and copy describes the copy.
	source, copy string
	// from is a repository of the host that holds the blob, "" if none is known.
	from string
	// read counts the bytes that were read of it.
	read atomic.Int64
	// reading runs while its source opens or sends it, and sending while a request
	// that sends it to the destination is in flight.
	reading, sending registry.Stopwatch
}

// blobRequest describes a blob that a copy needs in a repository.
type blobRequest struct {
	blobKey
	name         string // the repository
	source, copy string // as in blobLease
	from         string // a repository of the host that the caller knows to hold it
}

// lease waits until the blob is in the repository, and returns nil, or until the
// caller has to upload it. It does not wait for a copy that failed, and not for one
// that reads from another source at less than minSharedRate: the progress of a
// copy depends on its own hosts only. The error is a *registry.BusyError if the
// context ends before.
func (t *blobTable) lease(ctx context.Context, q blobRequest) (*blobLease, error) {
	began := time.Now()
	var watched *blobLease
	var seen leaseProgress
	slow := map[*blobLease]bool{}
	for {
		mine, other, changed := t.try(q, slow)
		if other == nil {
			if watched != nil {
				recordSharedWait(ctx, watched, began)
			}
			return mine, nil
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
				seen = now // a source that was fast before may be slow now
			}
		}
	}
}

// leaseProgress is how far an upload has come.
type leaseProgress struct {
	at          time.Time
	read        int64
	destination time.Duration // for which the destination alone was waited for
}

func (c *blobLease) progress() leaseProgress {
	return leaseProgress{time.Now(), c.read.Load(), max(0, c.sending.Total()-c.reading.Total())}
}

// slowSince reports whether the upload was slower than minSharedRate since it had
// come so far. The time in which its destination took or committed the content does
// not count, because a copy that waits depends on the same destination. The time in
// which it waited for a slot counts: uploads from slow sources come last.
func (c *blobLease) slowSince(seen leaseProgress) bool {
	now := c.progress()
	took := now.at.Sub(seen.at) - max(0, now.destination-seen.destination)
	return took >= sharedInterval/2 && float64(now.read-seen.read) < minSharedRate*took.Seconds()
}

// waited records a wait for the upload of another copy.
func recordSharedWait(ctx context.Context, other *blobLease, began time.Time) {
	registry.RecordWait(ctx, registry.Delay{Reason: registry.WaitShared, Host: other.host, Holder: other.copy}, time.Since(began))
}

// try returns a lease, or nil if the repository has the blob. Otherwise it returns
// the upload to wait for and a channel that is closed on the next change. It does
// not wait for slow uploads.
func (t *blobTable) try(q blobRequest, slow map[*blobLease]bool) (mine, other *blobLease, changed <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := t.at(q.blobKey)
	if _, held := slices.BinarySearch(at.repositories, q.name); held {
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
				return nil, other, at.wait() // to mount the blob from there
			}
		}
	}
	mine = &blobLease{table: t, at: at, host: q.host, name: q.name, source: q.source, copy: q.copy, from: from}
	if at.leases == nil {
		at.leases = map[string]*blobLease{}
	}
	at.leases[q.name] = mine // in place of a slow one
	return mine, nil, nil
}

// at returns what is known of a blob. Called with mu held.
func (t *blobTable) at(k blobKey) *locations {
	if t.blobs[k] == nil {
		t.blobs[k] = &locations{}
	}
	return t.blobs[k]
}

// end ends a lease and wakes the copies that wait for the blob.
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

// counted wraps open so that the lease measures how its content is read.
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

type countedReader struct {
	io.ReadCloser
	lease *blobLease
}

func (r *countedReader) Read(p []byte) (int, error) {
	r.lease.reading.Start()
	n, err := r.ReadCloser.Read(p)
	r.lease.reading.Stop()
	r.lease.read.Add(int64(n))
	return n, err
}

// set records whether a repository holds a blob.
func (t *blobTable) set(k blobKey, name string, holds bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.at(k).set(name, holds)
}
