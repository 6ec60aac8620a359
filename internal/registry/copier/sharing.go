package copier

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// blobTable knows, for everything in the process, which repositories of a host
// hold a blob and which are about to, so that a blob goes to a host once: who
// needs it in the same repository shares the upload, who needs it in another
// one waits for it and mounts it from there.
type blobTable struct {
	mu    sync.Mutex
	blobs map[blobKey]*whereabouts
}

type blobKey struct {
	host   string
	digest digest.Digest
}

type whereabouts struct {
	held map[string]bool          // repositories that hold it
	busy map[string]chan struct{} // repositories that are about to; closed when that ends
}

func newBlobTable() *blobTable { return &blobTable{blobs: map[blobKey]*whereabouts{}} }

// claim is the right to bring a blob to a repository.
type claim struct {
	table *blobTable
	at    *whereabouts
	name  string
	// from is a repository of the host that holds the blob, "" for none known.
	from string
}

// claim waits until the blob is in the repository, and returns nil, or until it
// is up to the caller to bring it there. Somebody else's failure makes it the
// caller's turn. from is a repository of the host that the caller knows to hold
// the blob, so that there is no other one to wait for. The error is the
// context's.
func (t *blobTable) claim(ctx context.Context, host, name string, d digest.Digest, from string) (*claim, error) {
	for {
		c, ready := t.try(host, name, d, from)
		if ready == nil {
			return c, nil
		}
		if err := wait(ctx, ready); err != nil {
			return nil, err
		}
	}
}

// wait tells the trace how long it took.
func wait(ctx context.Context, ready <-chan struct{}) error {
	began := time.Now()
	defer func() { registry.TraceOf(ctx).Wait(registry.Wait{For: registry.WaitShared, Took: time.Since(began)}) }()
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// try is claim without the waiting: what to wait for is its second result.
func (t *blobTable) try(host, name string, d digest.Digest, from string) (*claim, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := t.at(host, d)
	if at.held[name] {
		return nil, nil
	}
	if wait, ok := at.busy[name]; ok {
		return nil, wait
	}
	if from == "" && len(at.held) > 0 {
		from = slices.Min(slices.Collect(maps.Keys(at.held)))
	}
	if from == "" {
		for _, wait := range at.busy {
			return nil, wait // to mount it from there when it has arrived
		}
	}
	at.busy[name] = make(chan struct{})
	return &claim{table: t, at: at, name: name, from: from}, nil
}

// at is what is known of a blob. Called with mu held.
func (t *blobTable) at(host string, d digest.Digest) *whereabouts {
	k := blobKey{host, d}
	if t.blobs[k] == nil {
		t.blobs[k] = &whereabouts{held: map[string]bool{}, busy: map[string]chan struct{}{}}
	}
	return t.blobs[k]
}

// settle ends a claim and wakes who waits for it.
func (c *claim) settle(arrived bool) {
	c.table.mu.Lock()
	defer c.table.mu.Unlock()
	if arrived {
		c.at.held[c.name] = true
	}
	close(c.at.busy[c.name])
	delete(c.at.busy, c.name)
}

// set notes that a repository holds a blob, or that it cannot be believed to.
func (t *blobTable) set(host, name string, d digest.Digest, held bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if at := t.at(host, d); held {
		at.held[name] = true
	} else {
		delete(at.held, name)
	}
}
