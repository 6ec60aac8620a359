package provider

import (
	"context"
	"errors"

	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/imageref"
)

// promotedReferenceDescription is the description of promoted_reference, which is
// pinned_reference for readers outside of the configuration.
//
// Terraform saves the value of a root output that is known in the plan even if the apply fails.
// An output of pinned_reference can therefore name a digest that was never copied, and a
// configuration that reads the output deploys that digest. promoted_reference is unknown while
// the digest still has to be copied to the tag, so that the output keeps its previous value
// until the copy is complete.

const promotedReferenceDescription = "The same reference as `pinned_reference`, known in the plan only if the destination's tag already has the digest. " +
	"Use it in outputs and for every other value that leaves the configuration: if the apply fails, such values keep their previous state. " +
	"See [Pin images](../guides/pinning.md#outside-of-the-configuration)."

// planPromoted returns the planned promoted_reference. It is the prior value if the tag at the
// destination already points to the planned digest, and unknown otherwise. Missing content
// below the digest, additional tags and referrers do not make it unknown, because they change
// neither the digest nor the destination.
func (p *planBuilder) planPromoted() types.String {
	prior := p.prior.PromotedReference
	switch {
	case !p.update, !p.plan.Destination.Equal(p.prior.Destination), !p.plan.Digest.Equal(p.prior.Digest):
		return types.StringUnknown()
	case prior.IsNull() && p.record.Applied.Digest.String() != p.plan.Digest.ValueString():
		return types.StringUnknown()
	case prior.IsNull():
		// The state was written by an earlier version and has not been refreshed. The framework
		// proposes null if the configuration did not change, which keeps the plan empty, and
		// unknown otherwise.
		return p.plan.PromotedReference
	case !sameReference(prior.ValueString(), p.plan.PinnedReference.ValueString()):
		return types.StringUnknown()
	}
	return prior
}

// setPromoted sets promoted_reference after a successful copy. A value that was known in the
// plan does not change.
func (m *imageCopyModel) setPromoted() {
	if m.PromotedReference.IsUnknown() {
		m.PromotedReference = m.PinnedReference
	}
}

// refreshPromoted sets promoted_reference to the digest that was found at the destination.
//
// If the destination's tag points to the digest that was copied or imported last,
// promoted_reference has that digest, also in a state from an earlier version. If the tag was
// moved, promoted_reference does not change: a push to the tag must not affect consumers of
// promoted_reference. It becomes null if the destination no longer has the digest that it
// names.
func (m *imageCopyModel) refreshPromoted(ctx context.Context, e *engine, rec privateState, destination imageref.Ref, found map[string]registry.Descriptor) {
	if now := found[destination.Tag()].Digest; now == rec.Applied.Digest {
		m.PromotedReference = types.StringValue(destination.Pinned(now))
		return
	}
	if m.PromotedReference.IsNull() {
		return
	}
	promoted, err := newReference(m.PromotedReference.ValueString()).ref()
	if err == nil {
		err = e.manifestExists(ctx, destination, promoted.Digest())
		logResolved(ctx, destination.Name(), promoted.Digest().String(), promoted.Digest(), "registry", err)
	}
	if errors.Is(err, registry.ErrNotFound) {
		m.PromotedReference = types.StringNull()
	}
}

// manifestExists returns an error if a destination does not have the manifest with digest d.
// The error matches registry.ErrNotFound if the registry definitely does not have it.
func (e *engine) manifestExists(ctx context.Context, destination imageref.Ref, d digest.Digest) error {
	repo, err := e.openDestination(destination)
	if err != nil {
		return err
	}
	_, err = resolveReference(ctx, repo, d.String(), d)
	return err
}
