package provider

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/imageref"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

// engine is the state that the resources and data sources of one provider configuration share.
// One client applies the limits of a host to all of them. One copier copies each blob to a host
// once. One record of tag owners prevents a resource from removing tags of another one.
type engine struct {
	client  *remote.Client
	copier  *copier.Copier
	unknown []unknownSetting
	owners  tagOwners
	// handovers passes the private state of replaced objects to their replacements.
	handovers handovers
	runID     string // identifies this process: Terraform plans in one and applies in another
}

func newEngine(s settings) (*engine, error) {
	copies := copier.New(s.options.Logger)
	s.options.Memory = copies.Memory()
	client, err := remote.New(s.options)
	if err != nil {
		return nil, err
	}
	return &engine{client: client, copier: copies, unknown: s.unknown, runID: rand.Text(), owners: tagOwners{mayBeSame: client.MayBeSameRegistry}}, nil
}

// sameRepository reports whether a and b are in the same repository.
func (e *engine) sameRepository(a, b imageref.Ref) bool {
	return e.canonical(a).Name() == e.canonical(b).Name()
}

// ownersIn returns the tag owners in the repository of p.
func (e *engine) ownersIn(ctx context.Context, p imageref.Ref) *repoOwners {
	return e.owners.forRepository(ctx, e.canonical(p))
}

// canonical returns p with its host in canonical form. Ports are not normalized if the provider
// is not configured.
func (e *engine) canonical(p imageref.Ref) imageref.Ref {
	if e == nil {
		return p
	}
	return p.Canonical(e.client)
}

// sameRef reports whether a and b are the same reference in canonical form.
func (e *engine) sameRef(a, b imageref.Ref) bool { return e.canonical(a).Equal(e.canonical(b)) }

// mayBeAliases reports whether a and b have the same path on hosts with different names that
// may be the same registry.
func (e *engine) mayBeAliases(ctx context.Context, a, b imageref.Ref) bool {
	refA, inRegistryA := e.canonical(a).Reference()
	refB, inRegistryB := e.canonical(b).Reference()
	return inRegistryA && inRegistryB && refA.Repository == refB.Repository && refA.Host != refB.Host &&
		e.client.MayBeSameRegistry(ctx, refA.Host, refB.Host)
}

// openSource and openDestination open the repository of p. They return an error for an invalid
// image layout. They send no request to a registry.
func (e *engine) openSource(p imageref.Ref) (registry.Repository, error) {
	repo, err := p.OpenSource(e.client)
	return repo, registry.WithSide(err, registry.Source)
}

func (e *engine) openDestination(p imageref.Ref) (registry.Repository, error) {
	repo, err := p.OpenDestination(e.client)
	return repo, registry.WithSide(err, registry.Destination)
}

// pullRepository returns the repository of ref for pulling.
func (e *engine) pullRepository(ref registry.Reference) registry.Repository {
	return e.client.Repository(ref, remote.Pull)
}

// unknownSettingFor is like unknownSetting, but accepts image layouts, which need no setting.
func (e *engine) unknownSettingFor(p imageref.Ref) string {
	ref, ok := p.Reference()
	if e != nil && !ok {
		return ""
	}
	return e.unknownSetting(ref)
}

// unknownSetting returns the name of a provider setting that ref needs and that is not known
// yet. It returns "" if all of them are known.
func (e *engine) unknownSetting(ref registry.Reference) string {
	if e == nil {
		return "the provider's configuration"
	}
	for _, u := range e.unknown {
		if u.concerns(ref, e.client.CanonicalHost) {
			return u.name
		}
	}
	return ""
}

// engineOf returns the engine from the data that a resource or data source is configured with.
// It returns nil if the provider is not configured yet, as during validation.
func engineOf(providerData any) (*engine, error) {
	if providerData == nil {
		return nil, nil
	}
	e, ok := providerData.(*engine)
	if !ok {
		return nil, fmt.Errorf("configured with %T", providerData)
	}
	return e, nil
}
