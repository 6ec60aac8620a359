package provider

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

// Default timeouts of the operations. A copy has an hour because images can be large and
// connections slow. A copy without progress fails much earlier.
const (
	defaultCopyTimeout   = time.Hour
	defaultReadTimeout   = 5 * time.Minute
	defaultDeleteTimeout = 10 * time.Minute
)

// timeoutsAttribute returns the timeouts attribute of the resource. It is that of the timeouts
// module, with durations that are validated by timeoutValidator.
func timeoutsAttribute() schema.Attribute {
	validators := []validator.String{timeoutValidator{}}
	attributes := map[string]schema.Attribute{
		"create": schema.StringAttribute{Optional: true, Validators: validators,
			Description: "The maximum duration of the copy when the resource is created, such as \"30m\". Defaults to \"1h\". A copy without progress fails earlier."},
		"read": schema.StringAttribute{Optional: true, Validators: validators,
			Description: "The maximum duration of reading the source and the destination, also during a plan. Defaults to \"5m\"."},
		"update": schema.StringAttribute{Optional: true, Validators: validators,
			Description: "The maximum duration of an update: a new digest, new tags or a new destination. Defaults to \"1h\"."},
		"delete": schema.StringAttribute{Optional: true, Validators: validators,
			Description: "The maximum duration of a destroy. Defaults to \"10m\"."},
	}
	attributeTypes := map[string]attr.Type{}
	for name := range attributes {
		attributeTypes[name] = types.StringType
	}
	return schema.SingleNestedAttribute{
		Optional:            true,
		MarkdownDescription: "The maximum duration of each operation, such as `{ create = \"2h\" }`.",
		CustomType:          timeouts.Type{ObjectType: types.ObjectType{AttrTypes: attributeTypes}},
		Attributes:          attributes,
	}
}

// timeoutValidator validates that an attribute is a positive duration.
type timeoutValidator struct{}

var _ validator.String = timeoutValidator{}

func (timeoutValidator) Description(context.Context) string {
	return "must be a duration above zero, such as 30m"
}

func (v timeoutValidator) MarkdownDescription(ctx context.Context) string { return v.Description(ctx) }

func (timeoutValidator) ValidateString(_ context.Context, req validator.StringRequest, resp *validator.StringResponse) {
	if req.ConfigValue.IsNull() || req.ConfigValue.IsUnknown() {
		return
	}
	const accepted = `Write numbers with the units "h", "m" and "s", such as "30m" or "1h30m", or leave it out for the default.`
	problem := ""
	switch d, err := time.ParseDuration(req.ConfigValue.ValueString()); {
	case err != nil:
		problem = "cannot be read as a time, or is longer than 292 years"
	case d <= 0:
		problem = "leaves no time at all"
	default:
		return
	}
	// Terraform finds no source line for a path inside a nested attribute.
	resp.Diagnostics.AddAttributeError(req.Path.ParentPath(), "Invalid Timeout", fmt.Sprintf("%s = %s %s. %s", req.Path, req.ConfigValue, problem, accepted))
}
