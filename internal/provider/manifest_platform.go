package provider

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework/schema/validator"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
)

// platformManifest is the manifest for a platform: the child of an index that is
// for it, and a single image itself where its configuration says so.
func platformManifest(ctx context.Context, repo registry.Repository, m registry.Manifest, platform string) (registry.Manifest, error) {
	wanted, err := registry.ParsePlatform(platform)
	if err != nil {
		return m, err
	}
	s, err := copier.SelectOf(ctx, repo, m, []registry.Platform{wanted})
	if err != nil || s.Root.Digest == m.Digest {
		return m, err
	}
	return repo.GetManifest(ctx, s.Root.Digest.String())
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
		resp.Diagnostics.AddAttributeError(req.Path, "Invalid platform", capitalize(err.Error()))
	}
}
