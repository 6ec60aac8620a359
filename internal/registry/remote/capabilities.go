package remote

import "sync"

// capabilities caches observed registry behavior so that unsupported requests are not
// repeated.
type capabilities struct {
	mu    sync.Mutex
	mount mountSupport
	// checked reports whether a 202 was verified with a HEAD request, and probed whether
	// the client has tried to find out if that is necessary.
	checked, probed bool
	// mountRefusals counts consecutive mounts that were not performed, by source and target
	// repository.
	mountRefusals map[[2]string]int
	// selfMountRefusals counts consecutive rejected mounts from a repository itself, for
	// all repositories together.
	selfMountRefusals int
	// noRanges reports whether the host failed to serve a range request.
	noRanges bool
	// rejectedPut and rejectedPatch are the smallest sizes of a blob that the host rejected
	// in one PUT and in one PATCH request, or 0.
	rejectedPut, rejectedPatch int64
	// chunk is the maximum length of a chunk, or 0 if no limit is known.
	chunk int64
	// noReferrersAPI is the set of repositories without a referrers API. One host may serve
	// repositories of several kinds.
	noReferrersAPI map[string]bool
}

// mountSupport is how a host responds to a request to mount a blob that it has.
type mountSupport int

const (
	// mountUnknown means that no response has shown it yet.
	mountUnknown mountSupport = iota
	// mountSupported means that the host has responded with 201, so that a 202 means that the
	// blob is missing.
	mountSupported
	// mountIgnored means that the host does not mount blobs, so that a 202 has no
	// significance.
	mountIgnored
)

// maxRefusals is the number of consecutive refusals after which the client stops asking.
const maxRefusals = 2

func (s *capabilities) mountState() mountSupport {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mount
}

// recordCheck records that the client verifies a 202 with a HEAD request.
func (s *capabilities) recordCheck() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checked = true
}

// shouldProbeMount reports, at most once, whether to probe for mount support. A probe is
// useful if a 202 was verified and no response has shown yet whether that is necessary.
func (s *capabilities) shouldProbeMount() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	probe := s.mount == mountUnknown && s.checked && !s.probed
	s.probed = s.probed || probe
	return probe
}

// recordMountIgnored records a 202 for a blob that exists. It has no effect after a
// successful mount: one odd response is not enough.
func (s *capabilities) recordMountIgnored() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mount == mountUnknown {
		s.mount = mountIgnored
	}
}

// canMount reports whether a mount from one repository into another is worth a request.
func (s *capabilities) canMount(from, to string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mountRefusals[[2]string{from, to}] < maxRefusals
}

// recordMounted records a successful mount.
func (s *capabilities) recordMounted(from, to string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mount, s.selfMountRefusals = mountSupported, 0
	delete(s.mountRefusals, [2]string{from, to})
}

// recordNotMounted records that a mount was not performed. refused reports whether the
// registry rejected the request. For a mount from the repository itself, a 202 is not a
// refusal: it means that the blob is missing.
func (s *capabilities) recordNotMounted(from, to string, refused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if from != to {
		if s.mountRefusals == nil {
			s.mountRefusals = map[[2]string]int{}
		}
		s.mountRefusals[[2]string{from, to}]++
		return
	}
	if !refused {
		s.selfMountRefusals = 0
		return
	}
	if s.selfMountRefusals++; s.selfMountRefusals >= maxRefusals && s.mount == mountUnknown {
		s.mount = mountIgnored
	}
}

// supportsRanges reports whether range requests are worth trying.
func (s *capabilities) supportsRanges() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.noRanges
}

// recordNoRanges records that the host failed to serve a range request.
func (s *capabilities) recordNoRanges() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noRanges = true
}

// modeFor returns the upload mode for a blob of the given size, and the length of its
// chunks.
func (s *capabilities) modeFor(size int64) (mode uploadMode, chunk int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.rejectedPut == 0 || size < s.rejectedPut:
		return monolithic, size
	case s.rejectedPatch == 0 || size < s.rejectedPatch:
		return streamed, size
	}
	return chunked, max(orDefault(s.chunk, largestChunk), smallestChunk)
}

// recordRejectedMode records that the host rejected a body of the given size, which is 1 if the
// size was not the reason. It only lowers limits, so that it keeps what other uploads have
// learned.
func (s *capabilities) recordRejectedMode(mode uploadMode, size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lower := func(limit *int64, to int64) {
		if *limit == 0 || to < *limit {
			*limit = to
		}
	}
	switch mode {
	case monolithic:
		lower(&s.rejectedPut, size)
	case streamed:
		if lower(&s.rejectedPatch, size); size > 1 {
			lower(&s.chunk, min(size/2, largestChunk))
		}
	case chunked:
		lower(&s.chunk, size/2)
	}
}

// lacksReferrersAPI reports whether a repository is known to have no referrers API.
func (s *capabilities) lacksReferrersAPI(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.noReferrersAPI[path]
}

// recordNoReferrersAPI records that a repository has no referrers API.
func (s *capabilities) recordNoReferrersAPI(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.noReferrersAPI == nil {
		s.noReferrersAPI = map[string]bool{}
	}
	s.noReferrersAPI[path] = true
}
