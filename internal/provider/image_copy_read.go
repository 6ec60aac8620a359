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

// sourceReadTimeout limits how long a refresh waits for the source. A slow source is only a
// warning, so it is not worth waiting for minutes when a rate limit asks for it.
const sourceReadTimeout = 20 * time.Second

var errSourceTimeout = fmt.Errorf("it did not answer within %s, and a refresh waits no longer for a source", sourceReadTimeout)

// Read resolves the destination's tags, which become the state, and concurrently the source,
// which is recorded in private state for the plan. Only the destination decides whether the
// resource still exists. Read removes the resource from state only if the registry definitely
// does not have the tag.
func (r *imageCopyResource) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	var state imageCopyModel
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	rec := loadRecord(ctx, req.Private, state, &resp.Diagnostics)
	timeout, diags := state.Timeouts.Read(ctx, defaultReadTimeout)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	before := rec.withMaps()
	destination, _ := parseDestination(state.Destination.ValueString())
	resp.Diagnostics.Append(identify(ctx, resp.Identity, destination)...) // also if the resource turns out to be gone
	if setting := r.engine.unknownSettingFor(destination); setting != "" {
		resp.Diagnostics.AddAttributeWarning(path.Root("destination"), "Destination Was Not Read",
			fmt.Sprintf("%s is known only after apply, and %s cannot be asked without it. What the state says is taken to be so.", setting, destination.Name()))
		r.engine.handovers.read(r.engine.canonical(destination), rec, predecessor{destination, state.OnDestroy.ValueString(), rec})
		return
	}
	ctx, cancel := withTimeout(ctx, timeout, "read")
	defer cancel()
	var collected warnings
	readCtx := collected.collect(ctx)

	var source resolvedSource
	var referrers copier.Report
	var sourceErr error
	var sourceRead sync.WaitGroup
	sourceRead.Go(func() {
		source, referrers, sourceErr = r.refreshSource(readCtx, state, rec)
	})
	tags := slices.Sorted(maps.Keys(rec.tagsWith(destination.Tag(), state.additionalTags())))
	found, err := r.engine.resolveTags(readCtx, destination, tags, digest.Digest(state.Digest.ValueString()))
	sourceRead.Wait()
	if now := found[destination.Tag()].Digest; err == nil && now != "" && now == rec.Applied.Digest {
		rec.Missing, err = state.findMissing(readCtx, r.engine, destination, now, referrers)
	}
	collected.addTo(&resp.Diagnostics)
	switch {
	case err != nil:
		var advice []string
		if !state.Digest.IsNull() && !errors.Is(err, context.Canceled) { // otherwise the resource is being imported and has no state, or the read was canceled
			advice = []string{
				"The state is kept as it was: only the registry's own word that the tag is not there takes the resource out of it. To plan without asking, use -refresh=false. " +
					"If the registry is gone for good, terraform state rm forgets the resource.",
				fmt.Sprintf("This is about %s, where the state has the image. If `destination` has just been changed, that is the old place.", destination),
			}
		}
		addEngineError(&resp.Diagnostics, path.Root("destination"), errorSummary("Destination ", err, "Unable to Read Destination"), err, advice...)
		return
	case found[destination.Tag()].Digest == "":
		resp.State.RemoveResource(ctx)
		return
	case sourceErr != nil:
		advice := append(missingTagAdvice(state.Source, sourceErr), fmt.Sprintf("What was promoted stays as it is, and nothing new is planned from %s until it can be had. "+
			"If `source` has just been changed, then this is about the old one and of no importance.", state.Source.ValueString()))
		if len(rec.Missing) > 0 {
			advice = append(advice, "What is missing at the destination is planned as a repair all the same, which needs a source that has it.")
		}
		addEngineWarning(&resp.Diagnostics, path.Root("source"), errorSummary("Source ", sourceErr, "Source Was Not Read"), sourceErr, advice...)
	}
	rec.Latest = source
	if referrers.ReferrersDigest != "" {
		rec.Referrers = referrers.ReferrersDigest
	}
	state.setReferrerDefaults()
	state.Missing = digestList(ctx, rec.Missing)
	resp.Diagnostics.Append(state.refresh(ctx, &rec, destination, found)...)
	rec.DestroyPlannedBy, rec.ReplacedBy = "", "" // no plan has set them yet
	r.engine.handovers.read(r.engine.canonical(destination), before, predecessor{destination, state.OnDestroy.ValueString(), rec.withMaps()})
	state.refreshPromoted(ctx, r.engine, rec, destination, found)
	rec.save(ctx, resp.Private, &resp.Diagnostics)
	resp.Diagnostics.Append(resp.State.Set(ctx, state)...)
}

