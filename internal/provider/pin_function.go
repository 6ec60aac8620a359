package provider

import (
	"context"
	"fmt"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/function"
	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// pinFunction implements the function provider::registry::pin.
type pinFunction struct{}

var _ function.Function = pinFunction{}

func newPinFunction() function.Function { return pinFunction{} }

func (pinFunction) Metadata(_ context.Context, _ function.MetadataRequest, resp *function.MetadataResponse) {
	resp.Name = "pin"
}

func (pinFunction) Definition(_ context.Context, _ function.DefinitionRequest, resp *function.DefinitionResponse) {
	resp.Definition = function.Definition{
		Summary: "Adds a digest to an image reference",
		MarkdownDescription: "Returns `host/repository@sha256:…` for a reference and a digest. A tag in the reference is removed, and a digest in it must equal the given one. " +
			"This function does not contact the registry and does not verify that the image exists.",
		Parameters: []function.Parameter{
			function.StringParameter{
				Name:                "reference",
				MarkdownDescription: "The reference, such as `alpine:3` or `ghcr.io/acme/app:1.4`, or a repository.",
			},
			function.StringParameter{
				Name:                "digest",
				MarkdownDescription: "The digest: `sha256:` and 64 hexadecimal digits in lower case.",
			},
		},
		Return: function.StringReturn{},
	}
}

func (pinFunction) Run(ctx context.Context, req function.RunRequest, resp *function.RunResponse) {
	var reference, pin string
	if resp.Error = req.Arguments.Get(ctx, &reference, &pin); resp.Error != nil {
		return
	}
	// Terraform appends a period to each of these errors.
	ref, err := newReference(reference).parse()
	if err != nil {
		resp.Error = function.NewArgumentFuncError(0, strings.TrimSuffix(invalidReference(reference, err), "."))
		return
	}
	d := digest.Digest(pin)
	if err := registry.ValidateDigest(d); err != nil {
		resp.Error = function.NewArgumentFuncError(1, strings.TrimSuffix(parseProblem(pin, "a digest", err), "."))
		return
	}
	if ref.Digest != "" && ref.Digest != d {
		resp.Error = function.NewArgumentFuncError(1, fmt.Sprintf("%s is not the digest that the reference has itself, which is %s. Take one of them away", d, ref.Digest))
		return
	}
	resp.Error = resp.Result.Set(ctx, ref.Pinned(d))
}
