package copier

import (
	"context"
	"fmt"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// maxConfig is the largest image config that is read, in bytes.
const maxConfig = 4 << 20

// ImageConfig reads the config of a single image from a repository. m is the manifest of the
// image. The error matches registry.ErrInvalidReference if m is an index or is not the
// manifest of an image.
func ImageConfig(ctx context.Context, from registry.Repository, m registry.Manifest) (registry.ImageConfig, error) {
	fault := func(why, hint string) error {
		return &registry.Error{Op: "read the configuration of", Repository: from.Name(), Reference: m.Digest.String(), Kind: registry.ErrInvalidReference, Message: why, Hint: hint}
	}
	contents, err := m.Parse()
	switch {
	case err != nil:
		return registry.ImageConfig{}, registry.WithRepository(err, from.Name())
	case registry.IsIndex(m.MediaType):
		return registry.ImageConfig{}, fault("it is an index, in which each platform has a configuration of its own. It has "+registry.JoinPlatforms(contents.Manifests),
			"Say with platform which one is meant.")
	case contents.Config == nil:
		return registry.ImageConfig{}, fault("it has none", "Images of schema 1 and some other artifacts have no configuration.")
	case !registry.IsImageConfig(contents.Config.MediaType):
		return registry.ImageConfig{}, fault(fmt.Sprintf("it is of the type %q, and not an image's", registry.Sanitize(contents.Config.MediaType)),
			"This is another artifact than an image, such as a chart or a signature. Its manifest can be read all the same.")
	}
	content, err := readConfig(ctx, from, *contents.Config)
	if err != nil {
		return registry.ImageConfig{}, err
	}
	config, err := registry.ParseImageConfig(*contents.Config, content)
	return config, registry.WithRepository(err, from.Name())
}

// readConfig reads the config blob of a manifest, regardless of its media type.
func readConfig(ctx context.Context, from registry.Repository, config registry.Descriptor) ([]byte, error) {
	if config.Size > maxConfig {
		return nil, &registry.Error{Op: "read the configuration", Repository: from.Name(), Reference: config.Digest.String(), Kind: registry.ErrLimit,
			Message: fmt.Sprintf("it has %d bytes, too many for the configuration of an image", config.Size), Hint: registry.DefaultHint(registry.ErrLimit)}
	}
	blob, err := from.GetBlob(ctx, config)
	if err != nil {
		return nil, err
	}
	defer blob.Close()
	return registry.ReadLimited(blob, maxConfig)
}
