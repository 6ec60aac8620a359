package registry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Selection is the part of an index that some platforms need.
type Selection struct {
	// Root is a child of the index if one platform was selected, and otherwise
	// Index.
	Root Descriptor
	// Index has the selected children, or is the original index if all are
	// selected. It has no content if Root is a child.
	Index Manifest
}

// Select returns the part of an index that some platforms need. For one platform,
// its manifest becomes the root. For several platforms, the index keeps its media
// type, annotations and all other bytes, without the descriptors of other
// platforms. The remaining descriptors are unchanged and in order. They include the
// attestation manifests of the selected platforms.
//
// The error matches ErrNotFound if a platform does not exist, and lists the
// available ones. It matches ErrInvalidReference if one platform has several
// manifests. Errors of Parse are returned too. m must be an index.
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
			return Selection{}, m.platformNotFound(platform, contents.Manifests)
		}
	}
	if len(wanted) == 1 {
		return m.selectOne(wanted[0], contents.Manifests, keep)
	}
	for i, d := range contents.Manifests {
		keep[i] = keep[i] || isAttestationOf(d, contents.Manifests, keep)
	}
	index, err := m.removeChildren(func(i int) bool { return !keep[i] })
	if err != nil {
		return Selection{}, err
	}
	return Selection{Root: index.Descriptor(), Index: index}, nil
}

// selectOne returns the selection of a single platform.
func (m Manifest) selectOne(platform Platform, children []Descriptor, keep map[int]bool) (Selection, error) {
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

func (m Manifest) platformNotFound(wanted Platform, children []Descriptor) error {
	return &Error{Op: "find the platform " + FormatPlatform(wanted) + " in", Reference: m.Digest.String(), Kind: ErrNotFound,
		Message: "the index has " + JoinPlatforms(children), Hint: "Ask for a platform that it has."}
}

// isAttestationOf reports whether d is an attestation manifest of a selected child, in the
// format of BuildKit.
func isAttestationOf(d Descriptor, children []Descriptor, keep map[int]bool) bool {
	if d.Annotations["vnd.docker.reference.type"] != "attestation-manifest" {
		return false
	}
	subject := d.Annotations["vnd.docker.reference.digest"]
	for i, child := range children {
		if keep[i] && child.Digest.String() == subject {
			return true
		}
	}
	return false
}

// removeChildren returns the index m without the children for which dropped returns true.
// It cuts them out and does not encode the index again, so the other bytes are
// unchanged.
func (m Manifest) removeChildren(dropped func(i int) bool) (Manifest, error) {
	extents, err := childExtents(m.Content)
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

// extent is the position of an element in a text.
type extent struct{ from, to int64 }

// childExtents returns the positions of the elements of "manifests" in an index.
// Parse has accepted the index, so it has at most one such list, and its elements
// are objects.
func childExtents(content []byte) ([]extent, error) {
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
		return elementExtents(decoder)
	}
	return nil, nil
}

// elementExtents returns the positions of the elements of the next list.
func elementExtents(decoder *json.Decoder) ([]extent, error) {
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
