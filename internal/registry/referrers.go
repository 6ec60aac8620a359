package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ReferrerList is what a repository says refers to a manifest. It is a hint: what
// refers to what, and of which type it is, only the referrers' own bytes say.
type ReferrerList struct {
	// Referrers are those on it, each digest once and in its order, with media
	// type, digest and size.
	Referrers []Descriptor
	// Tag is the one under which clients keep the list themselves, because the
	// repository has no referrers API; "" where it has one.
	Tag string
	// Held is what that tag holds, which is such a list or anything else; without
	// content where it holds nothing.
	Held Manifest
}

// MaxReferrers is how many manifests may be listed as referring to one. Images
// have some; beyond this somebody wants time and memory.
const MaxReferrers = maxEntries

// AppendPage is a listing with what one more page of a list has on it. The error
// matches ErrProtocol where page is no such list, and ErrLimit where there are
// more than MaxReferrers. It is what Parse returns where page is a list and
// something on it is wrong: what stands beside that must not be lost in silence.
func (l ReferrerList) AppendPage(page Manifest) (ReferrerList, error) {
	contents, err := page.Parse()
	if page.MediaType != ocispec.MediaTypeImageIndex || errors.Is(err, ErrInvalidManifest) && !lists(page.Content) {
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

// lists says whether something has manifests on it, readable ones or not.
func lists(content []byte) bool {
	var index struct{ Manifests []json.RawMessage }
	return json.Unmarshal(content, &index) == nil && len(index.Manifests) > 0
}

// ReferrersTag is the tag under which clients keep the list of what refers to a
// digest where a registry has no referrers API (OCI distribution specification,
// "Referrers Tag Schema").
func ReferrersTag(d digest.Digest) string {
	algorithm, encoded := d.Algorithm().String(), d.Encoded()
	return algorithm[:min(len(algorithm), 32)] + "-" + encoded[:min(len(encoded), 64)]
}

// LegacyTags are the tags under which cosign has kept signatures, attestations
// and SBOMs of a digest since before there were referrers; none for an algorithm
// that it never used.
func LegacyTags(d digest.Digest) []string {
	if d.Algorithm() != digest.SHA256 {
		return nil
	}
	name := "sha256-" + d.Encoded()
	return []string{name + ".sig", name + ".att", name + ".sbom"}
}

// Type is the artifact type of a manifest: the one that it says, or else its
// configuration's media type (OCI distribution specification, "Listing
// Referrers").
func (c Contents) Type() string {
	if c.ArtifactType == "" && c.Config != nil {
		return c.Config.MediaType
	}
	return c.ArtifactType
}

// AppendManifests is an index with more children at its end, those that it does not have
// yet; m itself where it has them all. What it has stays as it is, fields that
// nobody knows included. m is an image index, or one without content for a new
// one. The error matches ErrInvalidManifest, or ErrLimit where there would be more
// than MaxReferrers.
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
	known, had := map[digest.Digest]bool{}, len(list)
	for _, has := range list {
		known[digestOf(has)] = true
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
	case len(list) == had && len(m.Content) > 0:
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

// RemoveManifests is an index without the children that are gone. Everything else keeps
// its bytes.
func (m Manifest) RemoveManifests(gone func(Descriptor) bool) (Manifest, error) {
	contents, err := m.Parse()
	if err != nil {
		return Manifest{}, err
	}
	if len(contents.Manifests) == 0 {
		return m, nil
	}
	return m.without(func(i int) bool { return gone(contents.Manifests[i]) })
}

func digestOf(entry json.RawMessage) digest.Digest {
	var d Descriptor
	_ = json.Unmarshal(entry, &d) // what cannot be read is no descriptor of anything
	return d.Digest
}

// marshal writes JSON with <, > and & as they are: other tools do, and annotations
// have addresses in them.
func marshal(v any) (json.RawMessage, error) {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSpace(text.Bytes()), err
}
