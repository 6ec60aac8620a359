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
	// sweepWaits is how long a sweep lets requests wait until those under way
	// have ended. One of them may need one of those that wait.
	sweepWaits = 300 * time.Millisecond
	// uploadsLast is how old an upload gets that is not completed.
	uploadsLast = 2 * time.Second
)

// sweep collects the garbage of a registry while none of its requests is under
// way, as distribution wants it: manifests without a tag, what no manifest names,
// and old uploads. Who is between two requests meets a registry that lost what
// it just had. It returns false where requests went on for too long.
func (s *server) sweep(ctx context.Context, repositories []string) (bool, error) {
	waiting, stop := context.WithTimeout(ctx, sweepWaits)
	defer stop()
	if s.gate.Acquire(waiting, everybody) != nil {
		return false, nil
	}
	defer s.gate.Release(everybody)
	empty := true
	for _, name := range repositories {
		there, err := s.dropUntagged(ctx, name)
		if err != nil {
			return false, fmt.Errorf("remove the untagged manifests of %s: %w", name, err)
		}
		empty = empty && !there
	}
	if empty {
		return true, nil // what distribution fails to find
	}
	if err := storage.MarkAndSweep(ctx, s.storage, s.content, storage.GCOpts{Quiet: true}); err != nil {
		return false, fmt.Errorf("collect garbage: %w", err)
	}
	s.tokens.revoke() // as after a restart
	storage.PurgeUploads(ctx, s.storage, time.Now().Add(-uploadsLast), true)
	return true, nil
}

// dropUntagged removes the manifests of a repository that none of its tags leads
// to, and says whether there is such a repository. What refers to something stays
// where a tag lists it.
//
// MarkAndSweep can do it too, and does not as a registry must. A manifest stays in
// a repository, while its blobs leave it, where it has a tag in another one, and
// where this one never had a tag, which is so while an index is copied there for
// the first time. The index can then be pushed, and nobody can pull it. No client
// can see that: whether a manifest's blobs are there is looked at when it is put,
// and of an index only whether the manifests are.
func (s *server) dropUntagged(ctx context.Context, name string) (bool, error) {
	place, err := s.repository(ctx, name)
	if err != nil {
		return false, err
	}
	tags, err := place.tags.All(ctx)
	if err != nil && !errors.As(err, new(distribution.ErrRepositoryUnknown)) { // which has no tag so far
		return false, err
	}
	kept := map[digest.Digest]bool{}
	for _, tag := range tags {
		d, err := place.digest(ctx, tag)
		if err == nil {
			err = place.reach(ctx, d, kept)
		}
		if err != nil {
			return false, err
		}
	}
	vacuum := storage.NewVacuum(ctx, s.storage)
	var dropped []digest.Digest
	err = place.manifests.(distribution.ManifestEnumerator).Enumerate(ctx, func(d digest.Digest) error {
		if !kept[d] {
			dropped = append(dropped, d)
		}
		return nil
	})
	if errors.As(err, new(driver.PathNotFoundError)) {
		return false, nil
	}
	for _, d := range dropped {
		if err == nil {
			err = vacuum.RemoveManifest(name, d, tags)
		}
	}
	return true, err
}

// reach marks a manifest and those below it.
func (r repository) reach(ctx context.Context, d digest.Digest, reached map[digest.Digest]bool) error {
	c, err := r.read(ctx, d)
	if err != nil {
		return err
	}
	reached[d] = true
	for _, child := range c.Manifests {
		if err := r.reach(ctx, child.Digest, reached); err != nil {
			return err
		}
	}
	return nil
}
