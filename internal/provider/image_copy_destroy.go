package provider

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/imageref"
)

// Delete applies the on_destroy policy from state. Tags that no longer exist count as deleted.
// If the object is replaced, Delete removes nothing: the replacement may have the same tags,
// and it is created later.
func (r *imageCopyResource) Delete(ctx context.Context, req resource.DeleteRequest, resp *resource.DeleteResponse) {
	var state imageCopyModel
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	destination, _ := parseDestination(state.Destination.ValueString())
	rec := loadPrivateState(ctx, req.Private, &resp.Diagnostics).inFolder(destination, &resp.Diagnostics)
	timeout, diags := state.Timeouts.Delete(ctx, defaultDeleteTimeout)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	plannedBy := rec.DestroyPlannedBy
	rec.DestroyPlannedBy = "" // valid only for this plan, even if the destroy fails
	rec.save(ctx, resp.Private, &resp.Diagnostics)
	policy := state.OnDestroy.ValueString()
	switch {
	case plannedBy == "":
		r.handOver(rec, destination, slices.Sorted(maps.Keys(rec.tagsWith(destination.Tag(), state.additionalTags()))), policy, &resp.Diagnostics)
		return
	case policy == onDestroyRetain:
		return
	case plannedBy == r.engine.runID: // Terraform plans a destroy during an apply only for deposed objects
		r.warnDeposed(ctx, rec, destination, &resp.Diagnostics)
		return
	}
	if setting := r.engine.unknownSettingFor(destination); setting != "" {
		resp.Diagnostics.AddError("Incomplete Provider Configuration",
			fmt.Sprintf("%s is not known, and %s cannot be asked without it.", setting, destination.Name()))
		return
	}
	var collected warnings
	defer collected.addTo(&resp.Diagnostics)
	var tags []string
	for tag := range rec.tagsWith(destination.Tag(), state.additionalTags()) {
		if rec.Found[tag] == "" {
			tags = append(tags, tag)
		}
	}
	slices.Sort(tags)
	d := tagRemoval{written: rec.Written, diags: &resp.Diagnostics}
	if !d.open(r.engine, destination) {
		return
	}
	d.withLock(ctx, r.engine.ownersIn(ctx, destination), tags, func() {
		ctx, cancel := withTimeout(ctx, timeout, "delete") // starts after other removals have finished
		defer cancel()
		d.run(collected.collect(ctx), policy, tags)
		// Forget tags that belong to another resource. Otherwise a later attempt, which no
		// longer knows the owner, could remove them.
		for _, tag := range tags {
			if d.protected.contains(tag) {
				rec.forget(tag)
			}
		}
		rec.save(ctx, resp.Private, &resp.Diagnostics)
	})
}

// handOver passes the private state of a replaced object to its replacement, which Terraform
// creates next. The private data of the plan has that state, except if the object is tainted
// and was planned with -refresh=false.
func (r *imageCopyResource) handOver(rec privateState, destination imageref.Ref, tags []string, policy string, diags *diag.Diagnostics) {
	replacement := destination
	if to, problem := parseDestination(rec.ReplacedBy); problem == "" {
		replacement = to
	}
	rec.ReplacedBy = ""
	r.engine.handovers.replace(r.engine.canonical(replacement), predecessor{destination, policy, rec})
	if policy != onDestroyRetain && len(rec.Written) == 0 && len(rec.Found) == 0 {
		diags.AddAttributeWarning(path.Root("on_destroy"), titleRetained,
			fmt.Sprintf("Terraform did not pass on which tags the replaced object wrote, because it is tainted and was planned with -refresh=false, or gets another destination. "+
				"Its tags stay, and do not count as written by the replacement: %s in %s.", joinNames(tags), destination.Name()))
	}
}

// warnDeposed warns about the tags of an object that was replaced with create_before_destroy,
// in this run or an earlier one. The tags are retained, because Terraform does not report
// whether the replacement or another resource uses them.
func (r *imageCopyResource) warnDeposed(ctx context.Context, rec privateState, destination imageref.Ref, diags *diag.Diagnostics) {
	owned := r.engine.ownersIn(ctx, destination).targets()
	var retained []string
	for _, tag := range slices.Sorted(maps.Keys(rec.Written)) {
		if _, is := owned[tag]; !is {
			retained = append(retained, tag)
		}
	}
	if len(retained) > 0 {
		diags.AddAttributeWarning(path.Root("on_destroy"), titleRetained,
			fmt.Sprintf("The destroyed object was replaced with create_before_destroy. The tags that it wrote stay, because the replacement may have them in place: %s in %s.",
				joinNames(retained), destination.Name()))
	}
}

