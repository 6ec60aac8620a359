package provider

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/imageref"
)

// resolvePredecessor finds the destination and private state that the resource has before the
// plan. They belong to the prior state, or to an object that the resource replaces. Terraform
// does not report whether it plans a replacement. Each update is therefore registered as a
// possible replacement, and each create looks for one. afterUpdate reports whether a create has
// the private data of a planned update.
func (p *planBuilder) resolvePredecessor(ctx context.Context, afterUpdate bool, private privateWriter) {
	if p.engine == nil {
		return
	}
	destination, _ := p.plan.destinationTags()
	if p.plan.Destination.IsUnknown() {
		destination, _ = p.prior.destinationTags()
	}
	if p.update {
		p.planDestinationChange(ctx, destination, private)
		return
	}
	replaced, from, ok := p.engine.handovers.forPlan(p.engine.canonical(destination), afterUpdate)
	if ok && !p.plan.Destination.IsUnknown() {
		p.before, p.candidate = &replaced, from
		p.record = replaced.forDestination(p.engine, destination)
		p.record.Observed = nil // the tags may have changed since
		p.planReplacement(ctx, replaced, private)
	}
}

// planDestinationChange registers the prior state for a possible replacement. If the
// destination changes, it plans the removal of the old tags.
func (p *planBuilder) planDestinationChange(ctx context.Context, destination imageref.Ref, private privateWriter) {
	was, _ := p.prior.destinationTags()
	before := predecessor{was, p.prior.OnDestroy.ValueString(), p.record}
	before.record.DestroyPlannedBy, before.record.ReplacedBy = "", "" // left over from a failed destroy
	p.engine.handovers.discard(p.engine.canonical(was), before.record, p.diags)
	p.engine.handovers.update(p.engine.canonical(destination), before)
	before.record.save(ctx, private, p.diags) // shows a create that it is a replacement
	p.record = before.record
	unknown := p.plan.Destination.IsUnknown()
	if p.engine.sameRef(destination, was) && !unknown {
		return
	}
	p.before = &before
	dropped := p.droppedTags()
	listed := before.record.unmovedTags(dropped)
	p.record = before.forDestination(p.engine, destination)
	policy := p.policy()
	if policy == onDestroyRetain {
		return
	}
	p.planLeftovers(ctx)
	before.record.warnRetained(was, p.listedOldTags(), p.diags)
	if len(dropped) == 0 {
		return
	}
	p.planRemoval(p.engine.ownersIn(ctx, was), path.Root("destination"), dropped)
	if len(listed) == 0 {
		return
	}
	p.warnLater = func() { p.warnDestinationChange(ctx, policy, dropped, listed) }
}

// warnDestinationChange warns about the tags that a changed destination removes.
func (p *planBuilder) warnDestinationChange(ctx context.Context, policy string, dropped map[string]digest.Digest, listed []string) {
	was, destination, manifests := p.before.destination, p.destination(), p.manifestsSentence(policy, dropped)
	if p.plan.Destination.IsUnknown() {
		p.diags.AddAttributeWarning(path.Root("destination"), titleMayRemove,
			fmt.Sprintf("The new destination is known only after apply. If it differs from %[2]s, the image is copied there first. Then on_destroy = %[1]q removes the tags that this resource wrote in %[3]s: %[4]s.%[5]s",
				policy, was, was.Name(), joinNames(listed), manifests))
		return
	}
	title, exception := titleWillRemove, ""
	if p.engine.mayBeAliases(ctx, destination, was) {
		title, exception = titleMayRemove, " If both hosts are one registry, tags that the new destination lists too stay."
	}
	p.diags.AddAttributeWarning(path.Root("destination"), title,
		fmt.Sprintf("The destination changes from %s to %s. The image is copied there first. Then on_destroy = %q removes the tags that this resource wrote in %s: %s.%s%s "+
			"To keep them, set on_destroy = \"retain\".",
			was, destination, policy, was.Name(), joinNames(listed), manifests, exception))
}

// manifestsSentence returns the sentence of a warning that on_destroy also deletes the manifests
// of the old tags. It is empty if they stay, which depends on the planned digest. An unknown
// digest may be a new one.
func (p *planBuilder) manifestsSentence(policy string, dropped map[string]digest.Digest) string {
	old, destination := p.before.destination, p.destination()
	known := !p.plan.Destination.IsUnknown()
	if policy != onDestroyDelete || known && !deletesOldManifests(p.engine, destination, old, dropped, p.plan.Digest.ValueString()) {
		return ""
	}
	return " It deletes their manifests too, unless something else in the repository names them."
}

