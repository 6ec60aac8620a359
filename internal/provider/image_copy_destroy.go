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

// Delete does what on_destroy in the state says. What is not there any more is
// as good as deleted. Of an object that is replaced nothing is removed: the
// replacement may have the same tags, and it is complete only later.
func (r *imageCopyResource) Delete(ctx context.Context, req resource.DeleteRequest, resp *resource.DeleteResponse) {
	var state imageCopyModel
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	rec := loadRecord(ctx, req.Private, &resp.Diagnostics)
	timeout, diags := state.Timeouts.Delete(ctx, defaultDeleteTimeout)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	plannedBy := rec.DestroyPlannedBy
	rec.DestroyPlannedBy = "" // of this plan alone, also if the destroy fails
	rec.save(ctx, resp.Private, &resp.Diagnostics)
	destination, _ := parseDestination(state.Destination.ValueString())
	policy := state.OnDestroy.ValueString()
	switch {
	case plannedBy == "":
		r.handOver(rec, destination, slices.Sorted(maps.Keys(rec.tagsWith(destination.Tag(), state.additional()))), policy, &resp.Diagnostics)
		return
	case policy == onDestroyRetain:
		return
	case plannedBy == r.engine.run: // Terraform plans this while it applies for deposed objects alone
		r.keepDeposed(ctx, rec, destination, &resp.Diagnostics)
		return
	}
	if setting := r.engine.unknownSettingFor(destination); setting != "" {
		resp.Diagnostics.AddError("The provider's configuration is incomplete",
			fmt.Sprintf("%s is not known, and %s cannot be asked without it.", setting, destination.Name()))
		return
	}
	var said warnings
	defer said.tell(&resp.Diagnostics)
	var tags []string
	for tag := range rec.tagsWith(destination.Tag(), state.additional()) {
		if rec.Found[tag] == "" {
			tags = append(tags, tag)
		}
	}
	slices.Sort(tags)
	d := tagRemoval{put: rec.Put, diags: &resp.Diagnostics}
	if !d.open(r.engine, destination) {
		return
	}
	d.exclusively(ctx, r.engine.claimsIn(ctx, destination), tags, func() {
		ctx, cancel := withTimeout(ctx, timeout, "delete") // which the removals before this one do not use up
		defer cancel()
		d.run(said.collect(ctx), policy, tags)
		// What is another resource's by now must not be removed by a further
		// attempt, when nobody knows of that any more.
		for _, tag := range tags {
			if d.taken.has(tag) {
				rec.forget(tag)
			}
		}
		rec.save(ctx, resp.Private, &resp.Diagnostics)
	})
}

// handOver gives the record of an object that is replaced to its replacement,
// which Terraform creates next. The record is in the private data of the plan,
// except if the object is tainted and the plan was made with -refresh=false.
func (r *imageCopyResource) handOver(rec privateState, destination imageref.Ref, tags []string, policy string, diags *diag.Diagnostics) {
	replacement := destination
	if to, problem := parseDestination(rec.ReplacedBy); problem == "" {
		replacement = to
	}
	rec.ReplacedBy = ""
	r.engine.handovers.replace(r.engine.canonical(replacement), predecessor{destination, policy, rec})
	if policy != onDestroyRetain && len(rec.Put) == 0 && len(rec.Found) == 0 {
		diags.AddAttributeWarning(path.Root("on_destroy"), titleRetained,
			fmt.Sprintf("Terraform did not pass on which tags the replaced object wrote, because it is tainted and was planned with -refresh=false, or gets another destination. "+
				"Its tags stay, and do not count as written by the replacement: %s in %s.", joinNames(tags), destination.Name()))
	}
}

// keepDeposed warns about the tags of an object that was replaced with
// create_before_destroy, in this run or an earlier one. They are retained, because
// Terraform does not tell which of them the replacement or another resource has in
// place.
func (r *imageCopyResource) keepDeposed(ctx context.Context, rec privateState, destination imageref.Ref, diags *diag.Diagnostics) {
	known := r.engine.claimsIn(ctx, destination).known()
	var left []string
	for _, tag := range slices.Sorted(maps.Keys(rec.Put)) {
		if _, is := known[tag]; !is {
			left = append(left, tag)
		}
	}
	if len(left) > 0 {
		diags.AddAttributeWarning(path.Root("on_destroy"), titleRetained,
			fmt.Sprintf("The destroyed object was replaced with create_before_destroy. The tags that it wrote stay, because the replacement may have them in place: %s in %s.",
				joinNames(left), destination.Name()))
	}
}