// refreshSource resolves the source and finds its referrers. If that fails, it returns the
// source content that was copied last, and the error.
func (r *imageCopyResource) refreshSource(ctx context.Context, state imageCopyModel, rec privateState) (resolvedSource, copier.Report, error) {
	if state.Source.IsNull() { // just imported
		return rec.Latest, copier.Report{}, nil
	}
	source, err := state.Source.ref()
	if err != nil {
		return rec.Applied, copier.Report{}, err
	}
	setting := r.engine.unknownSettingFor(source)
	if setting != "" && (source.Digest() == "" || state.Referrers.ValueBool()) {
		return rec.Applied, copier.Report{}, &registry.Error{Side: registry.Source, Op: "look at", Repository: source.Name(), Reference: source.Identifier(),
			Kind: registry.ErrCredentials, Message: setting + " is known only after apply"}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, sourceReadTimeout, errSourceTimeout)
	defer cancel()
	found, err := r.refreshDigest(ctx, source, state, rec)
	if err != nil || found.Digest != rec.Applied.Digest { // the copy finds the referrers of a new digest
		return found, copier.Report{}, err
	}
	referrers, err := state.findReferrers(ctx, r.engine, source, found)
	if err != nil {
		return rec.Applied, copier.Report{}, err
	}
	return found, referrers, nil
}

// refreshDigest resolves the source.
func (r *imageCopyResource) refreshDigest(ctx context.Context, source imageref.Ref, state imageCopyModel, rec privateState) (resolvedSource, error) {
	if source.Digest() != "" { // a digest needs no request
		logResolved(ctx, source.Name(), source.Identifier(), source.Digest(), "reference", nil)
		return rec.Latest, nil
	}
	found, err := resolveSource(ctx, r.engine, source, nil)
	platforms := state.platforms()
	switch {
	case err != nil:
		return rec.Applied, err
	case len(platforms) == 0:
		return found, nil
	case found.SourceDigest == rec.Latest.SourceDigest && rec.Latest.matches(r.engine, source, platforms):
		return rec.Latest, nil // the platforms of a digest do not change
	}
	found, err = resolveSource(ctx, r.engine, source, platforms)
	if err != nil {
		return rec.Applied, err
	}
	return found, nil
}

// refresh sets the state to the content that was found at the tags.
func (m *imageCopyModel) refresh(ctx context.Context, rec *privateState, destination imageref.Ref, found map[string]registry.Descriptor) diag.Diagnostics {
	rec.Observed = map[string]digest.Digest{}
	for tag, d := range found {
		rec.Observed[tag] = d.Digest
	}
	now := found[destination.Tag()]
	if m.Digest.IsNull() { // just imported: the content counts as written by this resource
		rec.Applied = resolvedSource{SourceDigest: now.Digest, Digest: now.Digest, MediaType: now.MediaType}
		rec.Latest = rec.Applied
		rec.Written[destination.Tag()] = now.Digest
		m.SourceDigest = types.StringValue(now.Digest.String())
	}
	if m.Digest.ValueString() != now.Digest.String() {
		m.MediaType = types.StringValue(now.MediaType)
	}
	m.Digest = types.StringValue(now.Digest.String())
	m.PinnedReference = spelledAs(m.PinnedReference, destination.Pinned(now.Digest))

	// A tag is up to date if it points to the digest of the destination's own tag, or to the
	// planned digest. Other tags are removed from the list, so that the plan shows them as
	// added.
	inPlace := []string{}
	for _, tag := range slices.Sorted(maps.Keys(found)) {
		if d := found[tag].Digest; tag != destination.Tag() && d != "" && (d == now.Digest || d == rec.Latest.Digest) {
			inPlace = append(inPlace, tag)
		}
	}
	return m.setAdditionalTags(ctx, inPlace)
}
