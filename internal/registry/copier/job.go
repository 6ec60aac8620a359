package copier

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// Job describes one copy.
type Job struct {
	// Source and Destination may be the same repository. Then the copy only adds tags
	// to an existing manifest.
	Source, Destination registry.Repository
	// Reference is the tag or digest at the source. It is resolved only once.
	Reference string
	// Digest is the digest to copy if it is already known, because it is pinned or
	// planned. If it is set, Reference is not resolved.
	Digest digest.Digest
	// MediaType is the media type that the source has reported for Digest, or "" if it
	// is unknown. The copy fails if the source now reports another one.
	MediaType string
	// Platforms limits the copy of an index to these platforms; see Select. If it is
	// empty, the whole index is copied.
	Platforms []registry.Platform
	// Tags are the tags to write at the destination, in this order, after everything
	// else. If it is empty, the manifest is pushed by digest.
	Tags []string
	// MayReplace is called before a tag that has another digest is written: once before
	// content is copied and again immediately before the write. Its error ends the copy
	// and is returned unchanged. If MayReplace is nil, every tag may be replaced.
	// The registry API has no conditional write, so a change between the last check and
	// the write is not detected.
	MayReplace func(tag string, current digest.Digest) error
	// Referrers also copies signatures, SBOMs, attestations and other referrers of the
	// image, of its content, and of the copied referrers. ReferrerTypes limits them to
	// these artifact types; if it is empty, all are copied. Within one repository, the
	// copy only reports them.
	Referrers     bool
	ReferrerTypes []string
	// ReferrerTags are the tags of referrers that an earlier copy wrote, with their
	// digests; see Report. A tag with another digest is not replaced if that would lose
	// signatures or attestations.
	ReferrerTags map[string]digest.Digest
	// Missing lists content of the tagged image that the destination was found to lack;
	// see Check. Missing blobs are uploaded even if the destination claims to have them,
	// and all manifests of the image are pushed again.
	Missing []digest.Digest
	// IncludeNonDistributable also copies non-distributable layers, whose descriptors
	// have URLs to download them from.
	IncludeNonDistributable bool
}

// validate returns an error if j.Digest is set but malformed.
func (j Job) validate() error {
	if j.Digest == "" {
		return nil
	}
	return registry.WithSide(registry.ValidateDigest(j.Digest), registry.Source)
}

// String describes the job, as in "the copy of ghcr.io/acme/app:1.4 to
// registry.example.com/prod/app:1.4".
func (j Job) String() string {
	source, destination := j.Source.Name(), j.Destination.Name()
	switch {
	case j.Reference != "" && !strings.Contains(j.Reference, ":"):
		source += ":" + j.Reference
	case j.Digest != "":
		source += "@" + j.Digest.String()
	case j.Reference != "":
		source += "@" + j.Reference
	}
	if len(j.Tags) > 0 {
		destination += ":" + strings.Join(j.Tags, ",")
	}
	return fmt.Sprintf("the copy of %s to %s", source, destination)
}

// isMissing reports whether d is listed in j.Missing.
func (j Job) isMissing(d digest.Digest) bool { return slices.Contains(j.Missing, d) }

// Report describes what a copy did, even if the copy failed.
type Report struct {
	// Digest and MediaType describe the root manifest.
	Digest    digest.Digest `json:"digest"`
	MediaType string        `json:"media_type"`
	// Copied counts uploaded blobs, Mounted blobs that the registry mounted, and Present
	// blobs that the destination already had.
	Copied  Count `json:"copied"`
	Mounted Count `json:"mounted"`
	Present Count `json:"already_there"`
	// Manifests is the number of pushed manifests. A manifest pushed to several tags
	// counts once.
	Manifests int `json:"manifests"`
	// Tagged are the tags that have the digest now, whether this copy wrote them or not.
	Tagged []string `json:"tagged"`
	// Written are the tags that this copy wrote. A tag in Tagged but not in Written
	// already had the digest. A tag that was written but could not be confirmed is only
	// in Written.
	Written []string `json:"written,omitempty"`
	// Referrers are the digests of all referrers of the image and its content that the
	// destination has now. ReferrersDigest is a digest of these relations, so it changes
	// if a referrer is added or removed. It is "" if Job.Referrers is false.
	Referrers       []digest.Digest `json:"referrers,omitempty"`
	ReferrersDigest digest.Digest   `json:"referrers_digest,omitempty"`
	// Found describes Referrers, with one entry for each subject and tag.
	Found []Referrer `json:"-"`
	// ReferrerTags are the tags of referrers that are found by tag, with their digests.
	ReferrerTags map[string]digest.Digest `json:"referrer_tags,omitempty"`
	// Requests and Retries count the HTTP requests to both sides.
	Requests int `json:"requests"`
	Retries  int `json:"retries"`
	// Hosts counts the requests by host.
	Hosts Hosts `json:"hosts"`
	// LongestWait is the longest client-side delay of a request or blob before it was
	// sent, and WaitedFor is its reason, or "" if there was no delay. Server latency is
	// not included.
	LongestWait time.Duration       `json:"longest_wait_ns"`
	WaitedFor   registry.WaitReason `json:"longest_wait_for,omitempty"`
	// Warnings are the warnings that registries and the client reported, without
	// duplicates.
	Warnings []string `json:"warnings,omitempty"`
	// Duration is how long the copy took, from its start to its end.
	Duration time.Duration `json:"duration_ns"`
}

// Hosts contains request statistics by host[:port], for the registries and for the hosts
// that they redirect to.
type Hosts map[string]Host

// Host contains the request statistics of one host.
type Host struct {
	// Requests counts the requests by kind, such as "GET blob" or "POST upload".
	Requests map[string]int `json:"requests"`
	// Peak is the largest number of requests that were in progress at the same time,
	// each until its response body was read. It does not include those of other copies.
	Peak int `json:"peak_requests"`
}

// String returns the statistics as one log line in a stable order: "ghcr.io: 3 GET blob,
// 2 GET manifest, at most 2 at a time; quay.io: …".
func (h Hosts) String() string {
	var hosts []string
	for _, name := range slices.Sorted(maps.Keys(h)) {
		var kinds []string
		for _, kind := range slices.Sorted(maps.Keys(h[name].Requests)) {
			kinds = append(kinds, fmt.Sprintf("%d %s", h[name].Requests[kind], kind))
		}
		hosts = append(hosts, fmt.Sprintf("%s: %s, at most %d at a time", name, strings.Join(kinds, ", "), h[name].Peak))
	}
	return strings.Join(hosts, "; ")
}

// Count is a number of blobs and their total size in bytes.
type Count struct {
	Blobs int   `json:"blobs"`
	Bytes int64 `json:"bytes"`
}

// memoryKey identifies the source and destination hosts of a job in the memory for
// manifests.
func (j Job) memoryKey() string { return j.Source.Host() + " " + j.Destination.Host() }
