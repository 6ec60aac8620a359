package provider

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/datasource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/tfsdk"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

// readTimeoutAttribute returns the timeouts attribute of the data sources. It validates
// durations in the same way as the timeouts attribute of registry_image_copy.
func readTimeoutAttribute() schema.Attribute {
	return schema.SingleNestedAttribute{
		Optional:            true,
		MarkdownDescription: "The maximum duration of the read, such as `{ read = \"10m\" }`.",
		CustomType:          timeouts.Type{ObjectType: types.ObjectType{AttrTypes: map[string]attr.Type{"read": types.StringType}}},
		Attributes: map[string]schema.Attribute{
			"read": schema.StringAttribute{
				Optional:    true,
				Description: "The maximum duration of the read, such as \"30s\" or \"10m\". Defaults to \"5m\".",
				Validators:  []validator.String{timeoutValidator{}},
			},
		},
	}
}

// withReadTimeout returns ctx with the read timeout of a data source. The timeout covers all
// requests of the read. It also returns the configured timeouts, which belong in the state.
func withReadTimeout(ctx context.Context, config tfsdk.Config, diags *diag.Diagnostics) (context.Context, context.CancelFunc, timeouts.Value) {
	var configured timeouts.Value
	diags.Append(config.GetAttribute(ctx, path.Root("timeouts"), &configured)...)
	timeout, timeoutDiags := configured.Read(ctx, defaultReadTimeout)
	diags.Append(timeoutDiags...)
	limitedCtx, cancel := withTimeout(ctx, timeout, "read")
	return limitedCtx, cancel, configured
}
