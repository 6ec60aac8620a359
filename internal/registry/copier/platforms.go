package copier

import (
	"context"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// Select reads what a tag or digest of a repository names and decides what of it
// some platforms need: of an index the part that registry.Manifest.Select keeps,
// and of a single image all, where its configuration says that it is for each of
// them. It returns what the reference names too. The error is the repository's,
// and matches registry.ErrNotFound where a platform is not there.
func Select(ctx context.Context, from registry.Repository, reference string, platforms []registry.Platform) (registry.Descriptor, registry.Selection, error) {
	m, err := from.GetManifest(ctx, reference)
	if err != nil {
		return registry.Descriptor{}, registry.Selection{}, err
	}
	s, err := SelectOf(ctx, from, m, platforms)
	return m.Descriptor(), s, err
}

// SelectOf is Select for a manifest that was read already.
func SelectOf(ctx context.Context, from registry.Repository, m registry.Manifest, platforms []registry.Platform) (registry.Selection, error) {
	if !registry.IsIndex(m.MediaType) {
		return registry.Selection{Root: m.Descriptor(), Index: m}, checkImage(ctx, from, m, platforms)
	}
	s, err := m.Select(platforms)
	return s, registry.WithRepository(err, from.Name())
}

// checkImage makes sure that a single image is for every platform that is
// wanted.
func checkImage(ctx context.Context, from registry.Repository, m registry.Manifest, platforms []registry.Platform) error {
	refuse := func(want registry.Platform, why string) error {
		return &registry.Error{Op: "find the platform " + registry.FormatPlatform(want) + " in", Repository: from.Name(), Reference: m.Digest.String(),
			Kind: registry.ErrNotFound, Message: why, Hint: "Ask for the platform that it has."}
	}
	contents, err := m.Parse()
	if err != nil {
		return registry.WithRepository(err, from.Name())
	}
	if contents.Config == nil {
		return refuse(platforms[0], "it is no index, and has no configuration that names a platform")
	}
	content, err := readConfig(ctx, from, *contents.Config)
	if err != nil {
		return err
	}
	got := registry.ConfigPlatform(content)
	for _, want := range platforms {
		switch {
		case !registry.IsPlatform(&got):
			return refuse(want, "it is no index, and its configuration names no platform")
		case !registry.Satisfies(got, want):
			return refuse(want, "it is no index but a single image for "+registry.FormatPlatform(got))
		}
	}
	return nil
}

// selectPlatforms decides what of the source is copied where platforms are given. What
// the reference names is read once, and nothing of it again.
func (r *copyOp) selectPlatforms(ctx context.Context) error {
	reference := r.job.Reference
	if r.job.Digest != "" {
		reference = r.job.Digest.String()
	}
	_, s, err := Select(ctx, r.job.Source, reference, r.job.Platforms)
	if err != nil {
		return err
	}
	r.digest, r.rootManifest = s.Root.Digest, s.Index
	return nil
}
