package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// pair is one copy that is wanted.
type pair struct{ source, destination registry.Reference }

func (p pair) String() string { return p.source.String() + " -> " + p.destination.String() }

// newPair reads the words "SRC DST".
func newPair(words []string) (pair, error) {
	if len(words) != 2 {
		return pair{}, fmt.Errorf("a copy is SRC DST, two words and not %d", len(words))
	}
	source, err := registry.ParseReference(words[0])
	if err != nil {
		return pair{}, err
	}
	destination, err := registry.ParseReference(words[1])
	if err != nil {
		return pair{}, err
	}
	if destination.Digest != "" {
		return pair{}, fmt.Errorf("the destination %s has a digest; give a tag alone, the digest is the source's", registry.Clean(words[1]))
	}
	return pair{source: source.WithDefaultTag(), destination: destination.WithDefaultTag()}, nil
}

// readList reads a file with a pair a line. What stands there twice is wanted
// once, and two sources for one destination are refused: which of them would be
// there in the end is chance.
func readList(name string) ([]pair, error) {
	content, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var pairs []pair
	wanted := map[registry.Reference]pair{} // by destination
	number := 0
	for line := range strings.Lines(string(content)) {
		number++
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		p, err := newPair(words)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, number, err)
		}
		earlier, taken := wanted[p.destination]
		switch {
		case !taken:
			wanted[p.destination] = p
			pairs = append(pairs, p)
		case earlier != p:
			return nil, fmt.Errorf("%s:%d: an earlier line copies %s to %s already", name, number, earlier.source, p.destination)
		}
	}
	return pairs, nil
}
