package layout

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// containerdName is the annotation by which containerd, and buildx for it, names an
// entry of the index, besides or instead of org.opencontainers.image.ref.name.
const containerdName = "io.containerd.image.name"

// DeleteTag takes a tag out of the index.
func (l *Layout) DeleteTag(ctx context.Context, tag string) error {
	return l.remove(ctx, "remove the tag", tag, func(d registry.Descriptor) bool { return nameOf(d) == tag })
}

// DeleteManifest takes every tag of a manifest out of the index. Entries without a
// tag stay, because other tools wrote them, and so do the bytes: something else may
// name them.
func (l *Layout) DeleteManifest(ctx context.Context, digest digest.Digest) error {
	return l.remove(ctx, "remove the manifest", digest.String(), func(d registry.Descriptor) bool { return nameOf(d) != "" && d.Digest == digest })
}

func (l *Layout) remove(ctx context.Context, op, about string, tagged func(registry.Descriptor) bool) error {
	if err := l.mayWrite(ctx, op, about); err != nil {
		return err
	}
	err := l.exclusively(ctx, l.path, func() error {
		index, err := l.edited(func(entries []json.RawMessage) ([]json.RawMessage, error) { return untag(entries, tagged) })
		if err == nil && index == nil {
			err = &registry.Error{Kind: registry.ErrNotFound, Message: "the layout does not have it"}
		}
		if err != nil {
			return err
		}
		_, err = l.place(ctx, ocispec.ImageIndexFile, bytesOf(index))
		return err
	})
	if err != nil {
		return l.during(err, op, about)
	}
	return nil
}

// tag writes a manifest and enters it into the index under a tag, in place of what
// had the tag. Nothing is written if the new index would be refused by readers.
func (l *Layout) tag(ctx context.Context, tag string, m registry.Manifest) error {
	if err := os.MkdirAll(l.path, 0o755); err != nil { //nolint:gosec // an image is no secret: other tools read it
		return err
	}
	return l.exclusively(ctx, l.path, func() error {
		index, err := l.edited(func(entries []json.RawMessage) ([]json.RawMessage, error) { return retag(entries, tag, m) })
		if err != nil {
			return err
		}
		if err := l.placeManifest(ctx, m); err != nil || index == nil {
			return err
		}
		return l.placeIndex(ctx, index)
	})
}

// placeIndex writes index.json. The names of the blobs are durable before, so that no
// crash of the machine leaves an index that names what is lost.
func (l *Layout) placeIndex(ctx context.Context, index []byte) error {
	root, err := l.root()
	if err != nil {
		return err
	}
	defer root.Close()
	if err := l.syncFolders(root, append(blobFolders(root), ocispec.ImageBlobsDir)...); err != nil {
		return err
	}
	if _, err := l.place(ctx, ocispec.ImageIndexFile, bytesOf(index)); err != nil {
		return err
	}
	return l.syncFolders(root, ".")
}

// edited returns the content of index.json after an edit of its entries, with every
// field that the edit is not about as it was; nil if the edit returns nil, which
// means that nothing changes. The caller holds the lock of the layout.
func (l *Layout) edited(edit func([]json.RawMessage) ([]json.RawMessage, error)) ([]byte, error) {
	content, err := l.read(ocispec.ImageIndexFile, maxManifest)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		content = []byte(`{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageIndex + `"}`)
	case err != nil:
		return nil, err
	}
	if _, err := parseIndex(content); err != nil && !errors.Is(err, registry.ErrLimit) { // too large an index may be made smaller
		return nil, invalidIndex(err)
	}
	var index map[string]json.RawMessage
	var entries []json.RawMessage
	if err := json.Unmarshal(content, &index); err != nil || index == nil {
		return nil, &registry.Error{Kind: registry.ErrInvalidLayout, Message: ocispec.ImageIndexFile + " is no JSON object", Hint: hint}
	}
	if list, ok := index["manifests"]; ok {
		if err := json.Unmarshal(list, &entries); err != nil {
			return nil, &registry.Error{Kind: registry.ErrInvalidLayout, Message: ocispec.ImageIndexFile + " has no list of manifests", Hint: hint}
		}
	}
	edited, err := edit(entries)
	if err != nil || edited == nil {
		return nil, err
	}
	if index["manifests"], err = marshal(edited); err != nil {
		return nil, err
	}
	if content, err = marshal(index); err != nil {
		return nil, err
	}
	return content, readable(content)
}

