package provider_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// tagAt is a tag in a registry, independent of the spelling of its host.
type tagAt struct {
	host      int
	repo, tag string
}

func (t tagAt) String() string { return fmt.Sprintf("host%d/%s:%s", t.host, t.repo, t.tag) }

// tagDigests maps tags to their digests.
type tagDigests map[tagAt]digest.Digest

// fixture is a set of registries in which other clients push tags between the runs of
// Terraform. It counts and records the requests of the provider, makes some of them fail, and
// ends a run at one of them.
type fixture struct {
	t     testing.TB
	hosts []*registrytest.Proxy
	names map[digest.Digest]string // short names of contents, for the log

	mu           sync.Mutex
	requests     int
	writes       []tagWrite
	fault        fault
	faultHits    int // requests that matched the fault
	terminateAt  int // the request at which the run ends; 0 for none
	planned      termination
	terminatedBy termination
	stop         func()
	dead         map[string]bool // killed processes, by name
}

// tagWrite is a tag that the provider created or moved.
type tagWrite struct {
	at     tagAt
	digest digest.Digest
}

// sourceRepo is the repository of the sources. destinationRepos are the repositories of the
// destinations, which also have tags of other clients.
const sourceRepo = "src/app"

var (
	sourceTags       = []string{"1", "2", "latest"}
	destinationRepos = []string{"prod/app", "prod/lib"}
	destinationTags  = []string{"v1", "v2", "latest", "stable"}
	// unmanagedTags are tags at the destinations that no resource declares.
	unmanagedTags = []string{"p1", "p2"}
)

// contents returns the contents to push: images, indexes with shared children, and such
// children. There are only a few, so that different tags often point to the same digest.
var contents = sync.OnceValue(func() []registrytest.Manifest {
	small := func(seed, platform string) registrytest.Manifest {
		return registrytest.Image{Seed: seed, Platform: platform, Layers: []registrytest.Blob{registrytest.Layer(seed, 50)}}.Build()
	}
	amd64, arm64, other := small("amd64", "linux/amd64"), small("arm64", "linux/arm64/v8"), small("other", "linux/arm64/v8")
	both := registrytest.Index{Manifests: []registrytest.Content{amd64, arm64}}
	return []registrytest.Manifest{
		small("plain", "linux/amd64"), amd64, both.Build(),
		registrytest.Index{Manifests: []registrytest.Content{amd64, other}}.Build(),
		registrytest.Index{Manifests: []registrytest.Content{both, amd64}}.Build(),
	}
})

var contentNames = []string{"plain", "amd64", "both", "mixed", "nested"}

// newFixture starts registries and fills the source repository.
func newFixture(t testing.TB, random *rand.Rand) *fixture {
	t.Helper()
	w := &fixture{t: t, dead: map[string]bool{}, names: map[digest.Digest]string{}}
	for i, content := range contents() {
		w.names[content.Digest] = contentNames[i]
	}
	for host := range 2 {
		proxy := registrytest.Front(t, registrytest.Behaviour{})
		proxy.On(".*", ".*").Do(func(answer http.ResponseWriter, r *http.Request, next http.Handler) { w.serve(host, answer, r, next) })
		w.hosts = append(w.hosts, proxy)
		for _, tag := range sourceTags {
			w.push(tagAt{host, sourceRepo, tag}, random.IntN(len(contents())))
		}
		for _, repo := range destinationRepos {
			w.push(tagAt{host, repo, pick(random, unmanagedTags)}, random.IntN(len(contents())))
		}
	}
	return w
}

// push pushes one of the contents as another client.
func (w *fixture) push(at tagAt, content int) {
	w.hosts[at.host].Push(w.t, at.repo, at.tag, contents()[content])
}

// remove removes a tag as another client.
func (w *fixture) remove(at tagAt) { w.hosts[at.host].DeleteTag(w.t, at.repo, at.tag) }

