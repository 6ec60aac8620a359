package provider

import (
	"context"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/function"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

// parseReferenceFunction is provider::registry::parse_reference.
type parseReferenceFunction struct{}

var _ function.Function = parseReferenceFunction{}

func newParseReferenceFunction() function.Function { return parseReferenceFunction{} }

// parsedReference is what the function returns.
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
		Summary: "Take an image reference apart",
		MarkdownDescription: "Takes an image reference apart, as registries' clients understand it: `alpine` is " +
			"`docker.io/library/alpine:latest`. It asks no registry.\n\n" +
			"The result is an object:\n\n" +
			"- `registry`: the host, with its port where one was given. `docker.io` for Docker Hub.\n" +
			"- `repository`: the path of the repository on that host.\n" +
			"- `name`: both of these, `registry/repository`: what `registry_tags` takes as its `repository`, and what to write another tag behind.\n" +
			"- `tag`: the tag, `latest` where the reference has neither tag nor digest, and `null` where it has only a digest.\n" +
			"- `digest`: the digest, `null` where the reference has none. A reference with a tag and a digest means the digest.\n" +
			"- `normalized`: the whole reference, spelled out.",
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
		// Terraform puts a full stop of its own behind it.
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

// orNull is s, or null where it is empty.
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
