package main

import (
	"context"
	"fmt"
	"path"
)

const (
	fleetSize = 30
	// concurrency is how many images of a fleet are copied concurrently with a copier that
	// takes one image, as with `xargs -P 10`.
	concurrency = 10
	// tag is the tag of every image, at the source and at the destination.
	tag = "1"
)

// scenario is a task for copiers.
type scenario struct {
	name        string
	description string // for the page
	// images has the repositories of the source to copy.
	images []string
	// promote selects a copy from one repository of the destination to another.
	promote bool
	// copied selects a copy of an image that already exists at the destination, with its tag.
	copied bool
	// cap limits the bytes per second of each connection to the source. It is unlimited if 0.
	cap int64
}

var scenarios = []scenario{
	{name: "app", images: []string{"app"}, description: "An index of four platforms with eight layers each, 24 MiB to 2 KiB, and an attestation for each platform: 185 MiB."},
	{name: "tiny", images: []string{"tiny"}, description: "120 layers of 32 KiB."},
	{name: "big", images: []string{"big"}, description: "A layer of 1 GiB and one of 1 MiB."},
	{name: "noop", images: []string{"app"}, copied: true, description: "The image of app again, when the destination already has it."},
	{name: "promote", images: []string{"app"}, promote: true, description: "The image of app from one repository to another of the same registry."},
	{name: "fleet", images: fleetNames(), description: fmt.Sprintf("%d images in %d repositories, which share six layers of 8 MiB and have two small layers each. "+
		"Copiers that copy one image per process run %d processes at a time.", fleetSize, fleetSize, concurrency)},
	{name: "capped", images: []string{"big"}, cap: 50e6, description: "The image of big from a source that limits each connection to 50 MB/s."},
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

// pair is an image to copy, with its digest.
type pair struct {
	source, destination string // host:port/repository:tag
	repository          string // of destination
	digest              string
}

// pairs returns the copies of the scenario, between registries at the given addresses.
func (s scenario) pairs(source, destination string, digests map[string]string) []pair {
	var pairs []pair
	for _, image := range s.images {
		p := pair{source: path.Join(source, image), repository: image, digest: digests[image]}
		if s.promote {
			p.source, p.repository = path.Join(destination, stage(image)), "production/"+image
		}
		p.source += ":" + tag
		p.destination = path.Join(destination, p.repository) + ":" + tag
		pairs = append(pairs, p)
	}
	return pairs
}

// stage returns the repository that an image is promoted from.
func stage(image string) string { return "stage/" + image }

// prepare sets up the content of the destination for the scenario.
func (s scenario) prepare(ctx context.Context, l *registryPair) error {
	if err := l.destination.empty(); err != nil {
		return err
	}
	for _, image := range s.images {
		repository := image
		switch {
		case s.promote:
			repository = stage(image)
		case !s.copied:
			continue
		}
		from, to := path.Join(l.source.Address, image), path.Join(l.destination.Address, repository)
		if err := newRaw(l.client, l.scheme()).copy(ctx, from+":"+tag, to+":"+tag); err != nil {
			return err
		}
	}
	return nil
}
