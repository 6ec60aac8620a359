package remote

import "sync"

// capabilities is what a host was capabilities to do, remembered so that nothing is asked of it
// twice in vain.
type capabilities struct {
	mu    sync.Mutex
	mount mountSupport
	// doubted says that a 202 was checked by a request of its own, and asked that
	// it was found out whether that is necessary.
	checked, probed bool
	// refused counts, by the repositories a blob was to be mounted from and
	// into, how often that was refused in a row.
	mountRefusals map[[2]string]int
	// selfRefused counts the same for mounting from the repository itself, for
	// all of them together.
	selfMountRefusals int
	// noParts says that it gave a whole blob where a part was asked for.
	noRanges bool
	// noPut and noPatch are the sizes from which on it refused a whole blob in
	// one PUT and in one PATCH, 0 where it did not.
	rejectedPut, rejectedPatch int64
	// chunk is how long a chunk of a blob may be, 0 where it refused none.
	chunk int64
	// unlisted are the repositories without a referrers API. One host may have
	// several kinds.
	noReferrersAPI map[string]bool
}

// mountSupport is how a host answers a request to mount what it has.
type mountSupport int

const (
	// mountUnknown: no answer so far told.
	mountUnknown mountSupport = iota
	// mountTruthful: it said 201 once, so that 202 means that the blob is not
	// there.
	mountSupported
	// mountBlind: it does not mount; its 202 says nothing.
	mountIgnored
)

// maxRefusals is how many refusals in a row it takes until something is no longer
// asked for.
const maxRefusals = 2

func (s *capabilities) mountState() mountSupport {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mount
}

// doubt records that a 202 is checked by a request of its own.
func (s *capabilities) recordCheck() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checked = true
}

// worthAsking says, once, that it is worth a request to find out whether 202s
// need to be checked: some were, and no answer has told so far.
func (s *capabilities) shouldProbeMount() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	probe := s.mount == mountUnknown && s.checked && !s.probed
	s.probed = s.probed || probe
	return probe
}

// blind records that a 202 came for a blob that is there. What was proved stays
// proved: one odd answer does not make a truthful host a blind one.
func (s *capabilities) recordMountIgnored() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mount == mountUnknown {
		s.mount = mountIgnored
	}
}

// mountable says whether mounting from one repository into another is still
// worth asking for.
func (s *capabilities) canMount(from, to string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mountRefusals[[2]string{from, to}] < maxRefusals
}

// mounted records that a mount was done.
func (s *capabilities) recordMounted(from, to string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mount, s.selfMountRefusals = mountSupported, 0
	delete(s.mountRefusals, [2]string{from, to})
}

// notMounted records that a mount was not done. From the repository itself a
// 202 is no refusal, but the answer.
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

// parts says whether asking for parts of a blob is worth it.
func (s *capabilities) supportsRanges() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.noRanges
}

// wholeOnly records that there was a whole blob where a part was asked for.
func (s *capabilities) recordNoRanges() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noRanges = true
}

// uploadMode is how a blob of a size is sent, and how long its chunks are.
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

// refusedWay records that a body of a size was refused, which is 1 where it was
// not for its size. What other uploads learned meanwhile stays.
func (s *capabilities) refusedWay(mode uploadMode, size int64) {
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

// lacksReferrers says whether a repository has shown that it has no referrers
// API.
func (s *capabilities) lacksReferrersAPI(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.noReferrersAPI[path]
}

// noReferrers records that a repository has no referrers API.
func (s *capabilities) recordNoReferrersAPI(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.noReferrersAPI == nil {
		s.noReferrersAPI = map[string]bool{}
	}
	s.noReferrersAPI[path] = true
}
