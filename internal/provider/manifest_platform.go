package provider

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// platformManifest is the manifest for a platform: the first child of an index
// that is for it, and a single image itself where its configuration says so.
func platformManifest(ctx context.Context, repo registry.Repository, m registry.Manifest, platform string) (registry.Manifest, error) {
	wanted, err := registry.ParsePlatform(platform)
	if err != nil {
		return m, err
	}
	contents, err := m.Parse()
	if err != nil {
		return m, err
	}
	if !registry.IsIndex(m.MediaType) {
		return m, checkPlatform(ctx, repo, m, contents, wanted)
	}
	var there []string
	for _, child := range contents.Manifests {
		if !registry.IsPlatform(child.Platform) {
			continue
		}
		if registry.IsFor(*child.Platform, wanted) {
			return repo.GetManifest(ctx, child.Digest.String())
		}
		there = append(there, registry.PlatformName(*child.Platform))
	}
	return m, noPlatform(repo, m, wanted, "the index has "+listed(there))
}

// maxConfig is the largest image configuration that is read to see its
// platform.
const maxConfig = 4 << 20

// checkPlatform makes sure that a single image is for a platform.
func checkPlatform(ctx context.Context, repo registry.Repository, m registry.Manifest, contents registry.Contents, wanted ocispec.Platform) error {
	if contents.Config == nil {
		return noPlatform(repo, m, wanted, "it is not an index, and has no configuration that names a platform")
	}
	if contents.Config.Size > maxConfig {
		return noPlatform(repo, m, wanted, fmt.Sprintf("its configuration has %d bytes, too many for one that names a platform", contents.Config.Size))
	}
	blob, err := repo.GetBlob(ctx, *contents.Config)
	if err != nil {
		return err
	}
	defer blob.Close()
	content, err := registry.ReadCapped(blob, maxConfig)
	if err != nil {
		return err
	}
	var is ocispec.Platform
	if err := json.Unmarshal(content, &is); err != nil || !registry.IsPlatform(&is) {
		return noPlatform(repo, m, wanted, "it is not an index, and its configuration names no platform")
	}
	if !registry.IsFor(is, wanted) {
		return noPlatform(repo, m, wanted, "it is not an index but a single image for "+registry.PlatformName(is))
	}
	return nil
}

func noPlatform(repo registry.Repository, m registry.Manifest, wanted ocispec.Platform, why string) error {
	return &registry.Error{Op: "find the platform " + registry.PlatformName(wanted) + " in", Repository: repo.Name(), Reference: m.Digest.String(), Kind: registry.ErrNotFound,
		Message: registry.Clean(why), Hint: "Ask for a platform that it has, or leave platform out for the whole."}
}

// isPlatformName validates os/architecture[/variant].
type isPlatformName struct{}

var _ validator.String = isPlatformName{}

func (isPlatformName) Description(context.Context) string {
	return "must be os/architecture or os/architecture/variant"
}

func (v isPlatformName) MarkdownDescription(ctx context.Context) string { return v.Description(ctx) }

func (isPlatformName) ValidateString(_ context.Context, req validator.StringRequest, resp *validator.StringResponse) {
	if req.ConfigValue.IsNull() || req.ConfigValue.IsUnknown() {
		return
	}
	if _, err := registry.ParsePlatform(req.ConfigValue.ValueString()); err != nil {
		resp.Diagnostics.AddAttributeError(req.Path, "Invalid platform", sentence(err.Error()))
	}
}