// tagRemoval removes tags that a resource wrote, and the manifests that they name.
type tagRemoval struct {
	repository registry.Repository
	written    map[string]digest.Digest
	owners     *repoOwners
	protected  protectedTags // owned by other resources
	diags      *diag.Diagnostics
	// warningDetail is the advice to add if a failure is only a warning. If it is empty, a
	// failure is an error.
	warningDetail string
}

const (
	titleRetained      = "Tags Retained After Replacement"
	titleDestroyFailed = "Unable to Clean Up Destination"
	retryAdvice        = "Apply again to try again: the state still has the resource. To forget it there and leave at the registry what is there, use terraform state rm."
	retainAdvice       = "Some registries cannot remove a tag (docker/distribution before 3 cannot), and some have deletion switched off. Set on_destroy = \"retain\" to leave at the registry what is there. Where the resource is being destroyed, apply that first: the value that was applied last counts. To forget a resource that is gone from the configuration, use terraform state rm."
)

// open opens the repository of destination. It reports whether that succeeded.
func (d *tagRemoval) open(e *engine, destination imageref.Ref) bool {
	repository, err := e.openDestination(destination)
	if d.repository = repository; err != nil {
		d.addError(err, "Nothing was removed. "+retryAdvice)
	}
	return err == nil
}

// withLock waits until no other removal runs in the repository. It then determines which tags
// other resources own and calls removal.
func (d *tagRemoval) withLock(ctx context.Context, owners *repoOwners, tags []string, removal func()) {
	written := map[string]digest.Digest{}
	for _, tag := range tags {
		written[tag] = d.written[tag]
	}
	err := owners.remove(ctx, written, func(t protectedTags) {
		d.owners, d.protected = owners, t
		removal()
	})
	if err != nil {
		d.addError(&registry.Error{Op: "remove tags from it", Repository: d.repository.Name(), Kind: registry.ErrUnavailable, Err: err}, "Nothing was removed. "+retryAdvice)
	}
}

func (d *tagRemoval) addError(err error, advice string) {
	err = registry.WithSide(err, registry.Destination)
	if d.warningDetail != "" {
		addEngineWarning(d.diags, path.Root("destination"), titleNotRemoved, err, d.warningDetail)
		return
	}
	addEngineError(d.diags, path.Root("on_destroy"), titleDestroyFailed, err, advice)
}

// run applies the policy to the tags. It reports whether that succeeded.
func (d *tagRemoval) run(ctx context.Context, policy string, tags []string) bool {
	unmoved, err := d.unmovedTags(ctx, tags)
	advice := "Nothing was removed. " + retryAdvice
	if err == nil {
		d.owners.confirmRemoved(tags, unmoved)
		if policy == onDestroyDelete {
			err = d.delete(ctx, unmoved)
		} else {
			err = d.untag(ctx, slices.Sorted(maps.Keys(unmoved)))
		}
		if advice = retainAdvice; isUnreachable(err) {
			advice = retryAdvice
		}
	}
	if err != nil {
		d.addError(err, advice)
	}
	return err == nil
}

// isUnreachable reports whether err means that the registry did not process the request, so
// that it is unknown whether it supports the operation.
func isUnreachable(err error) bool {
	return slices.ContainsFunc([]error{context.Canceled, context.DeadlineExceeded, registry.ErrUnavailable, registry.ErrUnauthorized, registry.ErrRateLimited, registry.ErrCredentials},
		func(kind error) bool { return errors.Is(err, kind) })
}

// unmovedTags returns those of the tags that still point to the digest that the resource wrote,
// with that digest. It warns about tags that belong to another resource or point to another
// digest.
func (d *tagRemoval) unmovedTags(ctx context.Context, tags []string) (map[string]digest.Digest, error) {
	unmoved := map[string]digest.Digest{}
	for _, tag := range tags {
		if d.protected.contains(tag) {
			d.diags.AddAttributeWarning(path.Root("on_destroy"), "Tag Was Retained", d.retainedReason(tag))
			continue
		}
		put := d.written[tag]
		switch found, err := resolveReference(ctx, d.repository, tag, put); {
		case errors.Is(err, registry.ErrNotFound):
		case err != nil:
			return nil, err
		case found.Digest == put:
			unmoved[tag] = put
		default:
			d.diags.AddAttributeWarning(path.Root("on_destroy"), "Tag Was Retained",
				fmt.Sprintf("%s:%s holds %s, which is not this resource's to remove.", d.repository.Name(), tag, found.Digest))
		}
	}
	return unmoved, nil
}

