package provider

import (
	"context"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// platforms returns the selected platforms in normal form, sorted and without duplicates. An
// empty list means the whole image.
func (m imageCopyModel) platforms() []string {
	var names []string
	for _, value := range m.Platforms.Elements() {
		name, ok := value.(types.String)
		if !ok || name.IsUnknown() {
			continue
		}
		if p, err := registry.ParsePlatform(name.ValueString()); err == nil {
			names = append(names, registry.FormatPlatform(registry.NormalPlatform(p)))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// platformsUnknown reports whether a platform is unknown.
func (m imageCopyModel) platformsUnknown() bool {
	return m.Platforms.IsUnknown() || slices.ContainsFunc(m.Platforms.Elements(), isUnknown)
}

// platformsOf parses names that imageCopyModel.platforms returned.
func platformsOf(names []string) []registry.Platform {
	var all []registry.Platform
	for _, name := range names {
		if p, err := registry.ParsePlatform(name); err == nil {
			all = append(all, p)
		}
	}
	return all
}

// platformsValidator validates a set of platforms.
type platformsValidator struct{}

var _ validator.Set = platformsValidator{}

func (platformsValidator) Description(context.Context) string {
	return "must be platforms, such as linux/amd64 or linux/arm/v7, and at least one"
}

func (v platformsValidator) MarkdownDescription(ctx context.Context) string {
	return v.Description(ctx)
}

func (platformsValidator) ValidateSet(_ context.Context, req validator.SetRequest, resp *validator.SetResponse) {
	if req.ConfigValue.IsNull() || req.ConfigValue.IsUnknown() {
		return
	}
	if len(req.ConfigValue.Elements()) == 0 {
		resp.Diagnostics.AddAttributeError(req.Path, "Empty Platforms", "An empty set promotes nothing. Name the platforms to promote, or leave `platforms` out (or null) for everything.")
	}
	for _, value := range req.ConfigValue.Elements() {
		name, ok := value.(types.String)
		if !ok || name.IsUnknown() {
			continue
		}
		if _, err := registry.ParsePlatform(name.ValueString()); err != nil {
			resp.Diagnostics.AddAttributeError(req.Path.AtSetValue(value), "Invalid Platform", capitalize(err.Error()))
		}
	}
}
