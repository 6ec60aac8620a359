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

// Behaviour configures how a scripted registry deviates from a conforming one. The zero value
// conforms to the OCI distribution specification, accepts digests of every algorithm, including
// those of manifests, and has no referrers API. Use a Proxy for other deviations.
type Behaviour struct {
	// BlindMount responds to every mount by starting an upload session (202), even if the blob
	// exists.
	BlindMount bool
	// RefuseMount, if not 0, is the status of the response to every mount.
	RefuseMount int
	// ImmutableTags rejects a push to an existing tag, even of the same manifest.
	ImmutableTags bool
	// NoDigestHeader omits the Docker-Content-Digest header.
	NoDigestHeader bool
	// RefuseHead, if not 0, is the status of the response to every HEAD request.
	RefuseHead int
	// Unchecked accepts manifests whose blobs or children are missing.
	Unchecked bool
	// Referrers enables the referrers API.
	Referrers bool
	// PageSize is the maximum number of tags or referrers in a response. It defaults to 100.
	PageSize int
	// BlobsElsewhere, if not empty, redirects GET requests for blobs to this URL followed by
	// the digest.
	BlobsElsewhere string
	// MinChunk, if not 0, is sent as OCI-Chunk-Min-Length. Shorter chunks are rejected, except
	// for the last.
	MinChunk int64
}

// Scripted starts a registry in this process, written for tests, and stops it when t ends. It
// supports the options NoDelete, ReadOnly, BasicAuth, TokenAuth and TLS.
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

// scripted implements the registry of Scripted.
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

// route matches the path of a request: the base, or a repository with the kind of resource and
// its name.
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

// authorized reports whether a request is authorized. If it is not, authorized responds with a
// challenge.
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

// accessFor returns the access that a token must grant for a request.
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

// repo returns the repository with the given name, or an empty one if it does not exist. The
// caller must hold s.mu.
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

// repoToWrite returns the repository with the given name, and creates it if it does not exist.
// The caller must hold s.mu.
func (s *scripted) repoToWrite(name string) *repository {
	s.repos[name] = s.repo(name)
	return s.repos[name]
}

// setDigestHeader sets the digest header of a response.
func (s *scripted) setDigestHeader(w http.ResponseWriter, d digest.Digest) {
	if !s.behaviour.NoDigestHeader {
		w.Header().Set("Docker-Content-Digest", string(d))
	}
}

// fail responds with an error document (OCI distribution specification, "Error Codes").
func fail(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(ErrorBody(code, message))
}

// ErrorBody returns a registry's error document with one error.
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
