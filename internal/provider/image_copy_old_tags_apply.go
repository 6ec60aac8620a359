package provider

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/imageref"
)

// forgetMovedTags forgets the tags at the previous destination that do not have the digest that
// this resource wrote, if both destinations may be one registry. The copy may write the same tags
// under the other name, and they would then count as the old ones. The error is that of a tag that
// could not be resolved.
func (p *copyOperation) forgetMovedTags(ctx context.Context, destination imageref.Ref) (unresolved error) {
	if p.before == nil || !p.mayBeRenamed(destination, p.before.destination) || p.engine.unknownSettingFor(p.before.destination) != "" {
		return nil
	}
	current := maps.Clone(p.before.record.Written)
	for tag, written := range p.before.record.Written {
		found, err := p.engine.resolveTags(ctx, p.before.destination, []string{tag}, written)
		switch {
		case err != nil:
			unresolved = registry.WithSide(err, registry.Destination)
		case found[tag].Digest != written:
			delete(current, tag)
		}
	}
	p.before.record.Written = current
	return unresolved
}

// removePreviousTags applies on_destroy to the tags at the previous destination, or to those of
// the replaced object. The image is already complete at the new destination, so a tag that
// cannot be removed is a warning and not an error.
func (p *copyOperation) removePreviousTags(ctx context.Context) {
	if p.before == nil {
		return
	}
	destination, tags := p.plan.destinationTags()
	old := p.before.destination
	inPlace := p.engine.sameRepository(destination, old)
	listedOld := tags
	if !inPlace {
		listedOld = nil
	}
	dropped := p.before.record.writtenExcept(listedOld)
	policy := milder(p.before.onDestroy, p.plan.OnDestroy.ValueString())
	if policy == onDestroyDelete && !deletesOldManifests(p.engine, destination, old, dropped, p.plan.Digest.ValueString()) {
		policy = onDestroyUntag
	}
	if policy != onDestroyRetain && len(dropped) > 0 {
		switch {
		case p.found && p.mayBeRenamed(destination, old):
			p.diags.AddAttributeWarning(path.Root("on_destroy"), "Old Tags Are Retained",
				fmt.Sprintf("%s had some of the tags before the copy, so it may be another name of %s. These tags stay: %s in %s.", destination, old, joinNames(slices.Sorted(maps.Keys(dropped))), old.Name()))
		case p.oldTagsErr != nil:
			addEngineWarning(p.diags, path.Root("destination"), titleNotRemoved, p.oldTagsErr, p.leftoverDetail(old, dropped))
		default:
			p.removeOldTags(ctx, old, policy, dropped)
		}
	}
	// A failed update may have written tags to the new repository that are no longer listed.
	if leftovers := p.record.writtenExcept(tags); !inPlace && policy != onDestroyRetain && len(leftovers) > 0 {
		p.removeOldTags(ctx, destination, onDestroyUntag, leftovers)
	}
	for tag := range p.record.tagsWith(destination.Tag(), nil) {
		if !slices.Contains(tags, tag) {
			p.record.forget(tag)
		}
	}
}

// mayBeRenamed reports whether two destinations have the same path on different hosts, which may
// be the same registry, for example on another port. Layouts may be one folder that has several
// paths, for example on a file system that ignores case.
func (p *copyOperation) mayBeRenamed(a, b imageref.Ref) bool {
	if a.IsSameFolder(b) {
		return !p.engine.sameRepository(a, b)
	}
	refA, inRegistryA := p.engine.canonical(a).Reference()
	refB, inRegistryB := p.engine.canonical(b).Reference()
	return inRegistryA && inRegistryB && refA.Repository == refB.Repository && refA.Host != refB.Host
}

// leftoverDetail returns the paragraph of a warning about tags that could not be removed.
func (p *copyOperation) leftoverDetail(old imageref.Ref, dropped map[string]digest.Digest) string {
	return fmt.Sprintf("The image is at %s, and the state has that destination. The tags %[3]s stay in %[2]s. To delete a manifest there removes every tag that names it.",
		p.destination(), old.Name(), joinNames(slices.Sorted(maps.Keys(dropped))))
}

// removeOldTags removes tags at an old destination.
func (p *copyOperation) removeOldTags(ctx context.Context, old imageref.Ref, policy string, dropped map[string]digest.Digest) {
	var collected warnings
	defer collected.addTo(p.diags)
	tags := slices.Sorted(maps.Keys(dropped))
	d := tagRemoval{written: dropped, diags: p.diags, warningDetail: p.leftoverDetail(old, dropped)}
	timeout, diags := p.plan.Timeouts.Delete(ctx, defaultDeleteTimeout)
	p.diags.Append(diags...)
	if setting := p.engine.unknownSettingFor(old); setting != "" {
		d.addError(&registry.Error{Op: "remove tags from it", Repository: old.Name(), Kind: registry.ErrCredentials, Message: setting + " is not known"}, "")
		return
	}
	if !d.open(p.engine, old) {
		return
	}
	d.withLock(ctx, p.engine.ownersIn(ctx, old), tags, func() {
		ctx, cancel := withTimeout(ctx, timeout, "delete")
		defer cancel()
		d.run(collected.collect(ctx), policy, tags)
	})
}

// unlistedTags returns the tags of an updated resource that its plan no longer lists, and those
// of them that on_destroy removes.
func (p *copyOperation) unlistedTags() (tags, dropped []string) {
	destination, listed := p.plan.destinationTags()
	removes := milder(p.prior.OnDestroy.ValueString(), p.plan.OnDestroy.ValueString()) != onDestroyRetain
	for _, tag := range slices.Sorted(maps.Keys(p.record.tagsWith(destination.Tag(), p.prior.additionalTags()))) {
		if slices.Contains(listed, tag) {
			continue
		}
		tags = append(tags, tag)
		if removes && p.record.Found[tag] == "" {
			dropped = append(dropped, tag)
		}
	}
	return tags, dropped
}

// removeDroppedTags applies on_destroy to unlisted tags, but never deletes the manifest. It
// reports whether that succeeded.
func (p *copyOperation) removeDroppedTags(ctx context.Context) bool {
	destination, _ := p.plan.destinationTags()
	tags, dropped := p.unlistedTags()
	if len(dropped) > 0 {
		var collected warnings
		defer collected.addTo(p.diags)
		done := false
		d := tagRemoval{written: p.record.Written, diags: p.diags}
		if !d.open(p.engine, destination) {
			return false
		}
		d.withLock(ctx, p.engine.ownersIn(ctx, destination), dropped, func() {
			done = d.run(collected.collect(ctx), onDestroyUntag, dropped)
		})
		for _, tag := range dropped {
			if d.protected.contains(tag) {
				p.record.forget(tag)
			}
		}
		if !done {
			return false
		}
	}
	for _, tag := range tags {
		p.record.forget(tag)
	}
	return true
}
