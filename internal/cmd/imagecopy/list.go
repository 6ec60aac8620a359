package main

import (
	"fmt"
	"io"
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
	destination, err := registry.ParseDestination(words[1])
	if err != nil {
		return pair{}, err
	}
	p := pair{source: source.WithDefaultTag(), destination: destination}
	if p.source == p.destination {
		return pair{}, fmt.Errorf("source and destination are the same, %s: there is nothing to copy", p.source)
	}
	return p, nil
}

// listName is what people call a list.
func listName(list string) string {
	if list == "-" {
		return "standard input"
	}
	return list
}

// readList reads a file with a pair a line, or stdin where it is "-". What
// stands there twice is wanted once, and two sources for one destination are
// refused: which of them would be there in the end is chance.
func readList(list string, stdin io.Reader) ([]pair, error) {
	if list != "-" {
		file, err := os.Open(list)
		if err != nil {
			return nil, fmt.Errorf("-list: %w", err)
		}
		defer file.Close()
		stdin = file
	}
	content, err := io.ReadAll(stdin)
	if err != nil {
		return nil, fmt.Errorf("-list: %w", err)
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
			return nil, fmt.Errorf("%s:%d: %w", listName(list), number, err)
		}
		earlier, taken := wanted[p.destination]
		switch {
		case !taken:
			wanted[p.destination] = p
			pairs = append(pairs, p)
		case earlier != p:
			return nil, fmt.Errorf("%s:%d: an earlier line copies %s to %s already", listName(list), number, earlier.source, p.destination)
		}
	}
	return pairs, nil
}
