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

// readIndex returns the entries of index.json. If the file does not exist, it returns no
// entries for a writable layout and an error otherwise. The index is as untrusted as a manifest
// from a registry, and has the same limits (OCI image specification, "index.json file").
func (l *Layout) readIndex() ([]registry.Descriptor, error) {
	content, err := l.read(ocispec.ImageIndexFile, maxManifest)
	if errors.Is(err, fs.ErrNotExist) {
		if l.writable {
			return nil, nil
		}
		return nil, l.invalidError(fmt.Sprintf("it holds no file %q", ocispec.ImageIndexFile))
	}
	if err != nil {
		return nil, err
	}
	entries, err := parseIndex(content)
	if err != nil {
		return nil, invalidIndex(err)
	}
	l.recordTypes(entries)
	return entries, nil
}

// invalidIndex converts an error of parseIndex to the error of an invalid layout.
func invalidIndex(err error) error {
	why := err.Error()
	if e, ok := errors.AsType[*registry.Error](err); ok {
		why = e.Message
	}
	return &registry.Error{Kind: registry.ErrInvalidLayout, Message: ocispec.ImageIndexFile + ": " + why, Hint: hint}
}

// parseIndex returns the entries of index.json. Writers use it too, so that they do not write
// an index that readers reject. See editIndex.
func parseIndex(content []byte) ([]registry.Descriptor, error) {
	m, err := registry.NewManifest(ocispec.MediaTypeImageIndex, content, "")
	if err != nil {
		return nil, err
	}
	contents, err := m.Parse()
	return contents.Manifests, err
}

// recordTypes records the media types that an index declares for its children.
func (l *Layout) recordTypes(children []registry.Descriptor) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range children {
		if registry.MediaType(d.MediaType) != "" {
			l.types[d.Digest] = d.MediaType
		}
	}
}

// refName returns the reference name of an index entry, or "" if it has none.
func refName(d registry.Descriptor) string { return d.Annotations[ocispec.AnnotationRefName] }

// Resolve returns the descriptor that reference identifies: a tag, a digest, or "" for the only
// manifest.
func (l *Layout) Resolve(ctx context.Context, reference string) (registry.Descriptor, error) {
	const op = "look up"
	if err := l.contextError(ctx, op, reference); err != nil {
		return registry.Descriptor{}, err
	}
	if d := digest.Digest(reference); strings.Contains(reference, ":") && registry.ValidateDigest(d) == nil {
		size, err := l.blobSize(d)
		if err != nil {
			return registry.Descriptor{}, l.opError(err, op, reference)
		}
		return registry.Descriptor{MediaType: l.recordedType(d), Digest: d, Size: size}, nil
	}
	entries, err := l.readIndex()
	if err != nil {
		return registry.Descriptor{}, l.opError(err, op, reference)
	}
	if l.writable { // a tag in a writable layout is the whole reference name
		entries = slices.DeleteFunc(entries, func(d registry.Descriptor) bool { return refName(d) != reference })
	}
	found, err := findEntry(entries, reference)
	if err == nil {
		_, err = l.blobSize(found.Digest) // as in a registry, a tag without its manifest does not resolve
	}
	if err != nil {
		return registry.Descriptor{}, l.opError(err, op, reference)
	}
	return registry.Descriptor{MediaType: found.MediaType, Digest: found.Digest, Size: found.Size}, nil
}

// recordedType returns the media type that an index declared for d, or "" if none did.
func (l *Layout) recordedType(d digest.Digest) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.types[d]
}

// findEntry returns the entry with the given name. The name of an entry is a tag or, as podman
// writes it, a whole reference that ends with the tag. An empty name matches the only manifest.
func findEntry(entries []registry.Descriptor, name string) (registry.Descriptor, error) {
	for _, matches := range []func(string) bool{
		func(has string) bool { return name == "" || has == name },
		func(has string) bool { return strings.HasSuffix(has, ":"+name) },
	} {
		found := slices.DeleteFunc(slices.Clone(entries), func(d registry.Descriptor) bool { return !matches(refName(d)) })
		same := func(d registry.Descriptor) bool { return d.Digest == found[0].Digest }
		switch {
		case len(found) > 0 && !slices.ContainsFunc(found, func(d registry.Descriptor) bool { return !same(d) }):
			return found[0], nil
		case len(found) > 0:
			return registry.Descriptor{}, &registry.Error{Kind: registry.ErrInvalidReference, Message: fmt.Sprintf("the layout holds %d manifests of that name: %s", len(found), describeEntries(found)),
				Hint: "Say which one is meant, by its tag or digest: oci:PATH:tag or oci:PATH@sha256:…."}
		}
	}
	return registry.Descriptor{}, &registry.Error{Kind: registry.ErrNotFound, Message: "the layout holds " + describeEntries(entries),
		Hint: "Use one of the tags that the layout has, or a digest: oci:PATH:tag or oci:PATH@sha256:…."}
}

// maxNamed is the maximum number of manifests that an error lists.
const maxNamed = 8

// describeEntries returns the names and digests of entries for an error message.
func describeEntries(entries []registry.Descriptor) string {
	if len(entries) == 0 {
		return "nothing"
	}
	var all []string
	for _, d := range entries[:min(len(entries), maxNamed)] {
		name := d.Digest.String()
		if n := refName(d); n != "" {
			name = fmt.Sprintf("%q (%s)", registry.Sanitize(n), name)
		}
		all = append(all, name)
	}
	if more := len(entries) - len(all); more > 0 {
		all = append(all, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(all, ", ")
}

// ListTags returns the reference names in the index, without duplicates.
func (l *Layout) ListTags(ctx context.Context) ([]string, error) {
	const op = "list the tags"
	if err := l.contextError(ctx, op, ""); err != nil {
		return nil, err
	}
	entries, err := l.readIndex()
	if err != nil {
		return nil, l.opError(err, op, "")
	}
	var tags []string
	for _, d := range entries {
		if name := refName(d); name != "" && !slices.Contains(tags, name) {
			tags = append(tags, name)
		}
	}
	return tags, nil
}
