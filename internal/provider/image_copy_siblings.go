package provider

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// Limits for reading the indexes of a repository, to find the manifests that they reference. No
// manifest is deleted in a repository that exceeds them.
const (
	maxIndexes     = 1000
	maxIndexBytes  = 64 << 20
	maxIndexDepth  = 8
	maxIndexesRead = 8 // concurrently
)

// siblings are the tags of a repository that are not removed, grouped by digest.
type siblings map[digest.Digest]sibling

// sibling is a manifest that other tags name.
type sibling struct {
	mediaType string // empty if unknown
	tags      []string
}

// add adds a tag. It ignores a tag without a digest, which does not exist.
func (s siblings) add(tag string, target tagTarget) {
	if target.digest == "" {
		return
	}
	known := s[target.digest]
	if known.mediaType == "" {
		known.mediaType = target.mediaType
	}
	known.tags = append(known.tags, tag)
	s[target.digest] = known
}

// keepReasons returns the reason for each manifest that must not be deleted: a tag names it, or
// an index that a tag names references it, directly or through nested indexes.
func (s siblings) keepReasons(ctx context.Context, repository registry.Repository, manifests []digest.Digest) (map[digest.Digest]string, error) {
	kept := map[digest.Digest]string{}
	for _, manifest := range manifests {
		if other, named := s[manifest]; named {
			kept[manifest] = "is also named by other tags: " + joinNames(other.tags)
		}
	}
	walk := indexWalk{repository: repository, manifests: manifests, kept: kept, seen: map[digest.Digest]bool{}}
	var level []indexed
	for _, d := range sortedDigests(s) {
		if mayBeIndex(s[d].mediaType) {
			level = append(level, indexed{digest: d, tags: joinNames(s[d].tags)})
		}
	}
	for depth := 0; len(level) > 0 && len(kept) < len(manifests) && walk.doubt == ""; depth++ {
		if depth == maxIndexDepth {
			walk.doubt = fmt.Sprintf("indexes are nested deeper than %d", maxIndexDepth)
			break
		}
		var err error
		if level, err = walk.readLevel(ctx, level); err != nil {
			return nil, err
		}
	}
	for _, manifest := range manifests {
		if kept[manifest] == "" && walk.doubt != "" {
			kept[manifest] = "may be part of an index that another tag names: " + walk.doubt
		}
	}
	return kept, nil
}

func sortedDigests(s siblings) []digest.Digest {
	var all []digest.Digest
	for d := range s {
		all = append(all, d)
	}
	slices.Sort(all)
	return all
}

// mayBeIndex reports whether a manifest with the given media type may reference other
// manifests. An empty media type is unknown.
func mayBeIndex(mediaType string) bool { return mediaType == "" || registry.IsIndex(mediaType) }

// indexed is an index to read, with the tags that lead to it.
type indexed struct {
	digest digest.Digest
	tags   string
	nested bool // referenced by another index
}

// indexWalk reads the indexes of a repository level by level.
type indexWalk struct {
	repository registry.Repository
	manifests  []digest.Digest

	mu    sync.Mutex
	kept  map[digest.Digest]string
	seen  map[digest.Digest]bool
	bytes int
	doubt string // why a manifest may be referenced although no index was found
}

// readLevel reads one level of indexes and returns the next one.
func (w *indexWalk) readLevel(ctx context.Context, level []indexed) (next []indexed, err error) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxIndexesRead)
	for _, index := range level {
		if w.shouldRead(index.digest) {
			group.Go(func() error {
				children, err := w.children(ctx, index)
				w.mu.Lock()
				defer w.mu.Unlock()
				next = append(next, children...)
				return err
			})
		}
	}
	if err := group.Wait(); err != nil {
		return nil, registry.WithSide(err, registry.Destination)
	}
	return next, nil
}

// shouldRead reports whether an index still has to be read, and marks it as read.
func (w *indexWalk) shouldRead(d digest.Digest) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.seen[d] || w.doubt != "":
		return false
	case len(w.seen) == maxIndexes || w.bytes > maxIndexBytes:
		w.doubt = fmt.Sprintf("there are more indexes than are read (%d, or %d MiB)", maxIndexes, maxIndexBytes>>20)
		return false
	}
	w.seen[d] = true
	return true
}

// children reads one index, records which manifests it references, and returns its nested
// indexes.
func (w *indexWalk) children(ctx context.Context, index indexed) (nested []indexed, err error) {
	m, err := w.repository.GetManifest(ctx, index.digest.String())
	var contents registry.Contents
	if err == nil {
		contents, err = m.Parse()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bytes += len(m.Content)
	switch {
	case errors.Is(err, registry.ErrNotFound) && index.nested: // nothing can be pulled through an index that does not exist
		return nil, nil
	case errors.Is(err, registry.ErrNotFound):
		w.doubt = fmt.Sprintf("%s, which is named by %s, is not there yet", index.digest, index.tags)
		return nil, nil
	case errors.Is(err, registry.ErrInvalidManifest), errors.Is(err, registry.ErrLimit), errors.Is(err, registry.ErrMismatch):
		w.doubt = fmt.Sprintf("%s, which is named by %s, cannot be read", index.digest, index.tags)
		return nil, nil
	case err != nil:
		return nil, err
	}
	for _, child := range contents.Manifests {
		if slices.Contains(w.manifests, child.Digest) && w.kept[child.Digest] == "" {
			w.kept[child.Digest] = "is part of an index that other tags name: " + index.tags
		}
		if mayBeIndex(child.MediaType) {
			nested = append(nested, indexed{child.Digest, index.tags, true})
		}
	}
	return nested, nil
}
