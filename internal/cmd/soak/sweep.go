package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/registry/storage"
	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"
)

const (
	// sweepTimeout is how long a sweep waits for active requests to end. It blocks new requests
	// meanwhile, and an active request may depend on one of them.
	sweepTimeout = 300 * time.Millisecond
	// maxUploadAge is the age at which incomplete uploads are removed.
	maxUploadAge = 2 * time.Second
)

// sweep collects the garbage of a registry while no requests are active, as distribution
// requires. It removes manifests without a tag, content that no manifest refers to, and old
// uploads. A client between two requests may thus lose content that it has just pushed. It
// returns false if active requests did not end in time.
func (s *server) sweep(ctx context.Context, repositories []string) (bool, error) {
	waitCtx, stop := context.WithTimeout(ctx, sweepTimeout)
	defer stop()
	if s.gate.Acquire(waitCtx, gateSize) != nil {
		return false, nil
	}
	defer s.gate.Release(gateSize)
	empty := true
	for _, name := range repositories {
		exists, err := s.removeUntagged(ctx, name)
		if err != nil {
			return false, fmt.Errorf("remove the untagged manifests of %s: %w", name, err)
		}
		empty = empty && !exists
	}
	if empty {
		return true, nil // MarkAndSweep fails if there are no repositories
	}
	if err := storage.MarkAndSweep(ctx, s.storage, s.content, storage.GCOpts{Quiet: true}); err != nil {
		return false, fmt.Errorf("collect garbage: %w", err)
	}
	s.tokens.revoke() // as if the registry restarted
	storage.PurgeUploads(ctx, s.storage, time.Now().Add(-maxUploadAge), true)
	return true, nil
}

// removeUntagged removes the manifests of a repository that no tag refers to, directly or
// indirectly, and reports whether the repository exists. Referrers are kept if a tag lists
// them.
//
// storage.MarkAndSweep has an option for this, but it does not work as a registry requires. It
// keeps a manifest and removes its blobs from the repository in two cases: if another
// repository has a tag for the manifest, and if this repository never had a tag, as during the
// first copy of an index. The index can then be pushed but not pulled. No client can detect
// this: the registry checks the blobs of a manifest only when it is pushed, and for an index it
// checks only that its manifests exist.
func (s *server) removeUntagged(ctx context.Context, name string) (bool, error) {
	repo, err := s.repository(ctx, name)
	if err != nil {
		return false, err
	}
	tags, err := repo.tags.All(ctx)
	if err != nil && !errors.As(err, new(distribution.ErrRepositoryUnknown)) { // the repository has no tag yet
		return false, err
	}
	kept := map[digest.Digest]bool{}
	for _, tag := range tags {
		d, err := repo.digest(ctx, tag)
		if err == nil {
			err = repo.markReachable(ctx, d, kept)
		}
		if err != nil {
			return false, err
		}
	}
	vacuum := storage.NewVacuum(ctx, s.storage)
	var untagged []digest.Digest
	err = repo.manifests.(distribution.ManifestEnumerator).Enumerate(ctx, func(d digest.Digest) error {
		if !kept[d] {
			untagged = append(untagged, d)
		}
		return nil
	})
	if errors.As(err, new(driver.PathNotFoundError)) {
		return false, nil
	}
	for _, d := range untagged {
		if err == nil {
			err = vacuum.RemoveManifest(name, d, tags)
		}
	}
	return true, err
}

// markReachable adds a manifest and all manifests below it to reached.
func (r repository) markReachable(ctx context.Context, d digest.Digest, reached map[digest.Digest]bool) error {
	c, err := r.read(ctx, d)
	if err != nil {
		return err
	}
	reached[d] = true
	for _, child := range c.Manifests {
		if err := r.markReachable(ctx, child.Digest, reached); err != nil {
			return err
		}
	}
	return nil
}
