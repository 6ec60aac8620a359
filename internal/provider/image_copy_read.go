package provider

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/imageref"
)

// sourcePatience is how long a refresh waits for a source. That it does not
// answer is only worth a warning, and so not worth the minutes that a rate limit
// may ask to wait.
const sourcePatience = 20 * time.Second

var errSourceSlow = fmt.Errorf("it did not answer within %s, and a refresh waits no longer for a source", sourcePatience)

// Read looks at the destination's tags, which become the state, and at the
// source, which is noted in the record for the plan. Both are asked at once.
// Only the destination decides whether the resource is still there, and only
// when the registry says itself that the tag is not.
func (r *imageCopyResource) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	var state imageCopyModel
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	rec := loadRecord(ctx, req.Private, &resp.Diagnostics).orOf(state)
	timeout, diags := state.Timeouts.Read(ctx, defaultReadTimeout)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	destination, _ := parseDestination(state.Destination.ValueString())
	resp.Diagnostics.Append(identify(ctx, resp.Identity, destination)...) // also of one that turns out to be gone
	if setting := r.engine.unknownSettingFor(destination); setting != "" {
		resp.Diagnostics.AddAttributeWarning(path.Root("destination"), "The destination was not asked",
			fmt.Sprintf("%s is known only after apply, and %s cannot be asked without it. What the state says is taken to be so.", setting, destination.Name()))
		r.engine.handovers.plan(r.engine.canonical(destination), predecessor{destination, state.OnDestroy.ValueString(), rec})
		return
	}
	ctx, cancel := withTimeout(ctx, timeout, "read")
	defer cancel()
	var said warnings
	listening := said.collect(ctx)

	var source resolvedSource
	var referrers copier.Report
	var sourceErr error
	var asking sync.WaitGroup
	asking.Go(func() {
		source, referrers, sourceErr = r.refreshSource(listening, state, rec)
	})
	tags := slices.Sorted(maps.Keys(rec.tagsWith(destination.Tag(), state.additional())))
	found, err := r.engine.held(listening, destination, tags, digest.Digest(state.Digest.ValueString()))
	asking.Wait()
	if now := found[destination.Tag()].Digest; err == nil && now != "" && now == rec.Applied.Digest {
		rec.Missing, err = state.check(listening, r.engine, destination, now, referrers)
	}
	said.tell(&resp.Diagnostics)
	switch {
	case err != nil:
		var advice []string
		if !state.Digest.IsNull() && !errors.Is(err, context.Canceled) { // otherwise it is being imported, and there is no state yet, or nothing is wrong
			advice = []string{
				"The state is kept as it was: only the registry's own word that the tag is not there takes the resource out of it. To plan without asking, use -refresh=false. " +
					"If the registry is gone for good, terraform state rm forgets the resource.",
				fmt.Sprintf("This is about %s, where the state has the image. If `destination` has just been changed, that is the old place.", destination),
			}
		}
		addEngineError(&resp.Diagnostics, path.Root("destination"), errorSummary("destination ", err, "Cannot find out what the destination holds"), err, advice...)
		return
	case found[destination.Tag()].Digest == "":
		resp.State.RemoveResource(ctx)
		return
	case sourceErr != nil:
		advice := append(untagged(state.Source, sourceErr), fmt.Sprintf("What was promoted stays as it is, and nothing new is planned from %s until it can be had. "+
			"If `source` has just been changed, then this is about the old one and of no importance.", state.Source.ValueString()))
		if len(rec.Missing) > 0 {
			advice = append(advice, "What is missing at the destination is planned as a repair all the same, which needs a source that has it.")
		}
		addEngineWarning(&resp.Diagnostics, path.Root("source"), errorSummary("source ", sourceErr, "The source could not be asked"), sourceErr, advice...)
	}
	rec.Wanted = source
	if referrers.ReferrersDigest != "" {
		rec.Referrers = referrers.ReferrersDigest
	}
	state.sinceReferrers()
	state.Missing = listOf(ctx, rec.Missing)
	resp.Diagnostics.Append(state.refresh(ctx, &rec, destination, found)...)
	rec.DestroyPlannedBy, rec.ReplacedBy = "", "" // of no plan yet
	r.engine.handovers.plan(r.engine.canonical(destination), predecessor{destination, state.OnDestroy.ValueString(), rec.withMaps()})
	state.refreshPromoted(ctx, r.engine, rec, destination, found)
	rec.save(ctx, resp.Private, &resp.Diagnostics)
	resp.Diagnostics.Append(resp.State.Set(ctx, state)...)
}

