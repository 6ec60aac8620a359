package provider

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/tfsdk"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/imageref"
)

// keepSpelling keeps the state's spelling of source and destination if the configuration spells
// the same reference differently, so that the plan shows no change. It handles spellings that
// differ by the default port of the scheme in use. The plan modifier spellingModifier handles
// all others.
func (p *planBuilder) keepSpelling(ctx context.Context, plan *tfsdk.Plan) {
	keep := func(name string, planned *referenceValue, prior referenceValue) {
		if planned.Equal(prior) || !planned.known() || !prior.known() || !p.engine.sameRefValue(*planned, prior) {
			return
		}
		*planned = prior
		p.diags.Append(plan.SetAttribute(ctx, path.Root(name), prior)...)
	}
	keep("source", &p.plan.Source, p.prior.Source)
	keep("destination", &p.plan.Destination, p.prior.Destination)
}

// sameRefValue reports whether a and b are the same reference.
func (e *engine) sameRefValue(a, b referenceValue) bool {
	refA, errA := a.ref()
	refB, errB := b.ref()
	return errA == nil && errB == nil && e.sameRef(refA, refB)
}

// spelledAs returns reference, spelled as in state if that is the same reference. The normal
// form of an earlier version may differ.
func spelledAs(state types.String, reference string) types.String {
	if in, err := imageref.ParseSource(state.ValueString()); err == nil {
		if now, err := imageref.ParseSource(reference); err == nil && now.Equal(in) {
			return state
		}
	}
	return types.StringValue(reference)
}
