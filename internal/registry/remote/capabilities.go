package remote

import "sync"

// capabilities is what a host was capabilities to do, remembered so that nothing is asked of it
// twice in vain.
type capabilities struct {
	mu    sync.Mutex
	mount mountSupport
	// doubted says that a 202 was checked by a request of its own, and asked that
	// it was found out whether that is necessary.
	doubted, asked bool
	// refused counts, by the repositories a blob was to be mounted from and
	// into, how often that was refused in a row.
	refused map[[2]string]int
	// selfRefused counts the same for mounting from the repository itself, for
	// all of them together.
	selfRefused int
	// noParts says that it gave a whole blob where a part was asked for.
	noParts bool
	// noPut and noPatch are the sizes from which on it refused a whole blob in
	// one PUT and in one PATCH, 0 where it did not.
	noPut, noPatch int64
	// chunk is how long a chunk of a blob may be, 0 where it refused none.
	chunk int64
	// unlisted are the repositories without a referrers API. One host may have
	// several kinds.
	unlisted map[string]bool
}

// mountSupport is how a host answers a request to mount what it has.
type mountSupport int

const (
	// mountUnknown: no answer so far told.
	mountUnknown mountSupport = iota
	// mountTruthful: it said 201 once, so that 202 means that the blob is not
	// there.
	mountTruthful
	// mountBlind: it does not mount; its 202 says nothing.
	mountBlind
)

// maxRefusals is how many refusals in a row it takes until something is no longer
// asked for.
const maxRefusals = 2

func (s *capabilities) habit() mountSupport {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mount
}

// doubt records that a 202 is checked by a request of its own.
func (s *capabilities) doubt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doubted = true
}

// worthAsking says, once, that it is worth a request to find out whether 202s
// need to be checked: some were, and no answer has told so far.
func (s *capabilities) worthAsking() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	worth := s.mount == mountUnknown && s.doubted && !s.asked
	s.asked = s.asked || worth
	return worth
}

// blind records that a 202 came for a blob that is there. What was proved stays
// proved: one odd answer does not make a truthful host a blind one.
func (s *capabilities) blind() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mount == mountUnknown {
		s.mount = mountBlind
	}
}

// mountable says whether mounting from one repository into another is still
// worth asking for.
func (s *capabilities) mountable(from, to string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused[[2]string{from, to}] < maxRefusals
}

// mounted records that a mount was done.
func (s *capabilities) mounted(from, to string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mount, s.selfRefused = mountTruthful, 0
	delete(s.refused, [2]string{from, to})
}

// notMounted records that a mount was not done. From the repository itself a
// 202 is no refusal, but the answer.
func (s *capabilities) notMounted(from, to string, refused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if from != to {
		if s.refused == nil {
			s.refused = map[[2]string]int{}
		}
		s.refused[[2]string{from, to}]++
		return
	}
	if !refused {
		s.selfRefused = 0
		return
	}
	if s.selfRefused++; s.selfRefused >= maxRefusals && s.mount == mountUnknown {
		s.mount = mountBlind
	}
}

// parts says whether asking for parts of a blob is worth it.
func (s *capabilities) parts() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.noParts
}

// wholeOnly records that there was a whole blob where a part was asked for.
func (s *capabilities) wholeOnly() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noParts = true
}

// uploadMode is how a blob of a size is sent, and how long its chunks are.
func (s *capabilities) way(size int64) (way uploadMode, chunk int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.noPut == 0 || size < s.noPut:
		return monolithic, size
	case s.noPatch == 0 || size < s.noPatch:
		return streamed, size
	}
	return chunked, max(orDefault(s.chunk, largestChunk), smallestChunk)
}

// refusedWay records that a body of a size was refused, which is 1 where it was
// not for its size. What other uploads learned meanwhile stays.
func (s *capabilities) refusedWay(w uploadMode, size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lower := func(limit *int64, to int64) {
		if *limit == 0 || to < *limit {
			*limit = to
		}
	}
	switch w {
	case monolithic:
		lower(&s.noPut, size)
	case streamed:
		if lower(&s.noPatch, size); size > 1 {
			lower(&s.chunk, min(size/2, largestChunk))
		}
	case chunked:
		lower(&s.chunk, size/2)
	}
}

// lacksReferrers says whether a repository has shown that it has no referrers
// API.
func (s *capabilities) lacksReferrers(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unlisted[path]
}

// noReferrers records that a repository has no referrers API.
func (s *capabilities) noReferrers(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unlisted == nil {
		s.unlisted = map[string]bool{}
	}
	s.unlisted[path] = true
}