// retainedReason explains why a tag is not removed.
func (d *tagRemoval) retainedReason(tag string) string {
	if alias, is := d.protected.aliases[tag]; is {
		return fmt.Sprintf("%s:%s may be the same tag as %s:%s, which is in place or put there in the same run with the same digest: nothing shows that the two hosts are different registries.",
			d.repository.Name(), tag, alias, tag)
	}
	return fmt.Sprintf("%s:%s belongs to another resource, which has it in place or puts it there in the same run.", d.repository.Name(), tag)
}

// untag removes tags, but not the manifests that they name.
func (d *tagRemoval) untag(ctx context.Context, tags []string) error {
	for _, tag := range tags {
		if err := d.repository.DeleteTag(ctx, tag); err != nil && !errors.Is(err, registry.ErrNotFound) {
			return err
		}
	}
	return nil
}

// delete deletes the manifests that the tags name. If another tag or index in the repository
// names a manifest too, delete removes only the tags of this resource.
func (d *tagRemoval) delete(ctx context.Context, unmoved map[string]digest.Digest) error {
	manifests := map[digest.Digest][]string{}
	for _, tag := range slices.Sorted(maps.Keys(unmoved)) {
		manifests[unmoved[tag]] = append(manifests[unmoved[tag]], tag)
	}
	if len(manifests) == 0 {
		return nil
	}
	others, err := d.siblings(ctx, unmoved)
	if err != nil {
		return err
	}
	kept, err := others.keepReasons(ctx, d.repository, slices.Sorted(maps.Keys(manifests)))
	if err != nil {
		return err
	}
	for _, manifest := range slices.Sorted(maps.Keys(manifests)) {
		if reason := kept[manifest]; reason != "" {
			if err = d.untag(ctx, manifests[manifest]); err == nil {
				d.diags.AddAttributeWarning(path.Root("on_destroy"), "Manifest Was Not Deleted",
					fmt.Sprintf("%s@%s %s. Only the tags of this resource were removed: %s.",
						d.repository.Name(), manifest, reason, joinNames(manifests[manifest])))
			}
		} else if err = d.deleteManifest(ctx, manifest); errors.Is(err, registry.ErrNotFound) {
			err = nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// deleteManifest deletes a manifest. It first tries to keep a copy for the rest of the run,
// because a resource that is applied later may need the manifest and its source may not have
// it.
func (d *tagRemoval) deleteManifest(ctx context.Context, manifest digest.Digest) error {
	if m, err := d.repository.GetManifest(ctx, manifest.String()); err == nil {
		d.owners.keepDeleted(m)
	}
	return d.repository.DeleteManifest(ctx, manifest)
}

// siblings returns the tags of the repository that are not in unmoved, with the manifests that
// they name. It includes tags that other resources are about to write. If a tag in unmoved is
// missing from the registry's list, siblings returns an error, because the list is incomplete.
func (d *tagRemoval) siblings(ctx context.Context, unmoved map[string]digest.Digest) (siblings, error) {
	tags, err := d.repository.ListTags(ctx)
	if err != nil {
		return nil, err
	}
	for _, tag := range slices.Sorted(maps.Keys(unmoved)) {
		if !slices.Contains(tags, tag) {
			return nil, &registry.Error{Side: registry.Destination, Op: "list the tags", Repository: d.repository.Name(), Kind: registry.ErrProtocol,
				Message: fmt.Sprintf("the list does not have the tag %s, which is there; an incomplete list is not enough to delete by", tag)}
		}
	}
	tags = slices.DeleteFunc(tags, func(tag string) bool { _, is := unmoved[tag]; return is })
	var like digest.Digest
	for _, like = range unmoved {
		break
	}
	found, err := resolveAll(ctx, d.repository, tags, like)
	if err != nil {
		return nil, err
	}
	s := siblings{}
	for _, tag := range slices.Sorted(maps.Keys(found)) {
		s.add(d.repository.Redact(tag), tagTarget{found[tag].Digest, found[tag].MediaType})
	}
	for _, tag := range slices.Sorted(maps.Keys(d.protected.tags)) {
		if target := d.protected.tags[tag]; found[tag].Digest != target.digest {
			s.add(tag, target)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.protected.inAliases)) {
		s.add(name, d.protected.inAliases[name])
	}
	return s, nil
}
