package main

import (
	"context"
	"fmt"
	"path"
)

const (
	fleetSize = 30
	// atOnce is how many images of a fleet are copied at a time by a copier that
	// takes one image, as `xargs -P 10` has it.
	atOnce = 10
	// tag is the tag of every image, at the source and at the destination.
	tag = "1"
)

// scenario is something that copiers are asked to do.
type scenario struct {
	name  string
	about string // for people
	// images are the repositories of the source that are copied.
	images []string
	// inside makes it a copy from one repository of the destination to another.
	inside bool
	// done makes it a copy of what is there already, under the tag too.
	done bool
	// cap is how many bytes a second the source gives on one connection; 0 for
	// as many as it can.
	cap int64
}

var scenarios = []scenario{
	{name: "app", images: []string{"app"}, about: "An index of four platforms with eight layers each, 24 MiB to 2 KiB, and an attestation for each platform: 185 MiB."},
	{name: "tiny", images: []string{"tiny"}, about: "120 layers of 32 KiB."},
	{name: "big", images: []string{"big"}, about: "A layer of 1 GiB and one of 1 MiB."},
	{name: "noop", images: []string{"app"}, done: true, about: "The image of app again, when all of it is there."},
	{name: "promote", images: []string{"app"}, inside: true, about: "The image of app from one repository to another of the same registry."},
	{name: "fleet", images: fleetNames(), about: fmt.Sprintf("%d images in %d repositories, which share six layers of 8 MiB and have two small ones of their own. "+
		"Copiers that take one image run %d at a time.", fleetSize, fleetSize, atOnce)},
	{name: "capped", images: []string{"big"}, cap: 50e6, about: "The image of big from a source that gives each connection 50 MB/s."},
}

func scenarioNames() []string {
	var names []string
	for _, s := range scenarios {
		names = append(names, s.name)
	}
	return names
}

func fleetNames() []string {
	var names []string
	for n := range fleetSize {
		names = append(names, fmt.Sprintf("fleet%02d", n))
	}
	return names
}

// pair is one image to copy, and the digest that has to arrive.
type pair struct {
	source, destination string // host:port/repository:tag
	repository          string // of destination
	digest              string
}

// pairs are the copies that the scenario is about, between the registries that
// are reached at these addresses.
func (s scenario) pairs(source, destination string, digests map[string]string) []pair {
	var pairs []pair
	for _, image := range s.images {
		p := pair{source: path.Join(source, image), repository: image, digest: digests[image]}
		if s.inside {
			p.source, p.repository = path.Join(destination, stage(image)), "production/"+image
		}
		p.source += ":" + tag
		p.destination = path.Join(destination, p.repository) + ":" + tag
		pairs = append(pairs, p)
	}
	return pairs
}

// stage is the repository that an image is promoted from.
func stage(image string) string { return "stage/" + image }

// prepare makes the destination as the scenario wants to find it.
func (s scenario) prepare(ctx context.Context, l *lab) error {
	if err := l.destination.empty(); err != nil {
		return err
	}
	for _, image := range s.images {
		there := image
		switch {
		case s.inside:
			there = stage(image)
		case !s.done:
			continue
		}
		from, to := path.Join(l.source.Address, image), path.Join(l.destination.Address, there)
		if err := newRaw(l.client, l.scheme()).copy(ctx, from+":"+tag, to+":"+tag); err != nil {
			return err
		}
	}
	return nil
}
