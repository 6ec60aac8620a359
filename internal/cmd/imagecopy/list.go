package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/imageref"
)

// pair is one copy that is wanted.
type pair struct {
	source, destination imageref.Ref
	written             string // the source, as somebody wrote it
}

func (p pair) String() string { return p.source.String() + " -> " + p.destination.String() }

// newPair reads the words "SRC DST".
func newPair(words []string) (pair, error) {
	if len(words) != 2 {
		return pair{}, fmt.Errorf("a copy is SRC DST, two words and not %d", len(words))
	}
	source, err := imageref.ParseSource(words[0])
	if err != nil {
		return pair{}, err
	}
	destination, err := imageref.ParseDestination(words[1])
	if err != nil {
		return pair{}, err
	}
	p := pair{source: source, destination: destination, written: words[0]}
	if p.source.Equal(p.destination) {
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

// mistakes are what is wrong with a list, a line each.
type mistakes []error

// Error implements error.
func (m mistakes) Error() string { return errors.Join(m...).Error() }

// maxMistakes is how many are told: somebody may have given another file.
const maxMistakes = 10

// readList reads a file with a pair a line, or stdin where it is "-". What
// stands there twice is wanted once, and two sources for one destination are
// refused: which of them would be there in the end is chance. The error is
// mistakes where lines make no sense.
func readList(list string, stdin io.Reader) ([]pair, error) {
	if list != "-" {
		file, err := os.Open(list) //nolint:gosec // the file is the user's own
		if err != nil {
			return nil, fmt.Errorf("-list: %w", cleanPath(err, list))
		}
		defer file.Close()
		stdin = file
	}
	content, err := io.ReadAll(stdin)
	if err != nil {
		return nil, fmt.Errorf("-list: %w", err)
	}
	var pairs []pair
	var wrong mistakes
	wanted := map[string]pair{} // by the destination's name and tag
	number := 0
	for line := range strings.Lines(string(content)) {
		number++
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		p, err := newPair(words)
		at := p.destination.Name() + ":" + p.destination.Tag()
		earlier, taken := wanted[at]
		switch {
		case err != nil:
		case !taken:
			wanted[at] = p
			pairs = append(pairs, p)
		case !earlier.source.Equal(p.source):
			err = fmt.Errorf("an earlier line copies %s to %s already", earlier.source, p.destination)
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s:%d: %w", listName(list), number, err))
		}
	}
	if more := len(wrong) - maxMistakes; more > 0 {
		wrong = append(wrong[:maxMistakes], fmt.Errorf("%s: lines that make no sense besides these: %d", listName(list), more))
	}
	if wrong != nil {
		return nil, wrong
	}
	return pairs, nil
}
