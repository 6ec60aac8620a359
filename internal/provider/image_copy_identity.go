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

// IdentitySchema is what tells one copy from all others: where it is. It changes
// when the destination does.
func (r *imageCopyResource) IdentitySchema(_ context.Context, _ resource.IdentitySchemaRequest, resp *resource.IdentitySchemaResponse) {
	resp.IdentitySchema = identityschema.Schema{Attributes: map[string]identityschema.Attribute{
		"destination": identityschema.StringAttribute{
			RequiredForImport: true,
			Description:       "The destination of the copy: host/repository:tag, or oci:PATH:tag.",
		},
	}}
}

// identify says which copy it is, in one spelling. Terraform before 1.12 keeps
// no identity, and the framework wants one each time.
func identify(ctx context.Context, identity *tfsdk.ResourceIdentity, destination imageref.Ref) diag.Diagnostics {
	return identity.SetAttribute(ctx, path.Root("destination"), destination.String())
}

// importID is what an import names: its ID or, in an import block since Terraform
// 1.12, the destination in its identity.
func importID(ctx context.Context, req resource.ImportStateRequest) (id string, diags diag.Diagnostics) {
	if req.ID != "" || req.Identity == nil {
		return req.ID, nil
	}
	diags = req.Identity.GetAttribute(ctx, path.Root("destination"), &id)
	return id, diags
}
