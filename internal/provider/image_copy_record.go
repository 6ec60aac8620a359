package provider

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/imageref"
)

// recordKey is where the record is in private state.
const recordKey = "copy"

// privateState is what a copy keeps in private state, beside the attributes that
// people see: references, digests and media types, nothing else.
//
// It exists because Terraform plans a change twice, and the second time, during
// the apply, shows the provider nothing of the first answer. State and private
// state are what both times have in common. So Read asks the source and notes
// here what it found, and a plan that takes it from here says the same both
// times, whatever the source's tag does in between.
type privateState struct {
	// Wanted is what the source was last found to hold, and what the next plan
	// plans. Where the source could not be asked it is Applied.
	Wanted resolvedSource `json:"wanted"`
	// Applied is what was last copied.
	Applied resolvedSource `json:"applied"`
	// Put is the digest that this resource last wrote under each tag. What an
	// earlier version of the provider noted here counts as written, although it
	// may have been found.
	Put map[string]digest.Digest `json:"put"`
	// Found is the digest of each tag that already held it when this resource was
	// applied. Such a tag belongs to whoever wrote it.
	Found map[string]digest.Digest `json:"found,omitempty"`
	// Held is what each tag was last seen to hold; "" for one that was not
	// there.
	Held map[string]digest.Digest `json:"held"`
	// Referrers is a digest over what was last found to refer to the image at its
	// source, "" where nobody asked, and ReferrerTags what this resource put under
	// tags by which referrers are found.
	Referrers    digest.Digest            `json:"referrers,omitempty"`
	ReferrerTags map[string]digest.Digest `json:"referrer_tags,omitempty"`
	// Missing is what the destination was last found to lack of what its tags hold.
	Missing []digest.Digest `json:"missing,omitempty"`
	// Moving is what an update wrote at another repository before it failed.
	Moving *moving `json:"moving,omitempty"`
	// DestroyPlannedBy is the run that planned to destroy the resource for good. It
	// is in the private data of that plan alone: Terraform plans no destroy for an
	// object that is replaced, so that its Delete finds none.
	DestroyPlannedBy string `json:"destroy_planned_by,omitempty"`
	// ReplacedBy is the destination of the replacement, in the private data of the
	// plan of that replacement alone.
	ReplacedBy string `json:"replaced_by,omitempty"`
}

// moving are the tags that an update wrote in a repository that the resource was
// to get, and did not.
type moving struct {
	Repository   string                   `json:"repository"`
	Put          map[string]digest.Digest `json:"put"`
	ReferrerTags map[string]digest.Digest `json:"referrer_tags,omitempty"`
}

// resolvedSource is what a source was found to hold.
type resolvedSource struct {
	// Source is the reference in the normal form of the version that wrote it.
	Source string `json:"source"`
	// Platforms are those that are promoted of it, as names in one spelling and in
	// order; none for all of it.
	Platforms []string `json:"platforms,omitempty"`
	// SourceDigest is what the reference names, Digest what goes to the
	// destination.
	SourceDigest digest.Digest `json:"source_digest"`
	Digest       digest.Digest `json:"digest"`
	// MediaType is "" where it is not known.
	MediaType string `json:"media_type"`
}

// is reports whether it was found out for a source and platforms. The reference
// may be in the normal form of an earlier version.
func (r resolvedSource) is(e *engine, source imageref.Ref, platforms []string) bool {
	recorded, err := imageref.ParseSource(r.Source)
	return err == nil && e.same(recorded, source) && slices.Equal(r.Platforms, platforms)
}

// privateReader and privateWriter are what the framework gives for private
// state; it does not name their type.
type privateReader interface {
	GetKey(ctx context.Context, key string) ([]byte, diag.Diagnostics)
}

type privateWriter interface {
	SetKey(ctx context.Context, key string, value []byte) diag.Diagnostics
}

func newRecord() privateState {
	return privateState{Put: map[string]digest.Digest{}, Found: map[string]digest.Digest{}, Held: map[string]digest.Digest{}}
}

