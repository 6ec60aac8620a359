package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/imageref"
)

// pair is a copy to make.
type pair struct {
	source, destination imageref.Ref
	sourceText          string // the source as written by the user
}

func (p pair) String() string { return p.source.String() + " -> " + p.destination.String() }

// newPair parses the words "SRC DST".
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
	p := pair{source: source, destination: destination, sourceText: words[0]}
	if p.source.Equal(p.destination) {
		return pair{}, fmt.Errorf("source and destination are the same, %s: there is nothing to copy", p.source)
	}
	return p, nil
}

// listName returns the name of a list for messages.
func listName(list string) string {
	if list == "-" {
		return "standard input"
	}
	return list
}

// listErrors are the errors in a list, one for each line.
type listErrors []error

// Error implements error.
func (m listErrors) Error() string { return errors.Join(m...).Error() }

// maxListErrors limits the printed errors of a list, because the user may have named the wrong
// file.
const maxListErrors = 10

// readList reads a file with one pair per line, or stdin if list is "-". A pair that occurs
// twice is copied once. Two sources for one destination are an error, because the order of the
// copies is undefined. The error is a listErrors if lines are invalid.
func readList(list string, stdin io.Reader) ([]pair, error) {
	if list != "-" {
		file, err := os.Open(list) //nolint:gosec // the user chose the file
		if err != nil {
			return nil, fmt.Errorf("-list: %w", redactPath(err, list))
		}
		defer file.Close()
		stdin = file
	}
	content, err := io.ReadAll(stdin)
	if err != nil {
		return nil, fmt.Errorf("-list: %w", err)
	}
	var pairs []pair
	var errs listErrors
	byDestination := map[string]pair{} // by the name and tag of the destination
	number := 0
	for line := range strings.Lines(string(content)) {
		number++
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		p, err := newPair(words)
		destination := p.destination.Name() + ":" + p.destination.Tag()
		previous, exists := byDestination[destination]
		switch {
		case err != nil:
		case !exists:
			byDestination[destination] = p
			pairs = append(pairs, p)
		case !previous.source.Equal(p.source):
			err = fmt.Errorf("an earlier line copies %s to %s already", previous.source, p.destination)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", listName(list), number, err))
		}
	}
	if more := len(errs) - maxListErrors; more > 0 {
		errs = append(errs[:maxListErrors], fmt.Errorf("%s: lines that make no sense besides these: %d", listName(list), more))
	}
	if errs != nil {
		return nil, errs
	}
	return pairs, nil
}
