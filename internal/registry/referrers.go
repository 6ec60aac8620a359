package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ReferrerList is a repository's list of the referrers of a manifest. It is a hint:
// only the referrers' own content determines their subject and their type.
type ReferrerList struct {
	// Referrers are the listed manifests, each digest once and in order, with media
	// type, digest and size.
	Referrers []Descriptor
	// Tag is the tag under which clients maintain the list if the repository does
	// not support the referrers API. It is "" if the repository supports it.
	Tag string
	// Held is the manifest under that tag, which may be a list or anything else. It
	// has no content if the tag does not exist.
	Held Manifest
}

// MaxReferrers is how many referrers of a manifest may be listed. Images have only
// a few; more may be an attempt to exhaust time and memory.
const MaxReferrers = maxEntries

// AppendPage returns l with the referrers from page appended. The error matches
// ErrProtocol if page is not a list of referrers, and ErrLimit if there are more
// than MaxReferrers. If page is a list with an invalid entry, AppendPage returns
// the error of Parse, so that the other entries are not silently lost.
func (l ReferrerList) AppendPage(page Manifest) (ReferrerList, error) {
	contents, err := page.Parse()
	if page.MediaType != ocispec.MediaTypeImageIndex || errors.Is(err, ErrInvalidManifest) && !hasManifests(page.Content) {
		return l, &Error{Op: "list the referrers", Kind: ErrProtocol, Hint: DefaultHint(ErrProtocol),
			Message: fmt.Sprintf("the answer, of Content-Type %q, is no list of referrers", Sanitize(page.MediaType))}
	}
	if err != nil {
		return l, err
	}
	known := map[digest.Digest]bool{}
	for _, d := range l.Referrers {
		known[d.Digest] = true
	}
	for _, d := range contents.Manifests {
		if !known[d.Digest] {
			known[d.Digest], l.Referrers = true, append(l.Referrers, Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size})
		}
	}
	if len(l.Referrers) > MaxReferrers {
		return l, &Error{Op: "list the referrers", Kind: ErrLimit, Message: fmt.Sprintf("more than %d manifests are listed", MaxReferrers), Hint: DefaultHint(ErrLimit)}
	}
	return l, nil
}

// hasManifests reports whether content has a non-empty list of manifests, valid or not.
func hasManifests(content []byte) bool {
	var index struct{ Manifests []json.RawMessage }
	return json.Unmarshal(content, &index) == nil && len(index.Manifests) > 0
}

// ReferrersTag returns the tag for the list of referrers of a digest. Clients maintain the
// list if a registry does not support the referrers API (OCI distribution specification,
// "Referrers Tag Schema").
func ReferrersTag(d digest.Digest) string {
	algorithm, encoded := d.Algorithm().String(), d.Encoded()
	return algorithm[:min(len(algorithm), 32)] + "-" + encoded[:min(len(encoded), 64)]
}

// LegacyTags returns the tags under which cosign stores the signatures,
// attestations and SBOMs of a digest without the referrers API. It returns nil for
// algorithms that cosign does not use.
func LegacyTags(d digest.Digest) []string {
	if d.Algorithm() != digest.SHA256 {
		return nil
	}
	name := "sha256-" + d.Encoded()
	return []string{name + ".sig", name + ".att", name + ".sbom"}
}

// Type returns the artifact type of a manifest: its artifactType, or else the media
// type of its configuration (OCI distribution specification, "Listing Referrers").
func (c Contents) Type() string {
	if c.ArtifactType == "" && c.Config != nil {
		return c.Config.MediaType
	}
	return c.ArtifactType
}

// AppendManifests returns the index m with those children appended that it does not
// have yet. It returns m itself if m has all of them. Everything else in m is kept,
// including unknown fields. If m has no content, the result is a new index. The
// error matches ErrInvalidManifest, or ErrLimit if there would be more than
// MaxReferrers.
func (m Manifest) AppendManifests(children []Descriptor) (Manifest, error) {
	content := m.Content
	if len(content) == 0 {
		content = []byte(`{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageIndex + `"}`)
	}
	var index map[string]json.RawMessage
	var list []json.RawMessage
	err := json.Unmarshal(content, &index)
	if err == nil && index["manifests"] != nil {
		err = json.Unmarshal(index["manifests"], &list)
	}
	if err != nil || index == nil {
		return Manifest{}, &Error{Op: "add to the index", Reference: m.Digest.String(), Kind: ErrInvalidManifest, Message: "it cannot be read", Err: err}
	}
	known, before := map[digest.Digest]bool{}, len(list)
	for _, entry := range list {
		known[digestOf(entry)] = true
	}
	for _, child := range children {
		if known[child.Digest] {
			continue
		}
		known[child.Digest] = true
		entry, err := marshal(child)
		if err != nil {
			return Manifest{}, err
		}
		list = append(list, entry)
	}
	switch {
	case len(list) == before && len(m.Content) > 0:
		return m, nil
	case len(list) > MaxReferrers:
		return Manifest{}, &Error{Op: "add to the index", Reference: m.Digest.String(), Kind: ErrLimit, Message: fmt.Sprintf("it would list more than %d manifests", MaxReferrers), Hint: DefaultHint(ErrLimit)}
	case list == nil:
		list = []json.RawMessage{}
	}
	if index["manifests"], err = marshal(list); err == nil {
		content, err = marshal(index)
	}
	if err != nil {
		return Manifest{}, err
	}
	return NewManifest(ocispec.MediaTypeImageIndex, content, "")
}

// RemoveManifests returns the index m without the children for which gone returns
// true. The remaining bytes are not changed.
func (m Manifest) RemoveManifests(gone func(Descriptor) bool) (Manifest, error) {
	contents, err := m.Parse()
	if err != nil {
		return Manifest{}, err
	}
	if len(contents.Manifests) == 0 {
		return m, nil
	}
	return m.removeChildren(func(i int) bool { return gone(contents.Manifests[i]) })
}

func digestOf(entry json.RawMessage) digest.Digest {
	var d Descriptor
	_ = json.Unmarshal(entry, &d) // an entry that cannot be decoded has no digest
	return d.Digest
}

// marshal encodes v without escaping <, > and &, like other tools. Annotations
// contain URLs.
func marshal(v any) (json.RawMessage, error) {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSpace(text.Bytes()), err
}