// withMaps returns the record with maps that can be written to, and of its own.
func (rec privateState) withMaps() privateState {
	for _, m := range []*map[string]digest.Digest{&rec.Put, &rec.Found, &rec.Held} {
		if *m = maps.Clone(*m); *m == nil {
			*m = map[string]digest.Digest{}
		}
	}
	return rec
}

// elsewhere returns the record as it holds in another repository: what is known
// of tags and of what is missing is about the one it was found in.
func (rec privateState) elsewhere(repository string) privateState {
	elsewhere := newRecord()
	elsewhere.Wanted, elsewhere.Applied, elsewhere.Referrers = rec.Wanted, rec.Applied, rec.Referrers
	if rec.Moving != nil && rec.Moving.Repository == repository {
		elsewhere.Put, elsewhere.ReferrerTags = rec.Moving.Put, rec.Moving.ReferrerTags
	}
	return elsewhere.withMaps()
}

// loadRecord reads the record; an empty one where there is none.
func loadRecord(ctx context.Context, private privateReader, diags *diag.Diagnostics) privateState {
	rec := newRecord()
	data, getDiags := private.GetKey(ctx, recordKey)
	diags.Append(getDiags...)
	if len(data) > 0 {
		err := json.Unmarshal(data, &rec)
		if rec = rec.withMaps(); err != nil {
			diags.AddError("The resource's private state cannot be read",
				"It was written by another version of the provider, or damaged: "+err.Error()+".\n\nRemove the resource from the state and import it again.")
		}
	}
	return rec
}

// orOf returns the record, or one that is made from the state if there is none.
// Terraform drops private state if the provider is killed during an apply. Which tags
// the resource wrote is lost then, so they all count as found: none is removed.
func (rec privateState) orOf(state imageCopyModel) privateState {
	if rec.Applied.Digest != "" || state.Digest.ValueString() == "" || state.Source.ValueString() == "" {
		return rec
	}
	source, err := state.Source.place()
	if err != nil {
		return rec
	}
	d := digest.Digest(state.Digest.ValueString())
	rec.Applied = resolvedSource{Source: source.String(), Platforms: state.platforms(), SourceDigest: digest.Digest(state.SourceDigest.ValueString()), Digest: d, MediaType: state.MediaType.ValueString()}
	rec.Wanted = rec.Applied
	destination, _ := parseDestination(state.Destination.ValueString())
	for _, tag := range append(state.additional(), destination.Tag()) {
		if rec.Put[tag] == "" {
			rec.Found[tag] = d
		}
	}
	return rec
}

func (rec privateState) save(ctx context.Context, private privateWriter, diags *diag.Diagnostics) {
	data, err := json.Marshal(rec)
	if err != nil {
		diags.AddError("The resource's private state cannot be written", err.Error())
		return
	}
	diags.Append(private.SetKey(ctx, recordKey, data)...)
}

// tagsWith are all tags that concern the resource: the destination's own, the
// additional ones, and those that it put or found and that were lost from the
// list since.
func (rec privateState) tagsWith(own string, additional []string) map[string]bool {
	tags := map[string]bool{own: true}
	for _, tag := range additional {
		tags[tag] = true
	}
	for _, known := range []map[string]digest.Digest{rec.Put, rec.Found} {
		for tag := range known {
			tags[tag] = true
		}
	}
	return tags
}

// recordWritten notes that this resource put d under tags.
func (rec privateState) recordWritten(d digest.Digest, tags ...string) {
	for _, tag := range tags {
		rec.Put[tag] = d
		delete(rec.Found, tag)
	}
}

// recordHeld notes that tags hold d. One that this resource did not write, or that
// another client moved since, was found.
func (rec privateState) recordHeld(d digest.Digest, tags ...string) {
	for _, tag := range tags {
		if rec.Held[tag] = d; rec.Put[tag] != d {
			delete(rec.Put, tag)
			rec.Found[tag] = d
		}
	}
}

// forget notes that a tag is no longer this resource's.
func (rec privateState) forget(tag string) {
	delete(rec.Put, tag)
	delete(rec.Found, tag)
	delete(rec.Held, tag)
}