// deletesOldManifests reports whether on_destroy = "delete" deletes the manifests of tags that a
// resource no longer lists. Within one repository they may be in use: removing a tag from the
// list never deletes a manifest, and neither does a new tag for the same digest.
func deletesOldManifests(e *engine, destination, old imageref.Ref, dropped map[string]digest.Digest, planned string) bool {
	if !e.sameRepository(destination, old) {
		return true
	}
	inUse := func(d digest.Digest) bool { return d.String() == planned }
	return !e.sameRef(destination, old) && !allOf(slices.Collect(maps.Values(dropped)), inUse)
}

func allOf[T any](all []T, is func(T) bool) bool {
	return !slices.ContainsFunc(all, func(one T) bool { return !is(one) })
}

// planReplacement plans the removal of old tags of the replaced object, and warns about them.
// It stores the remaining tags in the private data of the plan, where Delete reads them.
func (p *planBuilder) planReplacement(ctx context.Context, replaced predecessor, private privateWriter) {
	rec := replaced.record.withMaps()
	if p.policy() != onDestroyRetain {
		p.planLeftovers(ctx)
		dropped := p.droppedTags()
		owners := p.engine.ownersIn(ctx, replaced.destination)
		spared, _ := owners.planRemoval(dropped, false)
		if p.candidate != nil {
			p.candidate.onDiscard(p.diags, func(*diag.Diagnostics) { owners.retractRemoval(dropped) })
		}
		for _, tag := range spared {
			rec.forget(tag)
			delete(dropped, tag)
		}
		p.warnLater = func() {
			if p.candidate == nil || !p.candidate.isDiscarded() {
				p.warnRemoved(replaced.destination, dropped, p.manifestsSentence(p.policy(), dropped))
			}
		}
	}
	rec.ReplacedBy = p.plan.Destination.ValueString()
	rec.save(ctx, private, p.diags)
}

// planLeftovers plans the removal of tags that a failed update wrote to the new repository and
// that are no longer listed, and warns about them.
func (p *planBuilder) planLeftovers(ctx context.Context) {
	destination, tags := p.plan.destinationTags()
	if p.plan.Destination.IsUnknown() || !p.changesRepository() {
		return
	}
	if leftovers := p.record.writtenExcept(tags); len(leftovers) > 0 {
		p.planRemoval(p.engine.ownersIn(ctx, destination), path.Root("additional_tags"), leftovers)
		p.warnRemoved(destination, leftovers, "")
	}
}

// policy returns the value of on_destroy that applies to the old tags of the resource. If
// on_destroy changes in the same plan, the value that removes less applies.
func (p *planBuilder) policy() string {
	before := p.prior.OnDestroy.ValueString()
	if p.before != nil {
		before = p.before.onDestroy
	}
	if p.plan.OnDestroy.IsUnknown() {
		return before
	}
	return milder(before, p.plan.OnDestroy.ValueString())
}

// listedOldTags returns the tags of the old repository that the plan still lists.
func (p *planBuilder) listedOldTags() []string {
	destination, tags := p.plan.destinationTags()
	if p.plan.Destination.IsUnknown() || !p.engine.sameRepository(destination, p.before.destination) {
		return nil
	}
	return tags
}

// droppedTags returns the tags that this resource wrote and the plan no longer lists.
func (p *planBuilder) droppedTags() map[string]digest.Digest {
	return p.before.record.writtenExcept(p.listedOldTags())
}

// changesRepository reports whether the plan moves the image to another repository.
func (p *planBuilder) changesRepository() bool {
	destination, _ := p.plan.destinationTags()
	return p.before != nil && !p.engine.sameRepository(destination, p.before.destination)
}

// writtenExcept returns the tags that this resource wrote, without the given ones.
func (rec privateState) writtenExcept(tags []string) map[string]digest.Digest {
	written := maps.Clone(rec.Written)
	for _, tag := range tags {
		delete(written, tag)
	}
	return written
}

