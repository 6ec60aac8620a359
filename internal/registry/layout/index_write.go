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

// containerdName is the annotation in which containerd, and buildx for containerd, store the
// name of an index entry, in addition to or instead of org.opencontainers.image.ref.name.
const containerdName = "io.containerd.image.name"

// DeleteTag removes a tag from the index.
func (l *Layout) DeleteTag(ctx context.Context, tag string) error {
	return l.removeEntries(ctx, "remove the tag", tag, func(d registry.Descriptor) bool { return refName(d) == tag })
}

// DeleteManifest removes every tag of a manifest from the index. Entries without a tag were
// written by other tools and are kept. The file of the manifest is kept because other content
// may refer to it.
func (l *Layout) DeleteManifest(ctx context.Context, digest digest.Digest) error {
	return l.removeEntries(ctx, "remove the manifest", digest.String(), func(d registry.Descriptor) bool { return refName(d) != "" && d.Digest == digest })
}

func (l *Layout) removeEntries(ctx context.Context, op, reference string, tagged func(registry.Descriptor) bool) error {
	if err := l.checkWritable(ctx, op, reference); err != nil {
		return err
	}
	err := l.withFolderLock(ctx, l.path, func() error {
		index, err := l.editIndex(func(entries []json.RawMessage) ([]json.RawMessage, error) { return untag(entries, tagged) })
		if err == nil && index == nil {
			err = &registry.Error{Kind: registry.ErrNotFound, Message: "the layout does not have it"}
		}
		if err != nil {
			return err
		}
		_, err = l.writeFile(ctx, ocispec.ImageIndexFile, writeBytes(index))
		return err
	})
	if err != nil {
		return l.opError(err, op, reference)
	}
	return nil
}

// putTagged writes a manifest and adds it to the index under tag, replacing the manifest that
// had the tag. It writes nothing if readers would reject the new index.
func (l *Layout) putTagged(ctx context.Context, tag string, m registry.Manifest) error {
	if err := os.MkdirAll(l.path, 0o755); err != nil { //nolint:gosec // images are not secret, and other tools read them
		return err
	}
	return l.withFolderLock(ctx, l.path, func() error {
		index, err := l.editIndex(func(entries []json.RawMessage) ([]json.RawMessage, error) { return retag(entries, tag, m) })
		if err != nil {
			return err
		}
		if err := l.writeManifest(ctx, m); err != nil || index == nil {
			return err
		}
		return l.writeIndex(ctx, index)
	})
}

// writeIndex writes index.json. It first syncs the folders of the blobs, so that after a crash
// the index does not name files that were lost.
func (l *Layout) writeIndex(ctx context.Context, index []byte) error {
	root, err := l.root()
	if err != nil {
		return err
	}
	defer root.Close()
	if err := l.syncFolders(root, append(blobFolders(root), ocispec.ImageBlobsDir)...); err != nil {
		return err
	}
	if _, err := l.writeFile(ctx, ocispec.ImageIndexFile, writeBytes(index)); err != nil {
		return err
	}
	return l.syncFolders(root, ".")
}

// editIndex returns the content of index.json after edit changed its entries. All other fields
// are kept. It returns nil if edit returns nil, which means that nothing changes. The caller
// must hold the lock of the layout.
func (l *Layout) editIndex(edit func([]json.RawMessage) ([]json.RawMessage, error)) ([]byte, error) {
	content, err := l.read(ocispec.ImageIndexFile, maxManifest)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		content = []byte(`{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageIndex + `"}`)
	case err != nil:
		return nil, err
	}
	if _, err := parseIndex(content); err != nil && !errors.Is(err, registry.ErrLimit) { // the edit may shrink an index that is too large
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
	return content, checkIndex(content)
}

// checkIndex returns an error if readers of the layout would reject the index. Readers limit
// its size and the number of its entries, and validate each entry. See readIndex.
func checkIndex(index []byte) error {
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

// untag removes the tag from each entry that tagged matches, or returns nil if none matches. It
// removes the whole entry, unless the entry also has a name for containerd.
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

// retag adds an entry for m under tag, replacing the entry that had the tag. It returns nil if
// the tag already has the same descriptor, to keep the annotations that another tool may have
// added to that entry.
func retag(entries []json.RawMessage, tag string, m registry.Manifest) ([]json.RawMessage, error) {
	want := m.Descriptor()
	has := func(d registry.Descriptor) bool { return refName(d) == tag }
	named := slices.DeleteFunc(slices.Clone(entries), func(entry json.RawMessage) bool {
		var d registry.Descriptor
		return json.Unmarshal(entry, &d) != nil || !has(d)
	})
	var current registry.Descriptor
	if len(named) == 1 && json.Unmarshal(named[0], &current) == nil &&
		current.Digest == want.Digest && current.Size == want.Size && current.MediaType == want.MediaType {
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

// withoutAnnotation removes an annotation from an entry and keeps its other fields.
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

// marshal encodes v without HTML escapes, which would lengthen entries that other tools wrote.
func marshal(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(v)
	return bytes.TrimRight(b.Bytes(), "\n"), err
}
