package layout

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// hashed records which files have the content of their digest. It is shared by all layouts of
// the process, because each copy opens its own Layout and would otherwise read the files again.
// See verifyBlob.
var hashed = hashedFiles{files: map[string]hashedFile{}, busy: map[string]chan struct{}{}}

const (
	// maxHashed is the maximum number of recorded files. When it is reached, all records are
	// discarded.
	maxHashed = 1 << 16
	// settledAfter is how long a file must have been unmodified before it is read, so that its
	// modification time shows any later change. File systems round that time. FAT rounds it to
	// two seconds.
	settledAfter = 2 * time.Second
)

type hashedFiles struct {
	mu    sync.Mutex
	files map[string]hashedFile
	busy  map[string]chan struct{} // files being read, each with a channel that is closed when the read ends
}

// hashedFile is the state of a file when its content was verified or written.
type hashedFile struct {
	stored fs.FileInfo
	at     time.Time // when the read began, or when the file was written
}

// same reports whether two results of Stat describe the same unchanged file.
func (f hashedFile) same(stored fs.FileInfo) bool {
	return f.stored != nil && os.SameFile(f.stored, stored) && f.stored.Size() == stored.Size() && f.stored.ModTime().Equal(stored.ModTime())
}

// settled reports whether the modification time would show a change since f.at.
func (f hashedFile) settled() bool { return f.at.Sub(f.stored.ModTime()) >= settledAfter }

// begin waits until no other caller reads the file. It then reports whether the file is known
// to be intact. If it is not, the caller must read the file and then call end.
func (h *hashedFiles) begin(ctx context.Context, name string, known func(hashedFile) bool) (right bool, end func(), err error) {
	for {
		h.mu.Lock()
		if known(h.files[name]) {
			h.mu.Unlock()
			return true, nil, nil
		}
		reading, busy := h.busy[name]
		if !busy {
			done := make(chan struct{})
			h.busy[name] = done
			h.mu.Unlock()
			return false, func() {
				h.mu.Lock()
				defer h.mu.Unlock()
				delete(h.busy, name)
				close(done)
			}, nil
		}
		h.mu.Unlock()
		select {
		case <-reading:
		case <-ctx.Done():
			return false, nil, canceledError(ctx)
		}
	}
}

// add records a file whose content is intact.
func (h *hashedFiles) add(name string, file hashedFile) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.files) >= maxHashed {
		clear(h.files)
	}
	h.files[name] = file
}

// trust determines which records a check accepts instead of reading the file.
type trust int

const (
	// trustRead accepts a file that this process has read, if its modification time would show
	// a change since then.
	trustRead trust = iota
	// trustWritten also accepts files that this process wrote.
	trustWritten
)

// verifyBlob computes the digest of the file of d, unless hashed has a valid record, and
// returns its size. The error matches registry.ErrNotFound if the file does not exist, and
// registry.ErrMismatch if its content has another digest.
func (l *Layout) verifyBlob(ctx context.Context, d digest.Digest, accept trust) (int64, error) {
	file, err := l.openBlob(d)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	name := l.cacheKey(d)
	right, end, err := hashed.begin(ctx, name, func(known hashedFile) bool {
		return known.same(file.stored) && (accept == trustWritten || known.settled())
	})
	if err != nil || right {
		return file.size, err
	}
	defer end()
	began, digester := time.Now(), d.Algorithm().Digester()
	if _, err := io.Copy(digester.Hash(), &contextReader{ctx: ctx, from: file}); err != nil {
		if ctx.Err() != nil {
			err = canceledError(ctx)
		}
		return 0, err
	}
	if found := digester.Digest(); found != d {
		return 0, &registry.Error{Kind: registry.ErrMismatch, Message: fmt.Sprintf("its bytes have the digest %s", found), Hint: hintDamaged}
	}
	hashed.add(name, hashedFile{stored: file.stored, at: began})
	return file.size, nil
}

// cacheKey returns the key of the file of d in hashed, which is unique within the process.
func (l *Layout) cacheKey(d digest.Digest) string { return l.path + "\x00" + blobPath(d) }
