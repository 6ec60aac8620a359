package copier

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// stats collects the report of one copy.
type stats struct {
	mu        sync.Mutex
	report    Report
	pushed    map[digest.Digest]bool
	hostStats map[string]*hostStats
}

// update calls f with the report while mu is held.
func (s *stats) update(f func(*Report)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.report)
}

// trace returns a Trace that adds requests, waits and warnings to the report.
func (s *stats) trace() registry.Trace {
	return registry.Trace{
		Request: func(q registry.Request) {
			s.update(func(r *Report) {
				r.Requests++
				if q.Retry {
					r.Retries++
				}
				s.host(q.Host).start(q.Kind())
			})
		},
		Over: func(q registry.Request) { s.update(func(*Report) { s.host(q.Host).inFlight-- }) },
		Wait: func(w registry.Wait) {
			s.update(func(r *Report) {
				if w.Took > r.LongestWait {
					r.LongestWait, r.WaitedFor = w.Took, w.For
				}
			})
		},
		Warning: func(text string) {
			s.update(func(r *Report) {
				if !slices.Contains(r.Warnings, text) {
					r.Warnings = append(r.Warnings, text)
				}
			})
		},
	}
}

// setRoot records the digest and media type of the root. mediaType is "" if it is unknown.
func (s *stats) setRoot(d digest.Digest, mediaType string) {
	s.update(func(r *Report) {
		r.Digest = d
		if mediaType != "" {
			r.MediaType = mediaType
		}
	})
}

// addTag records that a tag has the digest of the copy.
func (s *stats) addTag(tag string) { s.update(func(r *Report) { r.Tagged = append(r.Tagged, tag) }) }

// written records that this copy wrote a tag.
func (s *stats) addWritten(tag string) {
	s.update(func(r *Report) {
		if !slices.Contains(r.Written, tag) {
			r.Written = append(r.Written, tag)
		}
	})
}

// addManifest counts a pushed manifest, once even if it was pushed under several names.
func (s *stats) addManifest(d digest.Digest) {
	s.update(func(r *Report) {
		if s.pushed == nil {
			s.pushed = map[digest.Digest]bool{}
		}
		s.pushed[d] = true
		r.Manifests = len(s.pushed)
	})
}

// setReferrers records the referrers of the image and of its content.
func (s *stats) setReferrers(found []Referrer) {
	s.update(func(r *Report) {
		r.Found, r.ReferrerTags = found, map[string]digest.Digest{}
		for _, f := range found {
			r.Referrers = append(r.Referrers, f.Manifest.Digest)
			if f.Tag != "" {
				r.ReferrerTags[f.Tag] = f.Manifest.Digest
			}
		}
		slices.Sort(r.Referrers)
		r.Referrers, r.ReferrersDigest = slices.Compact(r.Referrers), digestOf(found)
	})
}

// addBlobs adds n blobs of a size to the count of an outcome. A negative n subtracts them.
func (s *stats) addBlobs(o registry.Outcome, size int64, n int) {
	s.update(func(r *Report) {
		count := &r.Present
		switch o {
		case registry.Copied:
			count = &r.Copied
		case registry.Mounted:
			count = &r.Mounted
		}
		count.Blobs += n
		count.Bytes += int64(n) * size
	})
}

// anyPresent reports whether the destination already had one of the blobs.
func (s *stats) anyPresent() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.report.Present.Blobs > 0
}

// finish returns the report of a copy that took this time.
func (s *stats) finish(took time.Duration) Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	report := s.report
	report.Duration, report.Hosts = took, Hosts{}
	for name, h := range s.hostStats {
		report.Hosts[name] = Host{Requests: maps.Clone(h.kinds), Peak: h.peak}
	}
	return report
}

// hostStats counts the requests to one host.
type hostStats struct {
	kinds          map[string]int
	inFlight, peak int // concurrent requests
}

// start counts a request of a kind as in flight.
func (h *hostStats) start(kind string) {
	h.kinds[kind]++
	h.inFlight++
	h.peak = max(h.peak, h.inFlight)
}

// host returns the statistics of a host, which it creates if needed. The caller must hold mu.
func (s *stats) host(host string) *hostStats {
	if s.hostStats == nil {
		s.hostStats = map[string]*hostStats{}
	}
	if s.hostStats[host] == nil {
		s.hostStats[host] = &hostStats{kinds: map[string]int{}}
	}
	return s.hostStats[host]
}