// readable returns an error if readers of the layout would refuse an index: they
// bound its size and its entries, and validate each of them, see entries.
func readable(index []byte) error {
	kind, why := registry.ErrLimit, fmt.Sprintf("it would have %d bytes, and at most %d are read", len(index), maxManifest)
	if len(index) <= maxManifest {
		_, err := parseIndex(index)
		e, ok := errors.AsType[*registry.Error](err)
		if !ok {
			return err
		}
		kind, why = e.Kind, e.Message
	}
	return &registry.Error{Kind: kind, Message: fmt.Sprintf("%s would be refused when it is read: %s", ocispec.ImageIndexFile, why),
		Hint: "The layout was not changed. Copy to a layout in another folder, or remove tags from this one first."}
}

// untag removes the tag from each entry that tagged matches, and returns nil if
// there is none. The entry is removed with its tag, unless containerd has a
// name for it too.
func untag(entries []json.RawMessage, tagged func(registry.Descriptor) bool) ([]json.RawMessage, error) {
	left, found := []json.RawMessage{}, false
	for _, entry := range entries {
		var d registry.Descriptor
		if json.Unmarshal(entry, &d) != nil || !tagged(d) {
			left = append(left, entry)
			continue
		}
		found = true
		if d.Annotations[containerdName] == "" {
			continue
		}
		unnamed, err := withoutAnnotation(entry, ocispec.AnnotationRefName)
		if err != nil {
			return nil, err
		}
		left = append(left, unnamed)
	}
	if !found {
		return nil, nil
	}
	return left, nil
}

// retag enters a manifest under a tag, in place of what had it, and returns nil if
// it has the tag already: another tool may have annotated that entry.
func retag(entries []json.RawMessage, tag string, m registry.Manifest) ([]json.RawMessage, error) {
	want := m.Descriptor()
	has := func(d registry.Descriptor) bool { return nameOf(d) == tag }
	named := slices.DeleteFunc(slices.Clone(entries), func(entry json.RawMessage) bool {
		var d registry.Descriptor
		return json.Unmarshal(entry, &d) != nil || !has(d)
	})
	var held registry.Descriptor
	if len(named) == 1 && json.Unmarshal(named[0], &held) == nil &&
		held.Digest == want.Digest && held.Size == want.Size && held.MediaType == want.MediaType {
		return nil, nil
	}
	left, err := untag(entries, has)
	if err != nil {
		return nil, err
	}
	if left == nil {
		left = entries
	}
	want.Annotations = map[string]string{ocispec.AnnotationRefName: tag}
	entry, err := marshal(want)
	return append(slices.Clip(left), entry), err
}

// withoutAnnotation removes an annotation of an entry and keeps its other fields.
func withoutAnnotation(entry json.RawMessage, name string) (json.RawMessage, error) {
	var fields, annotations map[string]json.RawMessage
	if err := json.Unmarshal(entry, &fields); err != nil {
		return nil, err
	}
	err := json.Unmarshal(fields["annotations"], &annotations)
	if err != nil {
		return nil, err
	}
	delete(annotations, name)
	if fields["annotations"], err = marshal(annotations); err != nil {
		return nil, err
	}
	return marshal(fields)
}

// marshal encodes a value without escapes for HTML, which would make what other
// tools wrote longer.
func marshal(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(v)
	return bytes.TrimRight(b.Bytes(), "\n"), err
}
