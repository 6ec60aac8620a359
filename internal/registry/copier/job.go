package copier

import (
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
	// Tags are the tags of the destination that are to hold it, written in this
	// order and last of all. None means that the manifest is put by its digest.
	Tags []string
	// MayReplace is asked before a tag that holds another digest is written,
	// before any byte moves and again just before the write; its error ends the
	// copy and is returned as it is. nil means that every tag may be replaced.
	// The registry API has no conditional write, so that a change in the last
	// instant is not seen.
	MayReplace func(tag string, held digest.Digest) error
	// Foreign copies layers that name other places to be had from too.
	Foreign bool
}

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
	// Requests and Retries count HTTP requests, over both sides.
	Requests int `json:"requests"`
	Retries  int `json:"retries"`
	// Warnings are what registries want people to know, each once.
	Warnings []string `json:"warnings,omitempty"`
	// Duration is the time from the first request to the last answer.
	Duration time.Duration `json:"duration_ns"`
}

// Count is a number of blobs and their bytes.
type Count struct {
	Blobs int   `json:"blobs"`
	Bytes int64 `json:"bytes"`
}
