package provider

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework/schema/validator"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
)

// platformManifest returns the manifest for a platform. For an index it is the matching child.
// A single image is returned unchanged if its config has that platform.
func platformManifest(ctx context.Context, repo registry.Repository, m registry.Manifest, platform string) (registry.Manifest, error) {
	target, err := registry.ParsePlatform(platform)
	if err != nil {
		return m, err
	}
	s, err := copier.SelectOf(ctx, repo, m, []registry.Platform{target})
	if err != nil || s.Root.Digest == m.Digest {
		return m, err
	}
	return repo.GetManifest(ctx, s.Root.Digest.String())
}

// platformValidator validates a platform of the form os/architecture[/variant].
type platformValidator struct{}

var _ validator.String = platformValidator{}

func (platformValidator) Description(context.Context) string {
	return "must be os/architecture or os/architecture/variant"
}

func (v platformValidator) MarkdownDescription(ctx context.Context) string { return v.Description(ctx) }

func (platformValidator) ValidateString(_ context.Context, req validator.StringRequest, resp *validator.StringResponse) {
	if req.ConfigValue.IsNull() || req.ConfigValue.IsUnknown() {
		return
	}
	if _, err := registry.ParsePlatform(req.ConfigValue.ValueString()); err != nil {
		resp.Diagnostics.AddAttributeError(req.Path, "Invalid Platform", capitalize(err.Error()))
	}
}
