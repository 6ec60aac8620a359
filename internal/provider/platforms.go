package provider

import (
	"context"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// platforms are those that are to be promoted, in one spelling and in order, so
// that two ways to write them are one; none for everything.
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

// platformsUnknown says whether one of them is not known yet.
func (m imageCopyModel) platformsUnknown() bool {
	return m.Platforms.IsUnknown() || slices.ContainsFunc(m.Platforms.Elements(), isUnknown)
}

// platformsOf reads names that platforms gave.
func platformsOf(names []string) []registry.Platform {
	var all []registry.Platform
	for _, name := range names {
		if p, err := registry.ParsePlatform(name); err == nil {
			all = append(all, p)
		}
	}
	return all
}

// arePlatforms validates a set of them.
type arePlatforms struct{}

var _ validator.Set = arePlatforms{}

func (arePlatforms) Description(context.Context) string {
	return "must be platforms, such as linux/amd64 or linux/arm/v7, and at least one"
}

func (v arePlatforms) MarkdownDescription(ctx context.Context) string { return v.Description(ctx) }

func (arePlatforms) ValidateSet(_ context.Context, req validator.SetRequest, resp *validator.SetResponse) {
	if req.ConfigValue.IsNull() || req.ConfigValue.IsUnknown() {
		return
	}
	if len(req.ConfigValue.Elements()) == 0 {
		resp.Diagnostics.AddAttributeError(req.Path, "No platforms", "An empty set promotes nothing. Name the platforms to promote, or leave `platforms` out (or null) for everything.")
	}
	for _, value := range req.ConfigValue.Elements() {
		name, ok := value.(types.String)
		if !ok || name.IsUnknown() {
			continue
		}
		if _, err := registry.ParsePlatform(name.ValueString()); err != nil {
			resp.Diagnostics.AddAttributeError(req.Path.AtSetValue(value), "Invalid platform", capitalize(err.Error()))
		}
	}
}
