package provider

import (
	"github.com/hashicorp/terraform-plugin-framework-timeouts/datasource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// manifestModel is the model of registry_manifest.
type manifestModel struct {
	Reference       referenceValue    `tfsdk:"reference"`
	Platform        types.String      `tfsdk:"platform"`
	AllowMissing    types.Bool        `tfsdk:"allow_missing"`
	Exists          bool              `tfsdk:"exists"`
	Digest          string            `tfsdk:"digest"`
	MediaType       string            `tfsdk:"media_type"`
	ArtifactType    *string           `tfsdk:"artifact_type"`
	Size            int64             `tfsdk:"size"`
	ManifestJSON    string            `tfsdk:"manifest_json"`
	Annotations     map[string]string `tfsdk:"annotations"`
	Config          *descriptorModel  `tfsdk:"config"`
	Layers          []descriptorModel `tfsdk:"layers"`
	Manifests       []descriptorModel `tfsdk:"manifests"`
	Platforms       []string          `tfsdk:"platforms"`
	Subject         *descriptorModel  `tfsdk:"subject"`
	PinnedReference string            `tfsdk:"pinned_reference"`
	Timeouts        timeouts.Value    `tfsdk:"timeouts"`
}

// descriptorModel is the model of a descriptor.
type descriptorModel struct {
	MediaType    string            `tfsdk:"media_type"`
	Digest       string            `tfsdk:"digest"`
	Size         *int64            `tfsdk:"size"`
	ArtifactType *string           `tfsdk:"artifact_type"`
	Annotations  map[string]string `tfsdk:"annotations"`
	Platform     *platformModel    `tfsdk:"platform"`
}

// platformModel is the model of a descriptor's platform.
type platformModel struct {
	OS           string   `tfsdk:"os"`
	Architecture string   `tfsdk:"architecture"`
	Variant      *string  `tfsdk:"variant"`
	OSVersion    *string  `tfsdk:"os_version"`
	OSFeatures   []string `tfsdk:"os_features"`
}

func newDescriptor(d registry.Descriptor) descriptorModel {
	m := descriptorModel{
		MediaType:    d.MediaType,
		Digest:       d.Digest.String(),
		ArtifactType: orNull(d.ArtifactType),
		Annotations:  orEmpty(d.Annotations),
	}
	if d.Size != registry.SizeUnknown {
		m.Size = &d.Size
	}
	if p := d.Platform; p != nil {
		m.Platform = &platformModel{
			OS:           p.OS,
			Architecture: p.Architecture,
			Variant:      orNull(p.Variant),
			OSVersion:    orNull(p.OSVersion),
			OSFeatures:   append([]string{}, p.OSFeatures...),
		}
	}
	return m
}

func newDescriptors(list []registry.Descriptor) []descriptorModel {
	models := []descriptorModel{}
	for _, d := range list {
		models = append(models, newDescriptor(d))
	}
	return models
}

func newOptionalDescriptor(d *registry.Descriptor) *descriptorModel {
	if d == nil {
		return nil
	}
	m := newDescriptor(*d)
	return &m
}

// orEmpty returns m, or an empty map if m is nil, so that configurations can index it without a
// null check.
func orEmpty(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

// descriptorAttributes returns the schema of a descriptor.
func descriptorAttributes() map[string]schema.Attribute {
	return map[string]schema.Attribute{
		"media_type":    schema.StringAttribute{Computed: true, MarkdownDescription: "The media type of the content."},
		"digest":        schema.StringAttribute{Computed: true, MarkdownDescription: "The digest of the content."},
		"size":          schema.Int64Attribute{Computed: true, MarkdownDescription: "The size of the content in bytes, or `null` for the layers of a schema 1 image."},
		"artifact_type": schema.StringAttribute{Computed: true, MarkdownDescription: "The artifact type, or `null`."},
		"annotations":   schema.MapAttribute{Computed: true, ElementType: types.StringType, MarkdownDescription: "The annotations of the descriptor."},
		"platform": schema.ObjectAttribute{
			Computed: true,
			AttributeTypes: map[string]attr.Type{
				"os":           types.StringType,
				"architecture": types.StringType,
				"variant":      types.StringType,
				"os_version":   types.StringType,
				"os_features":  types.ListType{ElemType: types.StringType},
			},
			MarkdownDescription: "The platform, or `null`.",
		},
	}
}
