package registrytest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
)

// Behaviour is how a scripted registry differs from a good one. The zero value
// is a registry as the OCI distribution specification wants it, which takes
// digests of every algorithm, manifests included, and has no referrers API. For
// whatever is not here, put a Proxy before it.
type Behaviour struct {
	// BlindMount answers every mount with an open session (202), also where the
	// blob is there.
	BlindMount bool
	// RefuseMount answers every mount with this status.
	RefuseMount int
	// ImmutableTags refuses to put a tag that exists, also with what it holds.
	ImmutableTags bool
	// NoDigestHeader leaves out Docker-Content-Digest.
	NoDigestHeader bool
	// RefuseHead answers HEAD with this status.
	RefuseHead int
	// Unchecked takes manifests whose blobs and children are missing.
	Unchecked bool
	// Referrers has the referrers API.
	Referrers bool
	// PageSize is the largest number of tags, or of referrers, in one answer;
	// 100 where 0.
	PageSize int
	// BlobsElsewhere redirects the GET of a blob to this URL with the digest
	// appended.
	BlobsElsewhere string
	// MinChunk is announced as OCI-Chunk-Min-Length, and shorter chunks that
	// are not the last are refused; none where 0.
	MinChunk int64
}

// Scripted starts a registry in this process that was written for tests and
// ends with t. It takes the options NoDelete, ReadOnly, BasicAuth, TokenAuth
// and TLS.
func Scripted(t testing.TB, b Behaviour, options ...Option) *Registry {
	t.Helper()
	_, r := startScripted(t, b, options)
	return r
}

func startScripted(t testing.TB, b Behaviour, options []Option) (*scripted, *Registry) {
	t.Helper()
	s := &scripted{behaviour: b, repos: map[string]*repository{}, uploads: map[string]*upload{}}
	for _, option := range options {
		option(&s.settings)
	}
	if s.root != "" || s.schema1 {
		t.Fatal("a scripted registry has no Root and needs no Schema1")
	}
	server := httptest.NewUnstartedServer(s)
	server.Config.ErrorLog = discard
	if s.tls {
		s.identity = newIdentity(t, s.names)
		server.TLS = s.identity.config(t)
		server.EnableHTTP2 = true
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	r := newRegistry(t, server.Listener.Addr().String(), s.settings)
	if s.identity == nil {
		r.handler = s
	}
	return s, r
}

// scripted is the registry behind Scripted.
type scripted struct {
	settings
	behaviour Behaviour

	mu      sync.Mutex
	repos   map[string]*repository
	uploads map[string]*upload
}

type repository struct {
	manifests map[digest.Digest]storedManifest
	tags      map[string]digest.Digest
	blobs     map[digest.Digest][]byte
}

// route is the path of a request: the base, or a repository, what of it, and
// which one.
var route = regexp.MustCompile(`^/v2/(?:([a-z0-9._/-]+)/(manifests|blobs|tags|referrers)/(.*))?$`)

func (s *scripted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.tokens != nil && strings.HasPrefix(r.URL.Path, "/token") {
		s.tokens.ServeHTTP(w, r)
		return
	}
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	parts := route.FindStringSubmatch(r.URL.Path)
	if parts == nil {
		http.NotFound(w, r)
		return
	}
	name, kind, which := parts[1], parts[2], parts[3]
	if !s.authorized(w, r, name) {
		return
	}
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case name == "":
		w.WriteHeader(http.StatusOK)
	case r.Method == http.MethodHead && s.behaviour.RefuseHead != 0:
		w.WriteHeader(s.behaviour.RefuseHead)
	case s.readOnly && !read, s.noDelete && r.Method == http.MethodDelete && !strings.HasPrefix(which, "uploads/"):
		fail(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "the operation is unsupported")
	case kind == "manifests":
		s.serveManifest(w, r, name, which)
	case kind == "tags" && which == "list" && read:
		s.serveTags(w, r, name)
	case kind == "referrers" && read:
		s.serveReferrers(w, r, name, digest.Digest(which))
	case kind == "blobs" && strings.HasPrefix(which, "uploads/"):
		s.serveUpload(w, r, name, strings.TrimPrefix(which, "uploads/"))
	case kind == "blobs":
		s.serveBlob(w, r, name, digest.Digest(which))
	default:
		http.NotFound(w, r)
	}
}

// authorized lets a request pass or challenges it.
func (s *scripted) authorized(w http.ResponseWriter, r *http.Request, name string) bool {
	switch {
	case s.tokens != nil:
		needed := accessFor(r, name)
		if s.tokens.allows(r, needed) {
			return true
		}
		w.Header().Set("WWW-Authenticate", s.tokens.challenge(needed))
	case s.user != "":
		if user, password, _ := r.BasicAuth(); user == s.user && password == s.password {
			return true
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="registrytest"`)
	default:
		return true
	}
	fail(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
	return false
}

// accessFor is what a token must grant for a request.
func accessFor(r *http.Request, name string) []access {
	if name == "" {
		return nil
	}
	needed := []access{{"repository", name, []string{"pull"}}}
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		needed[0].Actions = []string{"pull", "push"}
	case http.MethodDelete:
		needed[0].Actions = []string{"delete"}
	}
	if from := r.URL.Query().Get("from"); from != "" && from != name {
		needed = append(needed, access{"repository", from, []string{"pull"}})
	}
	return needed
}

// repo is the repository of a name; an empty one where there is none. s.mu is
// held.
func (s *scripted) repo(name string) *repository {
	if r := s.repos[name]; r != nil {
		return r
	}
	return &repository{
		manifests: map[digest.Digest]storedManifest{},
		tags:      map[string]digest.Digest{},
		blobs:     map[digest.Digest][]byte{},
	}
}

// repoToWrite is the repository of a name, made where there is none. s.mu is
// held.
func (s *scripted) repoToWrite(name string) *repository {
	s.repos[name] = s.repo(name)
	return s.repos[name]
}

// named sets the digest header of an answer.
func (s *scripted) named(w http.ResponseWriter, d digest.Digest) {
	if !s.behaviour.NoDigestHeader {
		w.Header().Set("Docker-Content-Digest", string(d))
	}
}

// fail answers with an error document (OCI distribution specification, "Error
// Codes").
func fail(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(ErrorBody(code, message))
}

// ErrorBody is a registry's error document with one error.
func ErrorBody(code, message string) []byte {
	type entry struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	body, err := json.Marshal(map[string][]entry{"errors": {{code, message}}})
	if err != nil {
		panic(fmt.Sprintf("registrytest: %v", err))
	}
	return body
}
