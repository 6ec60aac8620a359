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

// engine is what one provider configuration gives to everything that uses it:
// one client, so that the limits of a host hold for all of it, one copier, so
// that a blob goes to a host once, and one table of the tags that are put, so
// that no resource removes those of another.
type engine struct {
	client  *remote.Client
	copier  *copier.Copier
	unknown []unknownSetting
	claims  tagOwners
	// handovers are the records that replaced objects leave to their replacements.
	handovers handovers
	run       string // tells this run from others: Terraform plans in one and applies in another
}

func newEngine(s settings) (*engine, error) {
	copies := copier.New(s.options.Logger)
	s.options.Memory = copies.Memory()
	client, err := remote.New(s.options)
	if err != nil {
		return nil, err
	}
	return &engine{client: client, copier: copies, unknown: s.unknown, run: rand.Text(), claims: tagOwners{mayBeSame: client.MayBeSameRegistry}}, nil
}

// sameRepository reports whether two places are in one repository.
func (e *engine) sameRepository(a, b imageref.Ref) bool {
	return e.canonical(a).Name() == e.canonical(b).Name()
}

// claimsIn returns the claims in the repository of a place.
func (e *engine) claimsIn(ctx context.Context, p imageref.Ref) *repoOwners {
	return e.claims.of(ctx, e.canonical(p))
}

// canonical returns p with one spelling for all that mean one host; a provider
// that is not configured knows no ports.
func (e *engine) canonical(p imageref.Ref) imageref.Ref {
	if e == nil {
		return p
	}
	return p.Canonical(e.client)
}

// same reports whether two places are one, however they are written.
func (e *engine) same(a, b imageref.Ref) bool { return e.canonical(a).Equal(e.canonical(b)) }

// mayBeAliases reports whether two places have the same path on hosts of different
// names that may be one registry.
func (e *engine) mayBeAliases(ctx context.Context, a, b imageref.Ref) bool {
	refA, inRegistryA := e.canonical(a).Reference()
	refB, inRegistryB := e.canonical(b).Reference()
	return inRegistryA && inRegistryB && refA.Repository == refB.Repository && refA.Host != refB.Host &&
		e.client.MayBeSameRegistry(ctx, refA.Host, refB.Host)
}

// from and to open where something is copied from and to. What is no image layout
// or cannot be read is an error; a registry is asked nothing.
func (e *engine) from(p imageref.Ref) (registry.Repository, error) {
	repo, err := p.OpenSource(e.client)
	return repo, registry.WithSide(err, registry.Source)
}

func (e *engine) to(p imageref.Ref) (registry.Repository, error) {
	repo, err := p.OpenDestination(e.client)
	return repo, registry.WithSide(err, registry.Destination)
}

// reading gives the repository that ref is in.
func (e *engine) reading(ref registry.Reference) registry.Repository {
	return e.client.Repository(ref, remote.Pull)
}

// unknownSettingFor is undecided for a place; an image layout needs no setting.
func (e *engine) unknownSettingFor(p imageref.Ref) string {
	ref, ok := p.Reference()
	if e != nil && !ok {
		return ""
	}
	return e.unknownSetting(ref)
}

// unknownSetting is the setting of the provider that is needed for ref and not known
// yet; "" where everything is known.
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

// engineOf is the engine in what a resource or data source is configured with;
// nil before the provider is configured, as while validating.
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
