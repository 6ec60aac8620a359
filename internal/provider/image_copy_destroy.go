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
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/place"
)

// Delete does what on_destroy in the state says. What is not there any more is
// as good as deleted.
func (r *imageCopyResource) Delete(ctx context.Context, req resource.DeleteRequest, resp *resource.DeleteResponse) {
	var state imageCopyModel
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	rec := loadRecord(ctx, req.Private, &resp.Diagnostics)
	timeout, diags := state.Timeouts.Delete(ctx, defaultDeleteTimeout)
	resp.Diagnostics.Append(diags...)
	policy := state.OnDestroy.ValueString()
	if resp.Diagnostics.HasError() || policy == onDestroyRetain {
		return
	}
	destination, _ := parseDestination(state.Destination.ValueString())
	if rec.DestroyPlannedBy == r.engine.run && !r.engine.claims.replaces(state.creation(r.engine)) {
		resp.Diagnostics.AddAttributeWarning(path.Root("on_destroy"), "Nothing was removed",
			fmt.Sprintf("What is destroyed here was replaced in an earlier run, which did not come to destroy it. What it put stays, because its replacement may have it in place: %s in %s. Remove what nobody needs by hand.",
				listed(slices.Sorted(maps.Keys(rec.Put))), destination.Name()))
		return
	}
	if setting := r.engine.undecidedAt(destination); setting != "" {
		resp.Diagnostics.AddError("The provider's configuration is incomplete",
			fmt.Sprintf("%s is not known, and %s cannot be asked without it.", setting, destination.Name()))
		return
	}
	var said notices
	defer said.tell(&resp.Diagnostics)
	tags := slices.Sorted(maps.Keys(rec.tagsWith(destination.Tag(), state.additional())))
	d := destruction{put: rec.Put, diags: &resp.Diagnostics}
	if !d.open(r.engine, destination) {
		return
	}
	d.inTurn(ctx, r.engine.claimsIn(destination), tags, func() {
		ctx, cancel := limited(ctx, timeout, "delete") // which the removals before this one do not use up
		defer cancel()
		d.run(said.listen(ctx), policy, tags)
		// What is another resource's by now must not be removed by a further
		// attempt, when nobody knows of that any more.
		for tag := range d.claimed {
			rec.forget(tag)
		}
		rec.DestroyPlannedBy = "" // of this plan alone
		rec.save(ctx, resp.Private, &resp.Diagnostics)
	})
}

