package provider

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/imageref"
)

// privateStateKey is the key of the resource's private state.
const privateStateKey = "copy"

// privateState is the private state of a copy. It contains references, digests and media types
// only.
//
// Terraform plans a change twice, and the second plan, during apply, has no access to what the
// first one found. Only state and private state are available to both. Read therefore resolves
// the source and records the result here. A plan that uses it is the same both times, even if
// the source tag moves in between.
type privateState struct {
	// Latest is the source content that the last refresh found, which the next plan uses. If
	// the source could not be read, it equals Applied.
	Latest resolvedSource `json:"wanted"`
	// Applied is the source content that was last copied.
	Applied resolvedSource `json:"applied"`
	// Written maps each tag to the digest that this resource last wrote there. Tags recorded by
	// an earlier version of the provider count as written, even if they were only found.
	Written map[string]digest.Digest `json:"put"`
	// Found maps tags to digests that they already pointed to when this resource was applied.
	// Such a tag belongs to the client that wrote it.
	Found map[string]digest.Digest `json:"found,omitempty"`
	// Observed maps each tag to the digest that it was last resolved to, "" if it did not
	// exist.
	Observed map[string]digest.Digest `json:"held"`
	// Referrers is the digest of the list of referrers that was last found at the source. It is
	// "" if referrers were not read. ReferrerTags are the referrer tags that this resource
	// wrote.
	Referrers    digest.Digest            `json:"referrers,omitempty"`
	ReferrerTags map[string]digest.Digest `json:"referrer_tags,omitempty"`
	// Folder is the folder of an image layout when the tags were recorded, see folderOf. It is
	// empty for a registry, whose name does not lead elsewhere, and in states of earlier
	// versions.
	Folder string `json:"folder,omitempty"`
	// Missing lists the content that the last deep check did not find at the destination.
	Missing []digest.Digest `json:"missing,omitempty"`
	// FailedMove lists the tags that a failed update wrote to another repository.
	FailedMove *failedMove `json:"moving,omitempty"`
	// DestroyPlannedBy is the ID of the run that planned to destroy the resource without
	// replacement. It is only in the private data of that plan. Terraform plans no destroy for
	// a replaced object, so that its Delete finds no ID.
	DestroyPlannedBy string `json:"destroy_planned_by,omitempty"`
	// ReplacedBy is the destination of the replacement. It is only in the private data of the
	// plan of that replacement.
	ReplacedBy string `json:"replaced_by,omitempty"`
}

// failedMove records the tags that a failed update wrote to the repository of its new
// destination.
type failedMove struct {
	Repository   string                   `json:"repository"`
	Written      map[string]digest.Digest `json:"put"`
	ReferrerTags map[string]digest.Digest `json:"referrer_tags,omitempty"`
}

// resolvedSource is the resolved content of a source.
type resolvedSource struct {
	// Source is the reference in the normal form of the provider version that wrote it.
	Source string `json:"source"`
	// Platforms are the selected platforms in normal form and sorted. It is empty if the whole
	// image is copied.
	Platforms []string `json:"platforms,omitempty"`
	// SourceDigest is the digest of the source reference. Digest is the digest to copy, which
	// differs if platforms are selected.
	SourceDigest digest.Digest `json:"source_digest"`
	Digest       digest.Digest `json:"digest"`
	// MediaType is empty if unknown.
	MediaType string `json:"media_type"`
}

// matches reports whether r was resolved from the given source and platforms. The recorded
// reference may be in the normal form of an earlier version.
func (r resolvedSource) matches(e *engine, source imageref.Ref, platforms []string) bool {
	recorded, err := imageref.ParseSource(r.Source)
	return err == nil && e.sameRef(recorded, source) && slices.Equal(r.Platforms, platforms)
}

// privateReader and privateWriter are implemented by the framework's private state, whose type
// is internal.
type privateReader interface {
	GetKey(ctx context.Context, key string) ([]byte, diag.Diagnostics)
}

type privateWriter interface {
	SetKey(ctx context.Context, key string, value []byte) diag.Diagnostics
}

func newPrivateState() privateState {
	return privateState{Written: map[string]digest.Digest{}, Found: map[string]digest.Digest{}, Observed: map[string]digest.Digest{}}
}

// withMaps returns a copy of the private state with its own non-nil maps.
func (rec privateState) withMaps() privateState {
	for _, m := range []*map[string]digest.Digest{&rec.Written, &rec.Found, &rec.Observed} {
		if *m = maps.Clone(*m); *m == nil {
			*m = map[string]digest.Digest{}
		}
	}
	return rec
}

