package copier

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// stats counts what one copy does.
type stats struct {
	mu     sync.Mutex
	report Report
	pushed map[digest.Digest]bool
	hosts  map[string]*asked
}

func (t *stats) change(f func(*Report)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f(&t.report)
}

// trace makes a tally count the requests of a context.
func (t *stats) trace() registry.Trace {
	return registry.Trace{
		Request: func(q registry.Request) {
			t.change(func(r *Report) {
				r.Requests++
				if q.Retry {
					r.Retries++
				}
				t.asked(q.Host).begins(q.Kind())
			})
		},
		Over: func(q registry.Request) { t.change(func(*Report) { t.asked(q.Host).now-- }) },
		Wait: func(w registry.Wait) {
			t.change(func(r *Report) {
				if w.Took > r.LongestWait {
					r.LongestWait, r.WaitedFor = w.Took, w.For
				}
			})
		},
		Warning: func(text string) {
			t.change(func(r *Report) {
				if !slices.Contains(r.Warnings, text) {
					r.Warnings = append(r.Warnings, text)
				}
			})
		},
	}
}

// root says what the root is; mediaType is "" where that is not known yet.
func (t *stats) root(d digest.Digest, mediaType string) {
	t.change(func(r *Report) {
		r.Digest = d
		if mediaType != "" {
			r.MediaType = mediaType
		}
	})
}

func (t *stats) tagged(tag string) { t.change(func(r *Report) { r.Tagged = append(r.Tagged, tag) }) }

// written records that this copy wrote a tag.
func (t *stats) written(tag string) {
	t.change(func(r *Report) {
		if !slices.Contains(r.Written, tag) {
			r.Written = append(r.Written, tag)
		}
	})
}

// manifest counts a manifest that was pushed, once under however many names.
func (t *stats) manifest(d digest.Digest) {
	t.change(func(r *Report) {
		if t.pushed == nil {
			t.pushed = map[digest.Digest]bool{}
		}
		t.pushed[d] = true
		r.Manifests = len(t.pushed)
	})
}

// referrers says what refers to the image and to what came with it.
func (t *stats) referrers(found []Referrer) {
	t.change(func(r *Report) {
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

// took counts n blobs of a size, that came by an outcome; -1 takes one back.
func (t *stats) took(o registry.Outcome, size int64, n int) {
	t.change(func(r *Report) {
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

// foundAny says whether a blob was at the destination already.
func (t *stats) foundAny() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.report.Present.Blobs > 0
}

func (t *stats) done(took time.Duration) Report {
	t.mu.Lock()
	defer t.mu.Unlock()
	report := t.report
	report.Duration, report.Hosts = took, Hosts{}
	for name, a := range t.hosts {
		report.Hosts[name] = Host{Requests: maps.Clone(a.kinds), Peak: a.peak}
	}
	return report
}

// asked is what one host is asked.
type asked struct {
	kinds     map[string]int
	now, peak int // requests under way
}

func (a *asked) begins(kind string) {
	a.kinds[kind]++
	a.now++
	a.peak = max(a.peak, a.now)
}

// asked is what a host is asked. Called with mu held.
func (t *stats) asked(host string) *asked {
	if t.hosts == nil {
		t.hosts = map[string]*asked{}
	}
	if t.hosts[host] == nil {
		t.hosts[host] = &asked{kinds: map[string]int{}}
	}
	return t.hosts[host]
}
