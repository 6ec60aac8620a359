package provider

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/identityschema"
	"github.com/hashicorp/terraform-plugin-framework/tfsdk"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/imageref"
)

var _ resource.ResourceWithIdentity = (*imageCopyResource)(nil)

// IdentitySchema describes the identity of a copy, which is its destination. The identity
// changes when the destination does.
func (r *imageCopyResource) IdentitySchema(_ context.Context, _ resource.IdentitySchemaRequest, resp *resource.IdentitySchemaResponse) {
	resp.IdentitySchema = identityschema.Schema{Attributes: map[string]identityschema.Attribute{
		"destination": identityschema.StringAttribute{
			RequiredForImport: true,
			Description:       "The destination of the copy: host/repository:tag, or oci:PATH:tag.",
		},
	}}
}

// identify sets the identity to the normal form of destination. The framework requires an
// identity for every operation, although Terraform before 1.12 does not store it.
func identify(ctx context.Context, identity *tfsdk.ResourceIdentity, destination imageref.Ref) diag.Diagnostics {
	return identity.SetAttribute(ctx, path.Root("destination"), destination.String())
}

// importID returns the ID of an import. Since Terraform 1.12, an import block can name the
// destination in an identity instead.
func importID(ctx context.Context, req resource.ImportStateRequest) (id string, diags diag.Diagnostics) {
	if req.ID != "" || req.Identity == nil {
		return req.ID, nil
	}
	diags = req.Identity.GetAttribute(ctx, path.Root("destination"), &id)
	return id, diags
}
