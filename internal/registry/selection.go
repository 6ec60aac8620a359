package registry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Selection is what remains of an index for some platforms.
type Selection struct {
	// Root names what remains: a child of the index where one platform was
	// wanted, and otherwise Index.
	Root Descriptor
	// Index is an index of the children that remain, or the index itself where
	// all do. It has no content where Root is a child.
	Index Manifest
}

// Select keeps of an index what some platforms need. One platform makes its
// manifest the root. Several keep the index with its media type, its annotations
// and every other byte, without the descriptors of other platforms: those that
// remain are untouched and in their order, and the attestation manifests that
// refer to them remain too.
//
// The error matches ErrNotFound where a platform is not there, and says which
// are; ErrInvalidReference where one platform is two manifests; and what Parse
// returns. m must be an index.
func (m Manifest) Select(wanted []Platform) (Selection, error) {
	contents, err := m.Parse()
	if err != nil {
		return Selection{}, err
	}
	keep := map[int]bool{}
	for _, platform := range wanted {
		found := false
		for i, d := range contents.Manifests {
			if IsPlatform(d.Platform) && Satisfies(*d.Platform, platform) {
				keep[i], found = true, true
			}
		}
		if !found {
			return Selection{}, m.noPlatform(platform, contents.Manifests)
		}
	}
	if len(wanted) == 1 {
		return m.only(wanted[0], contents.Manifests, keep)
	}
	for i, d := range contents.Manifests {
		keep[i] = keep[i] || attests(d, contents.Manifests, keep)
	}
	index, err := m.without(func(i int) bool { return !keep[i] })
	if err != nil {
		return Selection{}, err
	}
	return Selection{Root: index.Descriptor(), Index: index}, nil
}

// only is the selection of one platform.
func (m Manifest) only(platform Platform, children []Descriptor, keep map[int]bool) (Selection, error) {
	var found []Descriptor
	for i, d := range children {
		if keep[i] && !slices.ContainsFunc(found, func(f Descriptor) bool { return f.Digest == d.Digest }) {
			found = append(found, d)
		}
	}
	if len(found) > 1 {
		var names []string
		for _, d := range found {
			names = append(names, fmt.Sprintf("%s (%s)", FormatPlatform(*d.Platform), d.Digest))
		}
		return Selection{}, &Error{Op: "choose the platform " + FormatPlatform(platform) + " of", Reference: m.Digest.String(), Kind: ErrInvalidReference,
			Message: Sanitize(fmt.Sprintf("the index has %d manifests for it: %s", len(found), strings.Join(names, ", "))),
			Hint:    "Say which one is meant, with the version of the operating system in parentheses: windows(10.0.20348)/amd64."}
	}
	return Selection{Root: found[0]}, nil
}

func (m Manifest) noPlatform(wanted Platform, children []Descriptor) error {
	return &Error{Op: "find the platform " + FormatPlatform(wanted) + " in", Reference: m.Digest.String(), Kind: ErrNotFound,
		Message: "the index has " + JoinPlatforms(children), Hint: "Ask for a platform that it has."}
}

// attests says whether a child is an attestation manifest about one that is
// kept, in the form that BuildKit gives it.
func attests(d Descriptor, children []Descriptor, keep map[int]bool) bool {
	if d.Annotations["vnd.docker.reference.type"] != "attestation-manifest" {
		return false
	}
	about := d.Annotations["vnd.docker.reference.digest"]
	for i, child := range children {
		if keep[i] && child.Digest.String() == about {
			return true
		}
	}
	return false
}

// without is the index without some of its children. Everything else keeps its
// bytes: the index is cut, and not written anew.
func (m Manifest) without(dropped func(i int) bool) (Manifest, error) {
	extents, err := childrenOf(m.Content)
	if err != nil {
		return Manifest{}, err
	}
	var kept [][]byte
	for i, e := range extents {
		if !dropped(i) {
			kept = append(kept, m.Content[e.from:e.to])
		}
	}
	if len(kept) == len(extents) {
		return m, nil
	}
	first, last := extents[0], extents[len(extents)-1]
	content := slices.Concat(m.Content[:first.from], bytes.Join(kept, []byte(",")), m.Content[last.to:])
	return NewManifest(m.MediaType, content, m.Digest.Algorithm())
}

// extent is where something is in a text.
type extent struct{ from, to int64 }

// childrenOf finds the elements of the list "manifests" in an index that Parse
// has read, so that there is one such list of objects.
func childrenOf(content []byte) ([]extent, error) {
	decoder := json.NewDecoder(bytes.NewReader(content))
	if _, err := decoder.Token(); err != nil {
		return nil, err
	}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		if name != "manifests" {
			var skipped json.RawMessage
			if err := decoder.Decode(&skipped); err != nil {
				return nil, err
			}
			continue
		}
		return elementsOf(decoder)
	}
	return nil, nil
}

// elementsOf are the elements of the list that comes next.
func elementsOf(decoder *json.Decoder) ([]extent, error) {
	if _, err := decoder.Token(); err != nil {
		return nil, err
	}
	var elements []extent
	for decoder.More() {
		var element json.RawMessage
		if err := decoder.Decode(&element); err != nil {
			return nil, err
		}
		end := decoder.InputOffset()
		elements = append(elements, extent{end - int64(len(element)), end})
	}
	return elements, nil
}