// refreshSource is what the source holds now, and what refers to it. Where it
// cannot be asked, it is what was copied last, with the reason: what was promoted
// stays.
func (r *imageCopyResource) refreshSource(ctx context.Context, state imageCopyModel, rec privateState) (resolvedSource, copier.Report, error) {
	if state.Source.IsNull() { // just imported
		return rec.Wanted, copier.Report{}, nil
	}
	source, err := state.Source.place()
	if err != nil {
		return rec.Applied, copier.Report{}, err
	}
	setting := r.engine.unknownSettingFor(source)
	if setting != "" && (source.Digest() == "" || state.Referrers.ValueBool()) {
		return rec.Applied, copier.Report{}, &registry.Error{Side: registry.Source, Op: "look at", Repository: source.Name(), Reference: source.Identifier(),
			Kind: registry.ErrCredentials, Message: setting + " is known only after apply"}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, sourcePatience, errSourceSlow)
	defer cancel()
	found, err := r.refreshDigest(ctx, source, state, rec)
	if err != nil || found.Digest != rec.Applied.Digest { // what refers to something else the copy finds
		return found, copier.Report{}, err
	}
	referrers, err := state.findReferrers(ctx, r.engine, source, found)
	if err != nil {
		return rec.Applied, copier.Report{}, err
	}
	return found, referrers, nil
}

// refreshDigest is what the source holds now.
func (r *imageCopyResource) refreshDigest(ctx context.Context, source imageref.Ref, state imageCopyModel, rec privateState) (resolvedSource, error) {
	if source.Digest() != "" { // nobody has to be asked what a digest names
		logLook(ctx, source.Name(), source.Identifier(), source.Digest(), "reference", nil)
		return rec.Wanted, nil
	}
	found, err := resolveSource(ctx, r.engine, source, nil)
	platforms := state.platforms()
	switch {
	case err != nil:
		return rec.Applied, err
	case len(platforms) == 0:
		return found, nil
	case found.SourceDigest == rec.Wanted.SourceDigest && rec.Wanted.is(r.engine, source, platforms):
		return rec.Wanted, nil // a digest does not change what its platforms need
	}
	found, err = resolveSource(ctx, r.engine, source, platforms)
	if err != nil {
		return rec.Applied, err
	}
	return found, nil
}

// refresh sets the state to what the tags were found to hold.
func (m *imageCopyModel) refresh(ctx context.Context, rec *privateState, destination imageref.Ref, found map[string]registry.Descriptor) diag.Diagnostics {
	rec.Held = map[string]digest.Digest{}
	for tag, d := range found {
		rec.Held[tag] = d.Digest
	}
	now := found[destination.Tag()]
	if m.Digest.IsNull() { // just imported: what is there is taken for what was put
		rec.Applied = resolvedSource{SourceDigest: now.Digest, Digest: now.Digest, MediaType: now.MediaType}
		rec.Wanted = rec.Applied
		rec.Put[destination.Tag()] = now.Digest
		m.SourceDigest = types.StringValue(now.Digest.String())
	}
	if m.Digest.ValueString() != now.Digest.String() {
		m.MediaType = types.StringValue(now.MediaType)
	}
	m.Digest = types.StringValue(now.Digest.String())
	m.PinnedReference = spelledAs(m.PinnedReference, destination.Pinned(now.Digest))

	// A tag is in its place where it holds what the destination's own tag holds,
	// or what that one is to hold next. Others are off the list, so that the
	// plan shows them as added again.
	inPlace := []string{}
	for _, tag := range slices.Sorted(maps.Keys(found)) {
		if d := found[tag].Digest; tag != destination.Tag() && d != "" && (d == now.Digest || d == rec.Wanted.Digest) {
			inPlace = append(inPlace, tag)
		}
	}
	return m.withAdditional(ctx, inPlace)
}