// tagRemoval removes tags that a resource put, and what they name.
type tagRemoval struct {
	repository registry.Repository
	put        map[string]digest.Digest
	owners     *repoOwners
	taken      taken // what is another resource's by now
	diags      *diag.Diagnostics
	// leftover is what to say of what a failure leaves behind, if a failure is
	// worth no more than a warning.
	leftover string
}

const (
	titleRetained = "Tags Retained After Replacement"
	destroyFailed = "The destination could not be cleaned up"
	againAdvice   = "Apply again to try again: the state still has the resource. To forget it there and leave at the registry what is there, use terraform state rm."
	retainAdvice  = "Some registries cannot remove a tag (docker/distribution before 3 cannot), and some have deletion switched off. Set on_destroy = \"retain\" to leave at the registry what is there. Where the resource is being destroyed, apply that first: the value that was applied last counts. To forget a resource that is gone from the configuration, use terraform state rm."
)

// open opens where the tags are. It says whether that succeeded.
func (d *tagRemoval) open(e *engine, destination imageref.Ref) bool {
	repository, err := e.to(destination)
	if d.repository = repository; err != nil {
		d.failed(err, "Nothing was removed. "+againAdvice)
	}
	return err == nil
}

// exclusively waits until no other removal runs in the repository, and then runs one
// that knows what is claimed.
func (d *tagRemoval) exclusively(ctx context.Context, claims *repoOwners, tags []string, removal func()) {
	put := map[string]digest.Digest{}
	for _, tag := range tags {
		put[tag] = d.put[tag]
	}
	err := claims.remove(ctx, put, func(t taken) {
		d.owners, d.taken = claims, t
		removal()
	})
	if err != nil {
		d.failed(&registry.Error{Op: "remove tags from it", Repository: d.repository.Name(), Kind: registry.ErrUnavailable, Err: err}, "Nothing was removed. "+againAdvice)
	}
}

func (d *tagRemoval) failed(err error, advice string) {
	err = registry.WithSide(err, registry.Destination)
	if d.leftover != "" {
		addEngineWarning(d.diags, path.Root("destination"), "Unable to Remove Old Tags", err, d.leftover)
		return
	}
	addEngineError(d.diags, path.Root("on_destroy"), destroyFailed, err, advice)
}

// run untags or deletes. It says whether that succeeded.
func (d *tagRemoval) run(ctx context.Context, policy string, tags []string) bool {
	ours, err := d.ownTags(ctx, tags)
	advice := "Nothing was removed. " + againAdvice
	if err == nil {
		d.owners.keepsRemoved(tags, ours)
		if policy == onDestroyDelete {
			err = d.delete(ctx, ours)
		} else {
			err = d.untag(ctx, slices.Sorted(maps.Keys(ours)))
		}
		if advice = retainAdvice; isUnreachable(err) {
			advice = againAdvice
		}
	}
	if err != nil {
		d.failed(err, advice)
	}
	return err == nil
}

// isUnreachable says whether a registry did not come to say if it can do what was
// asked.
func isUnreachable(err error) bool {
	return slices.ContainsFunc([]error{context.Canceled, context.DeadlineExceeded, registry.ErrUnavailable, registry.ErrUnauthorized, registry.ErrRateLimited, registry.ErrCredentials},
		func(kind error) bool { return errors.Is(err, kind) })
}

// ownTags are those of the tags that still hold what the resource put there, with
// it. Of the others people are told.
func (d *tagRemoval) ownTags(ctx context.Context, tags []string) (map[string]digest.Digest, error) {
	ours := map[string]digest.Digest{}
	for _, tag := range tags {
		if d.taken.has(tag) {
			d.diags.AddAttributeWarning(path.Root("on_destroy"), "A tag was left as it is", d.ownerText(tag))
			continue
		}
		put := d.put[tag]
		switch found, err := look(ctx, d.repository, tag, put); {
		case errors.Is(err, registry.ErrNotFound):
		case err != nil:
			return nil, err
		case found.Digest == put:
			ours[tag] = put
		default:
			d.diags.AddAttributeWarning(path.Root("on_destroy"), "A tag was left as it is",
				fmt.Sprintf("%s:%s holds %s, which is not this resource's to remove.", d.repository.Name(), tag, found.Digest))
		}
	}
	return ours, nil
}

