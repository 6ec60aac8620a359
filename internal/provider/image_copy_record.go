package provider

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/place"
)

// recordKey is where the record is in private state.
const recordKey = "copy"

// record is what a copy keeps in private state, beside the attributes that
// people see: references, digests and media types, nothing else.
//
// It exists because Terraform plans a change twice, and the second time, during
// the apply, shows the provider nothing of the first answer. State and private
// state are what both times have in common. So Read asks the source and notes
// here what it found, and a plan that takes it from here says the same both
// times, whatever the source's tag does in between.
type record struct {
	// Wanted is what the source was last found to hold, and what the next plan
	// plans. Where the source could not be asked it is Applied.
	Wanted resolved `json:"wanted"`
	// Applied is what was last copied.
	Applied resolved `json:"applied"`
	// Put is the digest that this resource last put under each tag.
	Put map[string]digest.Digest `json:"put"`
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
	// DestroyPlannedBy is the run that planned the resource's end, in what is
	// private to that plan alone.
	DestroyPlannedBy string `json:"destroy_planned_by,omitempty"`
}

// resolved is what a source was found to hold.
type resolved struct {
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
func (r resolved) is(e *engine, source place.Place, platforms []string) bool {
	recorded, err := place.ParseSource(r.Source)
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

func newRecord() record {
	return record{Put: map[string]digest.Digest{}, Held: map[string]digest.Digest{}}
}

// loadRecord reads the record; an empty one where there is none.
func loadRecord(ctx context.Context, private privateReader, diags *diag.Diagnostics) record {
	rec := newRecord()
	data, getDiags := private.GetKey(ctx, recordKey)
	diags.Append(getDiags...)
	if len(data) > 0 {
		if err := json.Unmarshal(data, &rec); err != nil {
			diags.AddError("The resource's private state cannot be read",
				"It was written by another version of the provider, or damaged: "+err.Error()+".\n\nRemove the resource from the state and import it again.")
		}
	}
	return rec
}

func (rec record) save(ctx context.Context, private privateWriter, diags *diag.Diagnostics) {
	data, err := json.Marshal(rec)
	if err != nil {
		diags.AddError("The resource's private state cannot be written", err.Error())
		return
	}
	diags.Append(private.SetKey(ctx, recordKey, data)...)
}

// tagsWith are all tags that concern the resource: the destination's own, the
// additional ones, and those that it put and that were lost from the list since.
func (rec record) tagsWith(own string, additional []string) map[string]bool {
	tags := map[string]bool{own: true}
	for _, tag := range additional {
		tags[tag] = true
	}
	for tag := range rec.Put {
		tags[tag] = true
	}
	return tags
}

// hold notes that tags hold d because this resource put it there, or found it
// there when it was about to.
func (rec record) hold(d digest.Digest, tags ...string) {
	for _, tag := range tags {
		rec.Put[tag], rec.Held[tag] = d, d
	}
}

// forget notes that a tag is no longer this resource's.
func (rec record) forget(tag string) {
	delete(rec.Put, tag)
	delete(rec.Held, tag)
}
