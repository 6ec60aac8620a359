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

// How many indexes of a repository are read to find out which manifests they
// list. In a repository with more of them no manifest is deleted.
const (
	maxIndexes     = 1000
	maxIndexBytes  = 64 << 20
	maxIndexDepth  = 8
	maxIndexesRead = 8 // at once
)

// siblings are the tags of a repository that stay, by the digest that they name.
type siblings map[digest.Digest]sibling

// sibling is a manifest that tags of others name.
type sibling struct {
	mediaType string // "" if it is not known
	tags      []string
}

// add adds a tag. One that names nothing is ignored.
func (s siblings) add(tag string, names claim) {
	if names.digest == "" {
		return
	}
	known := s[names.digest]
	if known.mediaType == "" {
		known.mediaType = names.mediaType
	}
	known.tags = append(known.tags, tag)
	s[names.digest] = known
}

// keep returns why manifests must not be deleted, for each that must not: a tag
// names it, or an index lists it that a tag names, directly or through nested
// indexes.
func (s siblings) keep(ctx context.Context, repository registry.Repository, manifests []digest.Digest) (map[digest.Digest]string, error) {
	kept := map[digest.Digest]string{}
	for _, manifest := range manifests {
		if other, named := s[manifest]; named {
			kept[manifest] = "is also named by other tags: " + joinNames(other.tags)
		}
	}
	w := indexWalk{repository: repository, wanted: manifests, kept: kept, seen: map[digest.Digest]bool{}}
	var level []indexed
	for _, d := range sortedDigests(s) {
		if mayBeIndex(s[d].mediaType) {
			level = append(level, indexed{digest: d, tags: joinNames(s[d].tags)})
		}
	}
	for depth := 0; len(level) > 0 && len(kept) < len(manifests) && w.doubt == ""; depth++ {
		if depth == maxIndexDepth {
			w.doubt = fmt.Sprintf("indexes are nested deeper than %d", maxIndexDepth)
			break
		}
		var err error
		if level, err = w.read(ctx, level); err != nil {
			return nil, err
		}
	}
	for _, manifest := range manifests {
		if kept[manifest] == "" && w.doubt != "" {
			kept[manifest] = "may be part of an index that another tag names: " + w.doubt
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

// mayBeIndex reports whether a manifest may list others. "" is a media type that
// is not known.
func mayBeIndex(mediaType string) bool { return mediaType == "" || registry.IsIndex(mediaType) }

// indexed is an index to read, and the tags that it is reached by.
type indexed struct {
	digest digest.Digest
	tags   string
	nested bool // in another index
}

// indexWalk reads the indexes of a repository, level by level.
type indexWalk struct {
	repository registry.Repository
	wanted     []digest.Digest

	mu    sync.Mutex
	kept  map[digest.Digest]string
	seen  map[digest.Digest]bool
	bytes int
	doubt string // why something may be listed all the same
}

// read reads one level and returns the next one.
func (w *indexWalk) read(ctx context.Context, level []indexed) (next []indexed, err error) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxIndexesRead)
	for _, index := range level {
		if w.visit(index.digest) {
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

// visit reports whether an index is to be read now.
func (w *indexWalk) visit(d digest.Digest) bool {
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

// children reads one index, notes which wanted manifests it lists, and returns
// the indexes that it lists.
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
	case errors.Is(err, registry.ErrNotFound) && index.nested: // it lists nothing that could be pulled through it
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
		if slices.Contains(w.wanted, child.Digest) && w.kept[child.Digest] == "" {
			w.kept[child.Digest] = "is part of an index that other tags name: " + index.tags
		}
		if mayBeIndex(child.MediaType) {
			nested = append(nested, indexed{child.Digest, index.tags, true})
		}
	}
	return nested, nil
}
