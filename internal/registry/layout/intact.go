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

// hashed caches which files were found to have the content of their digest, for all
// layouts of the process: each copy opens the layout for itself, and a file need not
// be read again for each of them. See intact.
var hashed = hashedFiles{files: map[string]hashedFile{}, busy: map[string]chan struct{}{}}

const (
	// maxHashed is how many files are remembered. Then all are forgotten.
	maxHashed = 1 << 16
	// settledAfter is how long a file was not modified before it was read, so that a
	// later change shows in its modification time. File systems round that time, FAT
	// to two seconds.
	settledAfter = 2 * time.Second
)

type hashedFiles struct {
	mu    sync.Mutex
	files map[string]hashedFile
	busy  map[string]chan struct{} // of files that are read at the moment, closed at the end
}

// hashedFile is a file as it was when its content was found right or written.
type hashedFile struct {
	stored fs.FileInfo
	at     time.Time // when it began to be read, or was written
}

// same reports whether two results of Stat describe the same unchanged file.
func (f hashedFile) same(stored fs.FileInfo) bool {
	return f.stored != nil && os.SameFile(f.stored, stored) && f.stored.Size() == stored.Size() && f.stored.ModTime().Equal(stored.ModTime())
}

// settled reports whether a change since then would show.
func (f hashedFile) settled() bool { return f.at.Sub(f.stored.ModTime()) >= settledAfter }

// begin waits until no other caller reads a file, and then reports whether it is
// known to be right; otherwise the caller reads it, and calls end.
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
			return false, nil, stopped(ctx)
		}
	}
}

// add remembers a file whose content is right.
func (h *hashedFiles) add(name string, file hashedFile) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.files) >= maxHashed {
		clear(h.files)
	}
	h.files[name] = file
}

// trust selects what a check accepts without reading the file.
type trust int

const (
	// trustRead: that the content was right when this process read the file, if a
	// change since then would show.
	trustRead trust = iota
	// trustWritten also accepts files that this process wrote.
	trustWritten
)

// intact hashes the file of a digest, unless a cached result is still valid,
// and returns its size. The error matches registry.ErrNotFound if there is no
// file, and registry.ErrMismatch if the content has another digest.
func (l *Layout) intact(ctx context.Context, d digest.Digest, believes trust) (int64, error) {
	file, err := l.content(d)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	name := l.keyOf(d)
	right, end, err := hashed.begin(ctx, name, func(known hashedFile) bool {
		return known.same(file.stored) && (believes == trustWritten || known.settled())
	})
	if err != nil || right {
		return file.size, err
	}
	defer end()
	began, digester := time.Now(), d.Algorithm().Digester()
	if _, err := io.Copy(digester.Hash(), &cancellable{ctx: ctx, from: file}); err != nil {
		if ctx.Err() != nil {
			err = stopped(ctx)
		}
		return 0, err
	}
	if found := digester.Digest(); found != d {
		return 0, &registry.Error{Kind: registry.ErrMismatch, Message: fmt.Sprintf("its bytes have the digest %s", found), Hint: hintDamaged}
	}
	hashed.add(name, hashedFile{stored: file.stored, at: began})
	return file.size, nil
}

// keyOf is the name of a digest's file in the process.
func (l *Layout) keyOf(d digest.Digest) string { return l.path + "\x00" + fileOf(d) }
