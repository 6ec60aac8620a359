package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
)

// report is the report of a copy on standard output. Failed copies have one too.
type report struct {
	// Source and Destination are in normal form ("docker.io/library/alpine:3").
	Source      string `json:"source"`
	Destination string `json:"destination"`
	// Digest and MediaType describe the manifest that was copied.
	Digest    digest.Digest `json:"digest,omitempty"`
	MediaType string        `json:"media_type,omitempty"`
	// Tagged has the tags of the destination that now refer to the digest.
	Tagged []string `json:"tagged"`
	// Manifests is the number of pushed manifests.
	Manifests int `json:"manifests"`
	// Referrers is the number of referrers at the destination, whether copied or already
	// present. ReferrersDigest is a digest over the referrers and their subjects.
	Referrers       int           `json:"referrers,omitempty"`
	ReferrersDigest digest.Digest `json:"referrers_digest,omitempty"`
	// Copied, Mounted and Present count blobs and their bytes: uploaded, mounted from another
	// repository of the registry, and already present.
	Copied  copier.Count `json:"copied"`
	Mounted copier.Count `json:"mounted"`
	Present copier.Count `json:"already_there"`
	// Requests is the number of requests to both sides. Retries is the number of those that
	// were sent only because of failures. Sending a blob again needs a new upload session and
	// thus several requests.
	Requests int `json:"requests"`
	Retries  int `json:"retries"`
	// Hosts has the requests by host[:port], with the number of each kind, such as "GET blob",
	// and the maximum number of concurrent requests.
	Hosts copier.Hosts `json:"hosts"`
	// LongestWait is the longest time, to the millisecond, that a request or blob was delayed
	// by the client. WaitedFor is the reason: the setting that limits requests, "retry" for the
	// pause after a failure, which a registry may request, or another copy of the same blob.
	// Server latency is not included.
	LongestWait float64             `json:"longest_wait_seconds"`
	WaitedFor   registry.WaitReason `json:"longest_wait_for,omitempty"`
	// Seconds is the duration of the copy, to the millisecond.
	Seconds float64 `json:"seconds"`
	// Warnings has the warnings that the registries sent.
	Warnings []string `json:"warnings,omitempty"`
	// Error is the error of a failed copy, and Hint is advice about it. Both are empty if the
	// copy succeeded.
	Error string `json:"error,omitempty"`
	Hint  string `json:"hint,omitempty"`
}

func newReport(r result) report {
	out := report{
		Source: r.pair.source.String(), Destination: r.pair.destination.String(),
		Digest: r.report.Digest, MediaType: r.report.MediaType,
		Tagged:    append([]string{}, r.report.Tagged...), // encoded as [] instead of null
		Manifests: r.report.Manifests, Referrers: len(r.report.Referrers), ReferrersDigest: r.report.ReferrersDigest,
		Copied: r.report.Copied, Mounted: r.report.Mounted, Present: r.report.Present,
		Requests: r.report.Requests, Retries: r.report.Retries, Hosts: r.report.Hosts,
		LongestWait: seconds(r.report.LongestWait), WaitedFor: r.report.WaitedFor,
		Seconds:  seconds(r.report.Duration),
		Warnings: r.report.Warnings,
	}
	if r.err != nil {
		out.Error, out.Hint = r.err.Error(), r.hint
	}
	return out
}

// seconds returns d in seconds, rounded to the millisecond.
func seconds(d time.Duration) float64 { return math.Round(d.Seconds()*1000) / 1000 }

// writeReports writes the reports of a list, or the report of a single copy.
func writeReports(w io.Writer, results []result, list bool) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if !list {
		return encoder.Encode(newReport(results[0]))
	}
	reports := []report{}
	for _, r := range results {
		reports = append(reports, newReport(r))
	}
	return encoder.Encode(reports)
}

// reportErrors prints warnings, errors and advice, and returns the exit status.
func reportErrors(ctx context.Context, w io.Writer, results []result) int {
	complete, failures := 0, 0
	for _, r := range results {
		for _, warning := range r.report.Warnings {
			fmt.Fprintln(w, "imagecopy: warning:", warning)
		}
		switch {
		case r.err == nil:
			complete++
		case ctx.Err() != nil && errors.Is(r.err, context.Canceled):
			// A single line below covers all interrupted copies.
		default:
			failures++
			printError(w, r, len(results) > 1)
		}
	}
	if ctx.Err() != nil && complete < len(results) {
		fmt.Fprintf(w, "imagecopy: interrupted; %d of %d copies are complete. Run it again to make the rest: blobs that arrived are not sent twice.\n",
			complete, len(results))
		return interrupted
	}
	if failures > 0 {
		return failed
	}
	return succeeded
}

// printError prints the error of a failed copy, and names the copy if withPair is set.
func printError(w io.Writer, r result, withPair bool) {
	if withPair {
		fmt.Fprintf(w, "imagecopy: %s: %v\n", r.pair, r.err)
	} else {
		fmt.Fprintf(w, "imagecopy: %v\n", r.err)
	}
	if r.hint != "" {
		fmt.Fprintln(w, "  "+r.hint)
	}
}
