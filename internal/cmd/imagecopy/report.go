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

// report is what standard output gets of one copy, also of one that failed half
// way.
type report struct {
	// Source and Destination are in normal form ("docker.io/library/alpine:3").
	Source      string `json:"source"`
	Destination string `json:"destination"`
	// Digest and MediaType are those of what was copied.
	Digest    digest.Digest `json:"digest,omitempty"`
	MediaType string        `json:"media_type,omitempty"`
	// Tagged are the destination's tags that hold the digest by now.
	Tagged []string `json:"tagged"`
	// Manifests is how many were pushed.
	Manifests int `json:"manifests"`
	// Referrers is how many manifests came along because they refer to what was
	// copied, or were there, and ReferrersDigest a digest over what refers to what.
	Referrers       int           `json:"referrers,omitempty"`
	ReferrersDigest digest.Digest `json:"referrers_digest,omitempty"`
	// Copied, Mounted and Present count blobs and their bytes: those that were
	// sent, that the registry took from another repository of its own, and that
	// were there.
	Copied  copier.Count `json:"copied"`
	Mounted copier.Count `json:"mounted"`
	Present copier.Count `json:"already_there"`
	// Requests is how many were sent, over both sides, and Retries how many of
	// them there would not have been without a failure: a blob that is sent again
	// takes an upload of its own, and so several.
	Requests int `json:"requests"`
	Retries  int `json:"retries"`
	// Hosts says the same by host[:port]: how many of each kind, such as "GET
	// blob", and the most that were under way at a time.
	Hosts copier.Hosts `json:"hosts"`
	// LongestWait is the longest time, to the millisecond, for which one request
	// or blob was held back before it was sent, and WaitedFor why: the setting that
	// says so, "retry" for the pause after a failure, which a registry may ask for,
	// or another copy that brought the same blob. That an answer took long does not
	// count.
	LongestWait float64             `json:"longest_wait_seconds"`
	WaitedFor   registry.WaitReason `json:"longest_wait_for,omitempty"`
	// Seconds is how long the copy took, to the millisecond.
	Seconds float64 `json:"seconds"`
	// Warnings are what the registries want people to know.
	Warnings []string `json:"warnings,omitempty"`
	// Error is why the copy failed, and Hint what to do about it; there are none
	// where it succeeded.
	Error string `json:"error,omitempty"`
	Hint  string `json:"hint,omitempty"`
}

func newReport(r result) report {
	said := report{
		Source: r.pair.source.String(), Destination: r.pair.destination.String(),
		Digest: r.report.Digest, MediaType: r.report.MediaType,
		Tagged:    append([]string{}, r.report.Tagged...), // [] and not null
		Manifests: r.report.Manifests, Referrers: len(r.report.Referrers), ReferrersDigest: r.report.ReferrersDigest,
		Copied: r.report.Copied, Mounted: r.report.Mounted, Present: r.report.Present,
		Requests: r.report.Requests, Retries: r.report.Retries, Hosts: r.report.Hosts,
		LongestWait: seconds(r.report.LongestWait), WaitedFor: r.report.WaitedFor,
		Seconds:  seconds(r.report.Duration),
		Warnings: r.report.Warnings,
	}
	if r.err != nil {
		said.Error, said.Hint = r.err.Error(), r.hint
	}
	return said
}

// seconds is a time in seconds, to the millisecond.
func seconds(d time.Duration) float64 { return math.Round(d.Seconds()*1000) / 1000 }

// writeReports writes the reports of a list, or of the one copy that there was.
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

// complain tells what went wrong and what to do, and returns the exit status.
func complain(ctx context.Context, w io.Writer, results []result) int {
	complete, broken := 0, 0
	for _, r := range results {
		for _, warning := range r.report.Warnings {
			fmt.Fprintln(w, "imagecopy: warning:", warning)
		}
		switch {
		case r.err == nil:
			complete++
		case ctx.Err() != nil && errors.Is(r.err, context.Canceled):
			// One line says this for all of them.
		default:
			broken++
			explain(w, r, len(results) > 1)
		}
	}
	if ctx.Err() != nil && complete < len(results) {
		fmt.Fprintf(w, "imagecopy: interrupted; %d of %d copies are complete. Run it again to make the rest: blobs that arrived are not sent twice.\n",
			complete, len(results))
		return interrupted
	}
	if broken > 0 {
		return failed
	}
	return succeeded
}

// explain tells of one copy that failed, and which one where it is one of many.
func explain(w io.Writer, r result, named bool) {
	if named {
		fmt.Fprintf(w, "imagecopy: %s: %v\n", r.pair, r.err)
	} else {
		fmt.Fprintf(w, "imagecopy: %v\n", r.err)
	}
	if r.hint != "" {
		fmt.Fprintln(w, "  "+r.hint)
	}
}