// reference returns a reference to a tag, with one of several spellings of its host. The first
// two and the last two can be identified as one host.
func (w *fixture) reference(at tagAt, spelling int) string {
	_, port, _ := strings.Cut(w.hosts[at.host].Addr, ":")
	host := []string{"127.0.0.1:" + port, "127.0.0.1:0" + port, "localhost:" + port, "LOCALHOST:" + port}[spelling]
	return host + "/" + at.repo + ":" + at.tag
}

const spellings = 4

// family returns the same number for spellings that can be identified as one host.
func family(spelling int) int { return spelling / 2 }

// referenceFamily returns the family of a reference.
func referenceFamily(reference string) int {
	if strings.HasPrefix(strings.ToLower(reference), "localhost") {
		return 1
	}
	return 0
}

// parseTag parses a reference.
func (w *fixture) parseTag(reference string) tagAt {
	host, rest, _ := strings.Cut(reference, "/")
	repo, tag, _ := strings.Cut(rest, ":")
	_, port, _ := strings.Cut(host, ":")
	at := slices.IndexFunc(w.hosts, func(p *registrytest.Proxy) bool {
		return strings.HasSuffix(p.Addr, ":"+strings.TrimLeft(port, "0"))
	})
	return tagAt{at, repo, tag}
}

// snapshot returns the digests of all tags.
func (w *fixture) snapshot() tagDigests {
	w.t.Helper()
	all := tagDigests{}
	for host, proxy := range w.hosts {
		for _, repo := range append([]string{sourceRepo}, destinationRepos...) {
			for _, tag := range proxy.Tags(w.t, repo) {
				all[tagAt{host, repo, tag}] = w.hosts[host].Digest(w.t, repo, tag)
			}
		}
	}
	return all
}

// incomplete returns the digest of content that a manifest references and its repository does
// not have. It returns "" if the image is complete.
func (w *fixture) incomplete(host int, repo string, root digest.Digest) digest.Digest {
	accept := http.Header{"Accept": {"*/*"}}
	answer := w.hosts[host].Get(w.t, repo, "/v2/"+repo+"/manifests/"+string(root), accept)
	if answer.Status != http.StatusOK {
		return root
	}
	var names struct {
		Config    *ocispec.Descriptor  `json:"config"`
		Layers    []ocispec.Descriptor `json:"layers"`
		Manifests []ocispec.Descriptor `json:"manifests"`
	}
	if err := json.Unmarshal(answer.Body, &names); err != nil {
		w.t.Fatal(err)
	}
	if names.Config != nil {
		names.Layers = append(names.Layers, *names.Config)
	}
	for _, blob := range names.Layers {
		if !w.hosts[host].HasBlob(w.t, repo, blob.Digest) {
			return blob.Digest
		}
	}
	for _, child := range names.Manifests {
		if missing := w.incomplete(host, repo, child.Digest); missing != "" {
			return missing
		}
	}
	return ""
}

// fault makes some of the provider's requests to one host fail.
type fault struct {
	name  string
	host  int
	wants func(r *http.Request) bool
	after int // requests that succeed first
	times int // requests that fail
	fail  func(answer http.ResponseWriter, r *http.Request, next http.Handler)
}

func refuse(status int, code string) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(answer http.ResponseWriter, _ *http.Request, _ http.Handler) {
		answer.Header().Set("Content-Type", "application/json")
		answer.WriteHeader(status)
		_, _ = answer.Write(registrytest.ErrorBody(code, "refused by the test"))
	}
}

// dropResponse performs the request and closes the connection without a response.
func dropResponse(_ http.ResponseWriter, r *http.Request, next http.Handler) {
	next.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

func isManifest(method string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method == method && strings.Contains(r.URL.Path, "/manifests/") }
}

const responsesLost = "responses lost"

