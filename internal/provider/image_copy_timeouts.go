package provider

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
)

// How long each operation may take where timeouts does not say. A copy has an
// hour, because images are large and lines are slow; it ends much earlier when
// nothing moves any more.
const (
	defaultCopyTimeout   = time.Hour
	defaultReadTimeout   = 5 * time.Minute
	defaultDeleteTimeout = 10 * time.Minute
)

// timeoutsAttribute is timeouts as Terraform's providers have it, with words of
// our own for what is no timeout.
func timeoutsAttribute(ctx context.Context) schema.Attribute {
	a := timeouts.Attributes(ctx, timeouts.Opts{
		Create: true, Read: true, Update: true, Delete: true,
		CreateDescription: "How long the copy may take in all, such as \"30m\". The default is 1h. A copy that stands still ends much earlier.",
		ReadDescription:   "How long looking at source and destination may take, while planning too. The default is 5m.",
		UpdateDescription: "How long a copy may take that brings a new digest or new tags. The default is 1h.",
		DeleteDescription: "How long on_destroy may take. The default is 10m.",
	})
	if nested, ok := a.(schema.SingleNestedAttribute); ok {
		for name, operation := range nested.Attributes {
			if s, ok := operation.(schema.StringAttribute); ok {
				s.Validators = []validator.String{isTimeout{}}
				nested.Attributes[name] = s
			}
		}
	}
	return a
}

// isTimeout validates that an attribute is a time that something can take.
type isTimeout struct{}

var _ validator.String = isTimeout{}

func (isTimeout) Description(context.Context) string {
	return "must be a duration above zero, such as 30m"
}

func (v isTimeout) MarkdownDescription(ctx context.Context) string { return v.Description(ctx) }

func (isTimeout) ValidateString(_ context.Context, req validator.StringRequest, resp *validator.StringResponse) {
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
	// Terraform finds no line for a path that goes on inside of an attribute.
	resp.Diagnostics.AddAttributeError(req.Path.ParentPath(), "Invalid timeout", fmt.Sprintf("%s = %s %s. %s", req.Path, req.ConfigValue, problem, accepted))
}
