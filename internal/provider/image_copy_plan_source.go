package provider

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/imageref"
)

// plannedSource returns the content of the source to plan. Its digest is empty if it cannot be
// known yet.
func (p *planBuilder) plannedSource(ctx context.Context) resolvedSource {
	source, err := p.plan.Source.ref()
	if err != nil {
		p.diags.AddAttributeError(path.Root("source"), "Invalid Image Reference", invalidReference(p.plan.Source.ValueString(), err))
		return resolvedSource{}
	}
	platforms := p.plan.platforms()
	if p.update && p.record.Latest.matches(p.engine, source, platforms) {
		logResolved(ctx, source.Name(), source.Identifier(), p.record.Latest.SourceDigest, "record", nil)
		p.warnLayoutRebuilt(ctx, source)
		return p.record.Latest
	}
	if d, is := p.engine.expected(source, p.plan); is {
		logResolved(ctx, source.Name(), source.Identifier(), d.digest, "plan", nil)
		return p.fromDeclaration(ctx, source, d)
	}
	if p.engine.unknownSettingFor(source) != "" {
		if len(platforms) > 0 {
			return resolvedSource{}
		}
		logResolved(ctx, source.Name(), source.Identifier(), source.Digest(), "reference", nil)
		// The digest of a pinned reference is known without a request.
		return resolvedSource{Source: source.String(), SourceDigest: source.Digest(), Digest: source.Digest()}
	}
	resolved, err := resolveSource(ctx, p.engine, source, platforms)
	if err != nil {
		at := path.Root("source")
		if isMissingPlatform(err) {
			at = path.Root("platforms")
		}
		addEngineError(p.diags, at, errorSummary("Source ", err, "Unable to Read Source"), err, p.sourceAdvice(err)...)
	}
	return resolved
}

// sourceAdvice returns advice for a source that cannot be resolved in a plan.
func (p *planBuilder) sourceAdvice(err error) []string {
	advice := missingTagAdvice(p.plan.Source, err)
	if mayBeCreatedLater(err) {
		advice = append(advice, dependencyAdvice)
	}
	if p.update && !errors.Is(err, context.Canceled) { // a new resource has nothing to destroy, and a canceled plan needs no advice
		advice = append(advice, destroyWithoutRefresh)
	}
	return advice
}

// warnLayoutRebuilt warns if an image layout has another digest than the planned one. Usually a
// build in the same run is the reason. The provider cannot distinguish it from a build between
// plan and apply, so the planned digest is copied.
func (p *planBuilder) warnLayoutRebuilt(ctx context.Context, source imageref.Ref) {
	if _, inRegistry := source.Reference(); inRegistry {
		return
	}
	planned := p.record.Latest.SourceDigest
	now, err := resolveSource(ctx, p.engine, source, nil)
	if err != nil || now.SourceDigest == planned {
		return // the next refresh reports a layout that cannot be read
	}
	p.diags.AddAttributeWarning(path.Root("source"), "Image Layout Was Rebuilt",
		fmt.Sprintf("%s holds %s by now, and what was planned is %s, which it held when it was last looked at. Plan and apply again to promote what it holds now. "+
			"Where this configuration itself builds the layout, give each build a tag or a path of its own, so that source changes with it: it is then promoted in the same apply.", source, now.SourceDigest, planned))
}

// fromDeclaration returns the source content that another copy of this run will write. If
// platforms are set, their digest is known only when the source exists. It exists when
// Terraform plans again during apply.
func (p *planBuilder) fromDeclaration(ctx context.Context, source imageref.Ref, d declaration) resolvedSource {
	platforms := p.plan.platforms()
	if len(platforms) == 0 {
		return resolvedSource{Source: source.String(), SourceDigest: d.digest, Digest: d.digest, MediaType: d.mediaType}
	}
	resolved, err := resolveSource(ctx, p.engine, source.WithDigest(d.digest), platforms)
	if err != nil {
		return resolvedSource{}
	}
	resolved.Source = source.String()
	return resolved
}

// resolveSource resolves a source and selects the platforms. Errors have the source side.
func resolveSource(ctx context.Context, e *engine, source imageref.Ref, platforms []string) (resolvedSource, error) {
	r := resolvedSource{Source: source.String(), Platforms: platforms}
	repo, err := e.openSource(source)
	if err != nil {
		return r, err
	}
	if len(platforms) > 0 {
		found, selection, err := copier.Select(ctx, repo, source.Identifier(), platformsOf(platforms))
		logResolved(ctx, source.Name(), source.Identifier(), found.Digest, "registry", err)
		r.SourceDigest, r.Digest, r.MediaType = found.Digest, selection.Root.Digest, selection.Root.MediaType
		return r, registry.WithSide(err, registry.Source)
	}
	d, err := resolveReference(ctx, repo, source.Identifier(), source.Digest())
	r.SourceDigest, r.Digest, r.MediaType = d.Digest, d.Digest, d.MediaType
	return r, registry.WithSide(err, registry.Source)
}

// warnSignatures warns if the planned digest differs from that of the source, because
// signatures of the source do not apply to it.
func (p *planBuilder) warnSignatures(resolved resolvedSource) {
	if resolved.Digest == resolved.SourceDigest || p.update && p.prior.Digest.ValueString() == resolved.Digest.String() {
		return
	}
	p.diags.AddAttributeWarning(path.Root("platforms"), "Signatures Do Not Apply to Platforms",
		fmt.Sprintf("The source has the digest %s, and what these platforms need of it has the digest %s. A signature or attestation of the first says nothing of the second. "+
			"Where signatures are verified, promote the whole image, or sign what was promoted.", resolved.SourceDigest, resolved.Digest))
}
