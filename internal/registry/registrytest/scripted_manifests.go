package registrytest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

type storedManifest struct {
	mediaType string
	content   []byte
	names     struct {
		manifestRefs
		Subject      *ocispec.Descriptor `json:"subject"`
		ArtifactType string              `json:"artifactType"`
		Annotations  map[string]string   `json:"annotations"`
	}
}

func (s *scripted) serveManifest(w http.ResponseWriter, r *http.Request, name, reference string) {
	content, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	repo := s.repo(name)
	d, byDigest := digest.Digest(reference), strings.Contains(reference, ":")
	switch {
	case byDigest && d.Validate() != nil:
		fail(w, http.StatusBadRequest, "DIGEST_INVALID", "provided digest did not match uploaded content")
		return
	case !byDigest:
		d = repo.tags[reference]
	}
	switch r.Method {
	case http.MethodPut:
		s.putManifest(w, r, name, reference, content)
	case http.MethodGet, http.MethodHead:
		s.getManifest(w, r, repo, d)
	case http.MethodDelete:
		if _, exists := repo.manifests[d]; !exists {
			fail(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "manifest unknown")
			return
		}
		if byDigest {
			delete(repo.manifests, d)
			maps.DeleteFunc(repo.tags, func(_ string, target digest.Digest) bool { return target == d })
		} else {
			delete(repo.tags, reference)
		}
		w.WriteHeader(http.StatusAccepted)
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

// getManifest responds with a manifest as it was pushed. Like distribution v3, it responds with
// 404 if the client does not accept the media type.
func (s *scripted) getManifest(w http.ResponseWriter, r *http.Request, repo *repository, d digest.Digest) {
	m, exists := repo.manifests[d]
	if !exists {
		fail(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "manifest unknown")
		return
	}
	accept := strings.Join(r.Header.Values("Accept"), ",")
	if !strings.Contains(accept, m.mediaType) && !strings.Contains(accept, "*/*") {
		fail(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "the Accept header does not list "+m.mediaType)
		return
	}
	w.Header().Set("Content-Type", m.mediaType)
	w.Header().Set("Content-Length", strconv.Itoa(len(m.content)))
	s.setDigestHeader(w, d)
	_, _ = w.Write(m.content)
}

func (s *scripted) putManifest(w http.ResponseWriter, r *http.Request, name, reference string, content []byte) {
	repo := s.repo(name)
	m := storedManifest{mediaType: r.Header.Get("Content-Type"), content: content}
	if err := json.Unmarshal(content, &m.names); err != nil || m.mediaType == "" {
		fail(w, http.StatusBadRequest, "MANIFEST_INVALID", "manifest invalid")
		return
	}
	payloadBytes := content
	if m.mediaType == schema1Signed {
		payloadBytes = payload(content)
	}
	d := digest.FromBytes(payloadBytes)
	if want := digest.Digest(reference); strings.Contains(reference, ":") {
		if d = want.Algorithm().FromBytes(payloadBytes); d != want {
			fail(w, http.StatusBadRequest, "DIGEST_INVALID", "provided digest did not match uploaded content")
			return
		}
	} else if _, exists := repo.tags[reference]; exists && s.behaviour.ImmutableTags {
		fail(w, http.StatusConflict, "TAG_INVALID", "the tag "+reference+" exists and is immutable")
		return
	}
	if missing := repo.missing(m); missing != "" && !s.behaviour.Unchecked {
		fail(w, http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry: "+string(missing))
		return
	}
	repo = s.repoToWrite(name)
	repo.manifests[d] = m
	if !strings.Contains(reference, ":") {
		repo.tags[reference] = d
	}
	if m.names.Subject != nil && s.behaviour.Referrers {
		w.Header().Set("OCI-Subject", string(m.names.Subject.Digest))
	}
	w.Header().Set("Location", fmt.Sprintf("/v2/%s/manifests/%s", name, d))
	s.setDigestHeader(w, d)
	w.WriteHeader(http.StatusCreated)
}

// missing returns the digest of content that m refers to and the repository lacks, or "" if the
// repository has all of it. Layers with URLs may be missing.
func (r *repository) missing(m storedManifest) digest.Digest {
	blobs := slices.Concat(m.names.Layers, m.names.Blobs)
	if m.names.Config != nil {
		blobs = append(blobs, *m.names.Config)
	}
	for _, layer := range m.names.FSLayers {
		blobs = append(blobs, ocispec.Descriptor{Digest: layer.BlobSum})
	}
	for _, b := range blobs {
		if _, exists := r.blobs[b.Digest]; !exists && len(b.URLs) == 0 {
			return b.Digest
		}
	}
	for _, child := range m.names.Manifests {
		if _, exists := r.manifests[child.Digest]; !exists {
			return child.Digest
		}
	}
	return ""
}

func (s *scripted) serveTags(w http.ResponseWriter, r *http.Request, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo, exists := s.repos[name]
	if !exists {
		fail(w, http.StatusNotFound, "NAME_UNKNOWN", "repository name not known to registry")
		return
	}
	tags := page(s, w, r, slices.Sorted(maps.Keys(repo.tags)))
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"name": name, "tags": tags})
}

// page returns the page of a sorted list that a request asks for. It sets a Link header if
// there are more pages.
func page[T ~string](s *scripted, w http.ResponseWriter, r *http.Request, all []T) []T {
	query := r.URL.Query()
	if last := T(query.Get("last")); last != "" {
		all = slices.DeleteFunc(all, func(name T) bool { return name <= last })
	}
	size := cmp.Or(s.behaviour.PageSize, 100)
	if n, err := strconv.Atoi(query.Get("n")); err == nil && n < size {
		size = n
	}
	if len(all) > size {
		all = all[:size]
		query.Set("last", string(all[size-1]))
		query.Set("n", strconv.Itoa(size))
		w.Header().Set("Link", fmt.Sprintf(`<%s?%s>; rel="next"`, r.URL.Path, query.Encode()))
	}
	return all
}

func (s *scripted) serveReferrers(w http.ResponseWriter, r *http.Request, name string, subject digest.Digest) {
	if !s.behaviour.Referrers {
		http.NotFound(w, r)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	repo := s.repo(name)
	artifactType := r.URL.Query().Get("artifactType")
	listed := slices.DeleteFunc(slices.Sorted(maps.Keys(repo.manifests)), func(d digest.Digest) bool {
		m := repo.manifests[d]
		return m.names.Subject == nil || m.names.Subject.Digest != subject || (artifactType != "" && artifactType != m.artifactType())
	})
	index := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{}}
	index.SchemaVersion = 2
	for _, d := range page(s, w, r, listed) {
		m := repo.manifests[d]
		index.Manifests = append(index.Manifests, ocispec.Descriptor{
			MediaType: m.mediaType, Digest: d, Size: int64(len(m.content)),
			ArtifactType: m.artifactType(), Annotations: m.names.Annotations,
		})
	}
	if artifactType != "" {
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
	_ = json.NewEncoder(w).Encode(index)
}

// artifactType returns the artifact type of m in a list of referrers.
func (m storedManifest) artifactType() string {
	if m.names.ArtifactType == "" && m.names.Config != nil {
		return m.names.Config.MediaType
	}
	return m.names.ArtifactType
}
