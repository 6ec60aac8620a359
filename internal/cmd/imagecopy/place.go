package main

import (
	"cmp"
	"errors"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/layout"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

// place is where something is copied from or to: in a registry or, where the
// layout has a path, in an image layout on this machine.
type place struct {
	reference registry.Reference
	layout    layout.Reference
}

// newSource reads where something is copied from.
func newSource(word string) (p place, err error) {
	if layout.Is(word) {
		p.layout, err = layout.ParseReference(word)
		return p, err
	}
	p.reference, err = registry.ParseReference(word)
	p.reference = p.reference.WithDefaultTag()
	return p, err
}

// newDestination reads where something is copied to.
func newDestination(word string) (p place, err error) {
	if !layout.Is(word) {
		p.reference, err = registry.ParseDestination(word)
		return p, err
	}
	p.layout, err = layout.ParseReference(word)
	switch {
	case err != nil:
	case p.layout.Digest != "":
		err = errors.New("a destination has no digest: which one goes there is the source's to say. Write oci:PATH:tag")
	case p.layout.Tag == "":
		err = errors.New("a destination has a tag, which an image layout has too. Write oci:PATH:tag")
	}
	return p, err
}

func (p place) String() string {
	if p.layout.Path != "" {
		return p.layout.String()
	}
	return p.reference.String()
}

// target is what is looked up there, tag is what is to hold it.
func (p place) target() string {
	if p.layout.Path != "" {
		return p.layout.Target()
	}
	return p.reference.Target()
}

func (p place) digest() digest.Digest { return cmp.Or(p.layout.Digest, p.reference.Digest) }
func (p place) tag() string           { return cmp.Or(p.layout.Tag, p.reference.Tag) }

// open is the repository of a place on one side of a copy.
func (p place) open(client *remote.Client, side registry.Side) (registry.Repository, error) {
	switch {
	case p.layout.Path == "" && side == registry.Source:
		return client.Repository(p.reference, remote.Pull), nil
	case p.layout.Path == "":
		return client.Repository(p.reference, remote.Push), nil
	case side == registry.Source:
		l, err := layout.Open(p.layout.Path)
		return l, registry.OnSide(err, side)
	}
	l, err := layout.Create(p.layout.Path)
	return l, registry.OnSide(err, side)
}