// randomFault returns a typical registry failure.
func randomFault(random *rand.Rand) fault {
	isAny := func(*http.Request) bool { return true }
	isWrite := func(r *http.Request) bool { return r.Method != http.MethodGet && r.Method != http.MethodHead }
	faults := []fault{
		{name: "503 for a while", wants: isAny, after: random.IntN(30), times: 1 + random.IntN(6), fail: refuse(http.StatusServiceUnavailable, "UNAVAILABLE")},
		{name: responsesLost, wants: isWrite, after: random.IntN(12), times: 1 + random.IntN(4), fail: dropResponse},
		{name: "no push", wants: isManifest(http.MethodPut), after: random.IntN(3), times: 1000, fail: refuse(http.StatusForbidden, "DENIED")},
		{name: "no write", wants: isWrite, after: random.IntN(5), times: 1000, fail: refuse(http.StatusForbidden, "DENIED")},
		{name: "no delete", wants: isManifest(http.MethodDelete), after: random.IntN(2), times: 1000, fail: refuse(http.StatusMethodNotAllowed, "UNSUPPORTED")},
	}
	f := faults[random.IntN(len(faults))]
	f.host = random.IntN(2)
	return f
}

// startRun prepares for a run. The fault affects its requests. If planned is not "", the run
// ends that way at a request.
func (w *fixture) startRun(f fault, how termination, at int, stop func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.requests, w.writes, w.fault, w.faultHits, w.terminateAt, w.planned, w.terminatedBy, w.stop = 0, nil, f, 0, at, how, "", stop
}

// termination returns how the run was ended, or "" if it was not.
func (w *fixture) termination() termination {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.terminatedBy
}

// isDead reports whether a process was killed.
func (w *fixture) isDead(process string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dead[process]
}

// serve handles a request of the provider.
func (w *fixture) serve(host int, answer http.ResponseWriter, r *http.Request, next http.Handler) {
	_, process, _ := strings.Cut(r.UserAgent(), "/")
	w.mu.Lock()
	if w.dead[process] {
		w.mu.Unlock()
		panic(http.ErrAbortHandler)
	}
	w.requests++
	ends := w.planned != "" && w.terminatedBy == "" && w.requests >= w.terminateAt
	if ends {
		w.terminatedBy = w.planned
		w.dead[process] = w.planned != interrupted
	}
	fails := w.fault.fail != nil && w.fault.host == host && w.fault.wants(r)
	if fails {
		w.faultHits++
		fails = w.faultHits > w.fault.after && w.faultHits <= w.fault.after+w.fault.times
	}
	stop, lost := w.stop, ends && w.terminateAt%2 == 0
	w.mu.Unlock()
	if ends {
		stop()
	}
	if lost {
		panic(http.ErrAbortHandler)
	}
	if isManifest(http.MethodPut)(r) {
		next = w.recordWrites(host, next)
	}
	if fails {
		w.fault.fail(answer, r, next)
		return
	}
	next.ServeHTTP(answer, r)
}

// recordWrites records a write of a tag that changes its digest.
func (w *fixture) recordWrites(host int, next http.Handler) http.Handler {
	return http.HandlerFunc(func(answer http.ResponseWriter, r *http.Request) {
		repo, tag, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/manifests/")
		if strings.Contains(tag, ":") {
			next.ServeHTTP(answer, r)
			return
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		before := currentDigest(next, r)
		next.ServeHTTP(answer, r)
		if after := currentDigest(next, r); after != before {
			w.writes = append(w.writes, tagWrite{tagAt{host, repo, tag}, after})
		}
	})
}

// currentDigest returns the digest of the tag in a request, or "" if the tag does not exist.
func currentDigest(registry http.Handler, about *http.Request) digest.Digest {
	r := httptest.NewRequestWithContext(about.Context(), http.MethodHead, about.URL.Path, http.NoBody)
	r.Header.Set("Accept", "*/*")
	answer := httptest.NewRecorder()
	registry.ServeHTTP(answer, r)
	return digest.Digest(answer.Header().Get("Docker-Content-Digest"))
}
