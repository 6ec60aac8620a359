package copier

import (
	"context"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// Select reads the manifest of a reference and selects what a set of platforms needs. For an
// index, that is the part that registry.Manifest.Select keeps. For a single image, it is the
// whole image, provided that its config is for each of the platforms. Select also returns
// the descriptor of the reference itself. The error matches registry.ErrNotFound if a
// platform is missing.
func Select(ctx context.Context, from registry.Repository, reference string, platforms []registry.Platform) (registry.Descriptor, registry.Selection, error) {
	m, err := from.GetManifest(ctx, reference)
	if err != nil {
		return registry.Descriptor{}, registry.Selection{}, err
	}
	s, err := SelectOf(ctx, from, m, platforms)
	return m.Descriptor(), s, err
}

// SelectOf is like Select but takes a manifest that was already read.
func SelectOf(ctx context.Context, from registry.Repository, m registry.Manifest, platforms []registry.Platform) (registry.Selection, error) {
	if !registry.IsIndex(m.MediaType) {
		return registry.Selection{Root: m.Descriptor(), Index: m}, checkImage(ctx, from, m, platforms)
	}
	s, err := m.Select(platforms)
	return s, registry.WithRepository(err, from.Name())
}

// checkImage returns an error if m, which is a single image, does not satisfy all platforms.
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

// selectPlatforms sets the root to what the job's platforms need of the source image. It
// reads the manifest of the reference, so that the walk does not read it again.
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
