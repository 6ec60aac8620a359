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

// Job is one copy.
type Job struct {
	// Source and Destination may be the same repository: then tags are put on
	// what is there already.
	Source, Destination registry.Repository
	// Reference is the tag or digest at the source. It is resolved once.
	Reference string
	// Digest is what is to be copied where that is known already (pinned, or
	// planned); the reference is then not resolved, whatever it names by now.
	Digest digest.Digest
	// MediaType is what the source has said that this is, "" where it was not asked:
	// one that says something else of the same digest is not believed.
	MediaType string
	// Platforms are those that are copied of an index; all of it where there are
	// none. See Select.
	Platforms []registry.Platform
	// Tags are the tags of the destination that are to hold it, written in this
	// order and last of all. None means that the manifest is put by its digest.
	Tags []string
	// MayReplace is asked before a tag that holds another digest is written,
	// before any byte moves and again just before the write; its error ends the
	// copy and is returned as it is. nil means that every tag may be replaced.
	// The registry API has no conditional write, so that a change in the last
	// instant is not seen.
	MayReplace func(tag string, held digest.Digest) error
	// Referrers brings along what refers to the image, to anything in it, and to
	// what comes along: signatures, SBOMs, attestations. ReferrerTypes are the
	// artifact types of those that are wanted, all where there are none. Within one
	// repository nothing has to be brought.
	Referrers     bool
	ReferrerTypes []string
	// ReferrerTags are what an earlier copy put under tags by which referrers are
	// found; see Report. Anything else that is there is not replaced where
	// something would be lost by it.
	ReferrerTags map[string]digest.Digest
	// Missing is what the destination was found to lack of what its tags hold; see
	// Check. It is sent whatever the destination says of it, and everything that
	// names it is put again.
	Missing []digest.Digest
	// IncludeNonDistributable copies layers that name other places to be had from too.
	IncludeNonDistributable bool
}

// validate refuses a digest that is none.
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

// lacks says whether the destination was found to lack something.
func (j Job) isMissing(d digest.Digest) bool { return slices.Contains(j.Missing, d) }

// Report says what a copy did, also where it failed half way.
type Report struct {
	// Digest and MediaType are those of the root.
	Digest    digest.Digest `json:"digest"`
	MediaType string        `json:"media_type"`
	// Copied, Mounted and Present count the blobs whose bytes were sent, that
	// the registry mounted, and that were there already.
	Copied  Count `json:"copied"`
	Mounted Count `json:"mounted"`
	Present Count `json:"already_there"`
	// Manifests is how many manifests were pushed, each once, also where it was
	// put under several tags.
	Manifests int `json:"manifests"`
	// Tagged are the tags that hold the digest by now, written or found so.
	Tagged []string `json:"tagged"`
	// Written are the tags that this copy wrote. A tag of Tagged that is not in
	// Written already held the digest. A tag that was written but could not be
	// confirmed is in Written alone.
	Written []string `json:"written,omitempty"`
	// Referrers are the manifests that refer to the image or to anything that came
	// with it, and are at the destination by now, and ReferrersDigest is a digest
	// over what refers to what: it changes when one comes or goes. "" where none were
	// asked for.
	Referrers       []digest.Digest `json:"referrers,omitempty"`
	ReferrersDigest digest.Digest   `json:"referrers_digest,omitempty"`
	// Found is what Referrers are, each for each subject and tag that it has.
	Found []Referrer `json:"-"`
	// ReferrerTags are the tags of the destination by which some of them are found,
	// with what they hold.
	ReferrerTags map[string]digest.Digest `json:"referrer_tags,omitempty"`
	// Requests and Retries count HTTP requests, over both sides.
	Requests int `json:"requests"`
	Retries  int `json:"retries"`
	// Hosts says the same by host.
	Hosts Hosts `json:"hosts"`
	// LongestWait is the longest time for which one request or blob was held back
	// before it was sent, and WaitedFor why; "" where none was. Waiting for an answer
	// does not count.
	LongestWait time.Duration       `json:"longest_wait_ns"`
	WaitedFor   registry.WaitReason `json:"longest_wait_for,omitempty"`
	// Warnings are what registries want people to know, each once.
	Warnings []string `json:"warnings,omitempty"`
	// Duration is the time from the first request to the last answer.
	Duration time.Duration `json:"duration_ns"`
}

// Hosts is what each host was asked, by host[:port]: the registries, and where
// they point their clients to.
type Hosts map[string]Host

// Host is what one host was asked.
type Host struct {
	// Requests counts them by their kind: "GET blob", "POST upload".
	Requests map[string]int `json:"requests"`
	// Peak is the most of them that were under way at a time, each until its
	// answer was read. Other copies of the process are not counted.
	Peak int `json:"peak_requests"`
}

// String is one line for a log, in a stable order: "ghcr.io: 3 GET blob, 2 GET
// manifest, at most 2 at a time; quay.io: …".
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

// Count is a number of blobs and their bytes.
type Count struct {
	Blobs int   `json:"blobs"`
	Bytes int64 `json:"bytes"`
}

// hosts identifies the source and the destination host of a job.
func (j Job) memoryKey() string { return j.Source.Host() + " " + j.Destination.Host() }