// unmovedTags returns those of the tags that still point to the digest that this resource
// wrote, as far as private state shows. The result is sorted.
func (rec privateState) unmovedTags(tags map[string]digest.Digest) (names []string) {
	for _, tag := range slices.Sorted(maps.Keys(tags)) {
		if observed, seen := rec.Observed[tag]; !seen || observed == tags[tag] {
			names = append(names, tag)
		}
	}
	return names
}

// planRemoval records that this plan removes the tags. It adds an error if another resource
// uses one of them.
func (p *planBuilder) planRemoval(repository *repoOwners, at path.Path, dropped map[string]digest.Digest) {
	if _, err := repository.planRemoval(dropped, true); err != nil {
		addEngineError(p.diags, at, titleConflict, err, p.destroyAdvice()...)
	}
}

const (
	titleConflict   = "Conflicting Tag Ownership"
	titleWillRemove = "Old Tags Will Be Removed"
	titleMayRemove  = "Old Tags May Be Removed"
	titleNotListed  = "Tags No Longer Listed"
	titleNotRemoved = "Unable to Remove Old Tags"
)

// planDroppedTags records that this plan removes the tags that the resource wrote and no longer
// lists. It does so even if the digest or on_destroy is unknown: the apply then removes the
// tags without planning the resources that use them again.
func (p *planBuilder) planDroppedTags(ctx context.Context) {
	if p.engine == nil || !p.update || p.before != nil || p.plan.Destination.IsUnknown() || p.policy() == onDestroyRetain {
		return
	}
	destination, tags := p.plan.destinationTags()
	p.warnRetained(tags)
	dropped := p.record.writtenExcept(tags)
	p.planRemoval(p.engine.ownersIn(ctx, destination), path.Root("additional_tags"), dropped)
	p.warnRemoved(destination, dropped, "")
}

// warnRemoved warns about tags that the resource wrote, no longer lists, and will remove.
// manifests is an additional sentence.
func (p *planBuilder) warnRemoved(destination imageref.Ref, dropped map[string]digest.Digest, manifests string) {
	listed := p.record.unmovedTags(dropped)
	if len(listed) == 0 {
		return
	}
	if p.plan.additionalTagsUnknown() {
		p.diags.AddAttributeWarning(path.Root("additional_tags"), titleMayRemove,
			fmt.Sprintf("additional_tags is known only after apply. After the copy, on_destroy = %q removes those of these tags that it does not list, unless the resource is replaced with create_before_destroy: %s in %s.%s",
				p.policy(), joinNames(listed), destination.Name(), manifests))
		return
	}
	if p.candidate != nil {
		p.diags.AddAttributeWarning(path.Root("additional_tags"), titleNotListed,
			fmt.Sprintf("An object in %s wrote these tags, and this resource does not list them: %s. If this resource replaces that object, on_destroy = %q removes them after the copy, "+
				"unless the resource is replaced with create_before_destroy.%s To keep them, set on_destroy = \"retain\".",
				destination.Name(), joinNames(listed), p.policy(), manifests))
		return
	}
	p.diags.AddAttributeWarning(path.Root("additional_tags"), titleNotListed,
		fmt.Sprintf("This resource wrote these tags in %s and no longer lists them: %s. After the copy, on_destroy = %q removes them, unless the resource is replaced with create_before_destroy.%s "+
			"To keep them, set on_destroy = \"retain\".",
			destination.Name(), joinNames(listed), p.policy(), manifests))
}

// warnRetained warns about found tags that are no longer listed. They are not removed.
func (p *planBuilder) warnRetained(stays []string) {
	destination, _ := p.plan.destinationTags()
	p.record.warnRetained(destination, stays, p.diags)
}

func (rec privateState) warnRetained(destination imageref.Ref, stays []string, diags *diag.Diagnostics) {
	var found []string
	for _, tag := range slices.Sorted(maps.Keys(rec.Found)) {
		if !slices.Contains(stays, tag) {
			found = append(found, tag)
		}
	}
	if len(found) > 0 {
		diags.AddAttributeWarning(path.Root("on_destroy"), "Tags Not Written Are Retained",
			fmt.Sprintf("The state has no record that this resource wrote these tags, so on_destroy does not apply to them: %s in %s. Either they held the image before, or the record was lost in a replacement.", joinNames(found), destination.Name()))
	}
}