// letGo does with tags that are no longer wanted what on_destroy says, but never
// deletes the manifest. It says whether that succeeded.
func (p *promotion) letGo(ctx context.Context) bool {
	destination, _ := parseDestination(p.plan.Destination.ValueString())
	var tags []string
	for tag := range p.record.tagsWith(destination.Tag(), p.prior.additional()) {
		if tag != destination.Tag() && !slices.Contains(p.plan.additional(), tag) {
			tags = append(tags, tag)
		}
	}
	slices.Sort(tags)
	if len(tags) > 0 && p.plan.OnDestroy.ValueString() != onDestroyRetain {
		var said notices
		defer said.tell(p.diags)
		done := false
		d := destruction{put: p.record.Put, diags: p.diags}
		if !d.open(p.engine, destination) {
			return false
		}
		d.inTurn(ctx, p.engine.claimsIn(destination), tags, func() {
			done = d.run(said.listen(ctx), onDestroyUntag, tags)
		})
		for tag := range d.claimed {
			if slices.Contains(tags, tag) {
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

// destruction removes tags that a resource put, and what they name.
type destruction struct {
	repository registry.Repository
	put        map[string]digest.Digest
	claimed    map[string]digest.Digest // what is another resource's by now
	diags      *diag.Diagnostics
}

const (
	destroyFailed = "The destination could not be cleaned up"
	againAdvice   = "Apply again to try again: the state still has the resource. To forget it there and leave at the registry what is there, use terraform state rm."
	retainAdvice  = "Some registries cannot remove a tag (docker/distribution before 3 cannot), and some have deletion switched off. Set on_destroy = \"retain\" to leave at the registry what is there. Where the resource is being destroyed, apply that first: the value that was applied last counts. To forget a resource that is gone from the configuration, use terraform state rm."
)

// open opens where the tags are. It says whether that succeeded.
func (d *destruction) open(e *engine, destination place.Place) bool {
	repository, err := e.to(destination)
	if d.repository = repository; err != nil {
		d.failed(err, "Nothing was removed. "+againAdvice)
	}
	return err == nil
}

// inTurn waits until no other removal runs in the repository, and then runs one
// that knows what is claimed.
func (d *destruction) inTurn(ctx context.Context, claims *claimed, tags []string, removal func()) {
	err := claims.remove(ctx, tags, func(claimed map[string]digest.Digest) {
		d.claimed = claimed
		removal()
	})
	if err != nil {
		d.failed(&registry.Error{Op: "remove tags from it", Repository: d.repository.Name(), Kind: registry.ErrUnavailable, Err: err}, "Nothing was removed. "+againAdvice)
	}
}

func (d *destruction) failed(err error, advice string) {
	addEngineError(d.diags, path.Root("on_destroy"), destroyFailed, registry.OnSide(err, registry.Destination), advice)
}

// run untags or deletes. It says whether that succeeded.
func (d *destruction) run(ctx context.Context, policy string, tags []string) bool {
	ours, err := d.ours(ctx, tags)
	advice := "Nothing was removed. " + againAdvice
	if err == nil {
		if policy == onDestroyDelete {
			err = d.delete(ctx, ours)
		} else {
			err = d.untag(ctx, slices.Sorted(maps.Keys(ours)))
		}
		if advice = retainAdvice; unreached(err) {
			advice = againAdvice
		}
	}
	if err != nil {
		d.failed(err, advice)
	}
	return err == nil
}

// unreached says whether a registry did not come to say if it can do what was
// asked.
func unreached(err error) bool {
	return slices.ContainsFunc([]error{context.Canceled, context.DeadlineExceeded, registry.ErrUnavailable, registry.ErrUnauthorized, registry.ErrRateLimited, registry.ErrCredentials},
		func(kind error) bool { return errors.Is(err, kind) })
}

// ours are those of the tags that still hold what the resource put there, with
// it. Of the others people are told.
func (d *destruction) ours(ctx context.Context, tags []string) (map[string]digest.Digest, error) {
	ours := map[string]digest.Digest{}
	for _, tag := range tags {
		if _, is := d.claimed[tag]; is {
			d.diags.AddAttributeWarning(path.Root("on_destroy"), "A tag was left as it is",
				fmt.Sprintf("%s:%s belongs to another resource, or to the replacement of this one, which puts it there in the same run.", d.repository.Name(), tag))
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

// untag removes tags and leaves what they name.
func (d *destruction) untag(ctx context.Context, tags []string) error {
	for _, tag := range tags {
		if err := d.repository.DeleteTag(ctx, tag); err != nil && !errors.Is(err, registry.ErrNotFound) {
			return err
		}
	}
	return nil
}

// delete deletes the manifests that the tags name. One that a foreign tag names
// too loses only the tags of this resource.
func (d *destruction) delete(ctx context.Context, ours map[string]digest.Digest) error {
	manifests := map[digest.Digest][]string{}
	for _, tag := range slices.Sorted(maps.Keys(ours)) {
		manifests[ours[tag]] = append(manifests[ours[tag]], tag)
	}
	if len(manifests) == 0 {
		return nil
	}
	siblings, err := d.siblings(ctx, ours)
	if err != nil {
		return err
	}
	for _, manifest := range slices.Sorted(maps.Keys(manifests)) {
		if others := siblings[manifest]; len(others) > 0 {
			if err = d.untag(ctx, manifests[manifest]); err == nil {
				d.diags.AddAttributeWarning(path.Root("on_destroy"), "The manifest was not deleted",
					fmt.Sprintf("%s@%s is also named by other tags: %s. Only the tags of this resource were removed: %s.",
						d.repository.Name(), manifest, listed(others), listed(manifests[manifest])))
			}
		} else if err = d.repository.DeleteManifest(ctx, manifest); errors.Is(err, registry.ErrNotFound) {
			err = nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// siblings are the repository's tags that are not among ours, by what they
// name: those on its list, and those that are about to be. A list without one
// of ours, which was there a moment ago, is not believed about the others.
func (d *destruction) siblings(ctx context.Context, ours map[string]digest.Digest) (map[digest.Digest][]string, error) {
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
	siblings := map[digest.Digest][]string{}
	for _, tag := range slices.Sorted(maps.Keys(found)) {
		siblings[found[tag].Digest] = append(siblings[found[tag].Digest], d.repository.Mask(tag))
	}
	for _, tag := range slices.Sorted(maps.Keys(d.claimed)) {
		if wanted := d.claimed[tag]; found[tag].Digest != wanted {
			siblings[wanted] = append(siblings[wanted], tag)
		}
	}
	return siblings, nil
}