// ownerText says why a tag must stay.
func (d *tagRemoval) ownerText(tag string) string {
	if alias, is := d.taken.aliases[tag]; is {
		return fmt.Sprintf("%s:%s may be the same tag as %s:%s, which is in place or put there in the same run with the same digest: nothing shows that the two hosts are different registries.",
			d.repository.Name(), tag, alias, tag)
	}
	return fmt.Sprintf("%s:%s belongs to another resource, which has it in place or puts it there in the same run.", d.repository.Name(), tag)
}

// untag removes tags and leaves what they name.
func (d *tagRemoval) untag(ctx context.Context, tags []string) error {
	for _, tag := range tags {
		if err := d.repository.DeleteTag(ctx, tag); err != nil && !errors.Is(err, registry.ErrNotFound) {
			return err
		}
	}
	return nil
}

// delete deletes the manifests that the tags name. One that something else in the
// repository names too loses only the tags of this resource.
func (d *tagRemoval) delete(ctx context.Context, ours map[string]digest.Digest) error {
	manifests := map[digest.Digest][]string{}
	for _, tag := range slices.Sorted(maps.Keys(ours)) {
		manifests[ours[tag]] = append(manifests[ours[tag]], tag)
	}
	if len(manifests) == 0 {
		return nil
	}
	others, err := d.siblings(ctx, ours)
	if err != nil {
		return err
	}
	kept, err := others.keep(ctx, d.repository, slices.Sorted(maps.Keys(manifests)))
	if err != nil {
		return err
	}
	for _, manifest := range slices.Sorted(maps.Keys(manifests)) {
		if reason := kept[manifest]; reason != "" {
			if err = d.untag(ctx, manifests[manifest]); err == nil {
				d.diags.AddAttributeWarning(path.Root("on_destroy"), "The manifest was not deleted",
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

// deleteManifest deletes a manifest. It is kept for the rest of the run, if it can be
// read: a resource that is applied later may need it, and have a source that does not.
func (d *tagRemoval) deleteManifest(ctx context.Context, manifest digest.Digest) error {
	if m, err := d.repository.GetManifest(ctx, manifest.String()); err == nil {
		d.owners.keepDeleted(m)
	}
	return d.repository.DeleteManifest(ctx, manifest)
}

// siblings are the repository's tags that are not among ours, with what they
// name: those on its list, and those that are about to be. A list without one
// of ours, which was there a moment ago, is not believed about the others.
func (d *tagRemoval) siblings(ctx context.Context, ours map[string]digest.Digest) (siblings, error) {
	tags, err := d.repository.ListTags(ctx)
	if err != nil {
		return nil, err
	}
	for _, tag := range slices.Sorted(maps.Keys(ours)) {
		if !slices.Contains(tags, tag) {
			return nil, &registry.Error{Side: registry.Destination, Op: "list the tags", Repository: d.repository.Name(), Kind: registry.ErrProtocol,
				Message: fmt.Sprintf("the list does not have the tag %s, which is there; an incomplete list is not enough to delete by", tag)}
		}
	}
	tags = slices.DeleteFunc(tags, func(tag string) bool { _, is := ours[tag]; return is })
	var like digest.Digest
	for _, like = range ours {
		break
	}
	found, err := lookAtAll(ctx, d.repository, tags, like)
	if err != nil {
		return nil, err
	}
	s := siblings{}
	for _, tag := range slices.Sorted(maps.Keys(found)) {
		s.add(d.repository.Redact(tag), claim{found[tag].Digest, found[tag].MediaType})
	}
	for _, tag := range slices.Sorted(maps.Keys(d.taken.tags)) {
		if wanted := d.taken.tags[tag]; found[tag].Digest != wanted.digest {
			s.add(tag, wanted)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.taken.elsewhere)) {
		s.add(name, d.taken.elsewhere[name])
	}
	return s, nil
}
