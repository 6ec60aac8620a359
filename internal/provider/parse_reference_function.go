package provider

import (
	"context"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/function"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

// parseReferenceFunction implements the function provider::registry::parse_reference.
type parseReferenceFunction struct{}

var _ function.Function = parseReferenceFunction{}

func newParseReferenceFunction() function.Function { return parseReferenceFunction{} }

// parsedReference is the result of parse_reference.
type parsedReference struct {
	Registry   string  `tfsdk:"registry"`
	Repository string  `tfsdk:"repository"`
	Name       string  `tfsdk:"name"`
	Tag        *string `tfsdk:"tag"`
	Digest     *string `tfsdk:"digest"`
	Normalized string  `tfsdk:"normalized"`
}

func (parseReferenceFunction) Metadata(_ context.Context, _ function.MetadataRequest, resp *function.MetadataResponse) {
	resp.Name = "parse_reference"
}

func (parseReferenceFunction) Definition(_ context.Context, _ function.DefinitionRequest, resp *function.DefinitionResponse) {
	resp.Definition = function.Definition{
		Summary: "Parses an image reference",
		MarkdownDescription: "Parses an image reference and returns its parts, with defaults filled in: `alpine` is `docker.io/library/alpine:latest`. " +
			"This function does not contact the registry.\n\n" +
			"The result is an object:\n\n" +
			"- `registry`: the host, with its port if the reference has one. `docker.io` for Docker Hub.\n" +
			"- `repository`: the path of the repository on that host.\n" +
			"- `name`: the registry and the repository, `registry/repository`, as `registry_tags` expects it.\n" +
			"- `tag`: the tag, `latest` if the reference has neither a tag nor a digest, or `null` if it only has a digest.\n" +
			"- `digest`: the digest, or `null`. If a reference has a tag and a digest, the digest is used.\n" +
			"- `normalized`: the complete reference.",
		Parameters: []function.Parameter{function.StringParameter{
			Name:                "reference",
			MarkdownDescription: "The reference, such as `alpine:3`, `ghcr.io/acme/app:1.4` or `localhost:5000/app@sha256:…`.",
		}},
		Return: function.ObjectReturn{AttributeTypes: map[string]attr.Type{
			"registry":   types.StringType,
			"repository": types.StringType,
			"name":       types.StringType,
			"tag":        types.StringType,
			"digest":     types.StringType,
			"normalized": types.StringType,
		}},
	}
}

func (parseReferenceFunction) Run(ctx context.Context, req function.RunRequest, resp *function.RunResponse) {
	var s string
	if resp.Error = req.Arguments.Get(ctx, &s); resp.Error != nil {
		return
	}
	ref, err := newReference(s).parse()
	if err != nil {
		// Terraform appends a period.
		resp.Error = function.NewArgumentFuncError(0, strings.TrimSuffix(invalidReference(s, err), "."))
		return
	}
	resp.Error = resp.Result.Set(ctx, parsedReference{
		Registry:   ref.Host,
		Repository: ref.Repository,
		Name:       ref.Name(),
		Tag:        orNull(ref.Tag),
		Digest:     orNull(ref.Digest.String()),
		Normalized: ref.String(),
	})
}

// orNull returns a pointer to s, or nil if s is empty.
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