// forOtherRepository returns the private state as it applies to another repository. Tags and
// missing content are dropped, because they belong to the previous repository.
func (rec privateState) forOtherRepository(repository string) privateState {
	elsewhere := newPrivateState()
	elsewhere.Latest, elsewhere.Applied, elsewhere.Referrers = rec.Latest, rec.Applied, rec.Referrers
	if rec.FailedMove != nil && rec.FailedMove.Repository == repository {
		elsewhere.Written, elsewhere.ReferrerTags = rec.FailedMove.Written, rec.FailedMove.ReferrerTags
	}
	return elsewhere.withMaps()
}

// loadRecord reads the private state of an object and reconstructs what is missing in it.
func loadRecord(ctx context.Context, private privateReader, state imageCopyModel, diags *diag.Diagnostics) privateState {
	destination, _ := parseDestination(state.Destination.ValueString())
	return loadPrivateState(ctx, private, diags).orFromState(state).inFolder(destination, diags)
}

// loadPrivateState reads the private state. Its maps are not nil, even if nothing is stored.
func loadPrivateState(ctx context.Context, private privateReader, diags *diag.Diagnostics) privateState {
	rec := newPrivateState()
	data, getDiags := private.GetKey(ctx, privateStateKey)
	diags.Append(getDiags...)
	if len(data) > 0 {
		err := json.Unmarshal(data, &rec)
		if rec = rec.withMaps(); err != nil {
			diags.AddError("Unable to Read Private State",
				"It was written by another version of the provider, or damaged: "+err.Error()+".\n\nRemove the resource from the state and import it again.")
		}
	}
	for tag := range rec.ReferrerTags { // earlier versions recorded them twice
		delete(rec.Written, tag)
	}
	return rec
}

// hasPrivateState reports whether there is private state.
func hasPrivateState(ctx context.Context, private privateReader) bool {
	data, diags := private.GetKey(ctx, privateStateKey)
	return len(data) > 0 && !diags.HasError()
}

// equal reports whether two records are the same, whichever plan they are in.
func (rec privateState) equal(other privateState) bool {
	rec.DestroyPlannedBy, rec.ReplacedBy = other.DestroyPlannedBy, other.ReplacedBy
	a, errA := json.Marshal(rec)
	b, errB := json.Marshal(other)
	return errA == nil && errB == nil && bytes.Equal(a, b)
}

// orFromState returns rec, or private state that is reconstructed from state if rec is empty.
// Terraform drops private state if the provider is killed during an apply. Which tags the
// resource wrote is unknown then, so they all count as found and none is removed.
func (rec privateState) orFromState(state imageCopyModel) privateState {
	if rec.Applied.Digest != "" || state.Digest.ValueString() == "" || state.Source.ValueString() == "" {
		return rec
	}
	source, err := state.Source.ref()
	if err != nil {
		return rec
	}
	d := digest.Digest(state.Digest.ValueString())
	rec.Applied = resolvedSource{Source: source.String(), Platforms: state.platforms(), SourceDigest: digest.Digest(state.SourceDigest.ValueString()), Digest: d, MediaType: state.MediaType.ValueString()}
	rec.Latest = rec.Applied
	destination, _ := parseDestination(state.Destination.ValueString())
	for _, tag := range append(state.additionalTags(), destination.Tag()) {
		if rec.Written[tag] == "" {
			rec.Found[tag] = d
		}
	}
	return rec
}

func (rec privateState) save(ctx context.Context, private privateWriter, diags *diag.Diagnostics) {
	data, err := json.Marshal(rec)
	if err != nil {
		diags.AddError("Unable to Write Private State", err.Error())
		return
	}
	diags.Append(private.SetKey(ctx, privateStateKey, data)...)
}

// tagsWith returns all tags of the resource: the destination's own tag, the additional tags,
// and all tags that it wrote or found before.
func (rec privateState) tagsWith(own string, additional []string) map[string]bool {
	tags := map[string]bool{own: true}
	for _, tag := range additional {
		tags[tag] = true
	}
	for _, known := range []map[string]digest.Digest{rec.Written, rec.Found} {
		for tag := range known {
			tags[tag] = true
		}
	}
	return tags
}

// recordWritten records that this resource wrote d to tags.
func (rec privateState) recordWritten(d digest.Digest, tags ...string) {
	for _, tag := range tags {
		rec.Written[tag] = d
		delete(rec.Found, tag)
	}
}

// recordObserved records that tags point to d. A tag that this resource did not write, or that
// another client has moved since, counts as found.
func (rec privateState) recordObserved(d digest.Digest, tags ...string) {
	for _, tag := range tags {
		if rec.Observed[tag] = d; rec.Written[tag] != d {
			delete(rec.Written, tag)
			rec.Found[tag] = d
		}
	}
}

// forget removes a tag that no longer belongs to this resource.
func (rec privateState) forget(tag string) {
	delete(rec.Written, tag)
	delete(rec.Found, tag)
	delete(rec.Observed, tag)
}
