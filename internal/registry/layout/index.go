package layout

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// entries are what the layout's index names, none where there is no index yet.
// The index is read as a manifest is, with the same caps and the same distrust
// (OCI image specification, "index.json file").
func (l *Layout) entries() ([]registry.Descriptor, error) {
	content, err := l.read(ocispec.ImageIndexFile, maxManifest)
	if errors.Is(err, fs.ErrNotExist) {
		if l.writes {
			return nil, nil
		}
		return nil, l.invalid(fmt.Sprintf("it holds no file %q", ocispec.ImageIndexFile))
	}
	if err != nil {
		return nil, err
	}
	entries, err := parseIndex(content)
	if err != nil {
		return nil, invalidIndex(err)
	}
	l.learn(entries)
	return entries, nil
}

// invalidIndex is the error of an index that parseIndex refuses.
func invalidIndex(err error) error {
	why := err.Error()
	if e, ok := errors.AsType[*registry.Error](err); ok {
		why = e.Message
	}
	return &registry.Error{Kind: registry.ErrInvalidLayout, Message: ocispec.ImageIndexFile + ": " + why, Hint: hint}
}

// parseIndex returns the entries of index.json. A writer uses it too, because it
// must not write an index that a reader refuses, see edited.
func parseIndex(content []byte) ([]registry.Descriptor, error) {
	m, err := registry.NewManifest(ocispec.MediaTypeImageIndex, content, "")
	if err != nil {
		return nil, err
	}
	contents, err := m.Parse()
	return contents.Manifests, err
}

// learn keeps what an index says of the media types of its children.
func (l *Layout) learn(children []registry.Descriptor) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range children {
		if registry.MediaType(d.MediaType) != "" {
			l.types[d.Digest] = d.MediaType
		}
	}
}

// nameOf is the name that an entry of the index has, "" for none.
func nameOf(d registry.Descriptor) string { return d.Annotations[ocispec.AnnotationRefName] }

// Resolve finds what a tag, a digest, or "" for the only manifest names.
func (l *Layout) Resolve(ctx context.Context, reference string) (registry.Descriptor, error) {
	const op = "look up"
	if err := l.ended(ctx, op, reference); err != nil {
		return registry.Descriptor{}, err
	}
	if d := digest.Digest(reference); strings.Contains(reference, ":") && registry.ValidateDigest(d) == nil {
		size, err := l.sizeOf(d)
		if err != nil {
			return registry.Descriptor{}, l.during(err, op, reference)
		}
		return registry.Descriptor{MediaType: l.typeOf(d), Digest: d, Size: size}, nil
	}
	entries, err := l.entries()
	if err != nil {
		return registry.Descriptor{}, l.during(err, op, reference)
	}
	if l.writes { // where what is written as a tag has no other name
		entries = slices.DeleteFunc(entries, func(d registry.Descriptor) bool { return nameOf(d) != reference })
	}
	found, err := pick(entries, reference)
	if err == nil {
		_, err = l.sizeOf(found.Digest) // a registry has no tag without its manifest either
	}
	if err != nil {
		return registry.Descriptor{}, l.during(err, op, reference)
	}
	return registry.Descriptor{MediaType: found.MediaType, Digest: found.Digest, Size: found.Size}, nil
}

// typeOf is the media type that something said a manifest has, "" where nothing
// did.
func (l *Layout) typeOf(d digest.Digest) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.types[d]
}

// pick finds an entry by its name. A name is a tag, or a whole reference that
// ends with one, as podman writes it. Without a name it is the only manifest.
func pick(entries []registry.Descriptor, name string) (registry.Descriptor, error) {
	for _, matches := range []func(string) bool{
		func(has string) bool { return name == "" || has == name },
		func(has string) bool { return strings.HasSuffix(has, ":"+name) },
	} {
		found := slices.DeleteFunc(slices.Clone(entries), func(d registry.Descriptor) bool { return !matches(nameOf(d)) })
		same := func(d registry.Descriptor) bool { return d.Digest == found[0].Digest }
		switch {
		case len(found) > 0 && !slices.ContainsFunc(found, func(d registry.Descriptor) bool { return !same(d) }):
			return found[0], nil
		case len(found) > 0:
			return registry.Descriptor{}, &registry.Error{Kind: registry.ErrInvalidReference, Message: fmt.Sprintf("the layout holds %d manifests of that name: %s", len(found), names(found)),
				Hint: "Say which one is meant, by its tag or digest: oci:PATH:tag or oci:PATH@sha256:…."}
		}
	}
	return registry.Descriptor{}, &registry.Error{Kind: registry.ErrNotFound, Message: "the layout holds " + names(entries),
		Hint: "Use one of the tags that the layout has, or a digest: oci:PATH:tag or oci:PATH@sha256:…."}
}

// maxNamed is how many manifests an error names.
const maxNamed = 8

// names tells people what there is.
func names(entries []registry.Descriptor) string {
	if len(entries) == 0 {
		return "nothing"
	}
	var all []string
	for _, d := range entries[:min(len(entries), maxNamed)] {
		name := d.Digest.String()
		if n := nameOf(d); n != "" {
			name = fmt.Sprintf("%q (%s)", registry.Sanitize(n), name)
		}
		all = append(all, name)
	}
	if more := len(entries) - len(all); more > 0 {
		all = append(all, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(all, ", ")
}

// ListTags returns the names of the index.
func (l *Layout) ListTags(ctx context.Context) ([]string, error) {
	const op = "list the tags"
	if err := l.ended(ctx, op, ""); err != nil {
		return nil, err
	}
	entries, err := l.entries()
	if err != nil {
		return nil, l.during(err, op, "")
	}
	var tags []string
	for _, d := range entries {
		if name := nameOf(d); name != "" && !slices.Contains(tags, name) {
			tags = append(tags, name)
		}
	}
	return tags, nil
}
