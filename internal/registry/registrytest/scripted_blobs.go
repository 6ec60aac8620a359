package registrytest

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

func (s *scripted) serveBlob(w http.ResponseWriter, r *http.Request, name string, d digest.Digest) {
	s.mu.Lock()
	repo := s.repo(name)
	content, exists := repo.blobs[d]
	if exists && r.Method == http.MethodDelete {
		delete(repo.blobs, d)
	}
	s.mu.Unlock()
	switch {
	case d.Validate() != nil:
		fail(w, http.StatusBadRequest, "DIGEST_INVALID", "invalid digest")
	case !exists:
		fail(w, http.StatusNotFound, "BLOB_UNKNOWN", "blob unknown to registry")
	case r.Method == http.MethodDelete:
		w.WriteHeader(http.StatusAccepted)
	case r.Method == http.MethodGet && s.behaviour.BlobsElsewhere != "":
		http.Redirect(w, r, s.behaviour.BlobsElsewhere+string(d), http.StatusTemporaryRedirect)
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		w.Header().Set("Content-Type", "application/octet-stream")
		s.setDigestHeader(w, d)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content)) // also supports range requests
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

// upload is an open upload session.
type upload struct {
	repo string
	mu   sync.Mutex
	body bytes.Buffer
}

func (s *scripted) serveUpload(w http.ResponseWriter, r *http.Request, name, id string) {
	if id == "" {
		s.startUpload(w, r, name)
		return
	}
	s.mu.Lock()
	u := s.uploads[id]
	s.mu.Unlock()
	if u == nil || u.repo != name {
		fail(w, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	switch r.Method {
	case http.MethodGet:
		s.writeUploadStatus(w, id, u, http.StatusNoContent)
	case http.MethodPatch:
		if s.receive(w, r, id, u) {
			s.writeUploadStatus(w, id, u, http.StatusAccepted)
		}
	case http.MethodPut:
		if s.receive(w, r, id, u) {
			s.endUpload(id)
			s.commit(w, name, digest.Digest(r.URL.Query().Get("digest")), u.body.Bytes())
		}
	case http.MethodDelete:
		s.endUpload(id)
		w.WriteHeader(http.StatusNoContent)
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

// startUpload handles a POST request: a mount, a monolithic upload, or the start of an upload
// session.
func (s *scripted) startUpload(w http.ResponseWriter, r *http.Request, name string) {
	if r.Method != http.MethodPost {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	query := r.URL.Query()
	if mount := digest.Digest(query.Get("mount")); mount != "" && s.mount(w, name, query.Get("from"), mount) {
		return
	}
	if d := digest.Digest(query.Get("digest")); d != "" {
		content, err := io.ReadAll(r.Body)
		if err == nil {
			s.commit(w, name, d, content)
		}
		return
	}
	id, u := rand.Text(), &upload{repo: name}
	s.mu.Lock()
	s.uploads[id] = u
	s.mu.Unlock()
	s.writeUploadStatus(w, id, u, http.StatusAccepted)
}

// mount responds to a mount and reports whether it did. If it did not, the caller starts an
// upload session.
func (s *scripted) mount(w http.ResponseWriter, name, from string, d digest.Digest) bool {
	if s.behaviour.RefuseMount != 0 {
		fail(w, s.behaviour.RefuseMount, "DENIED", "no mounting here")
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	content, exists := s.repo(from).blobs[d]
	if !exists || s.behaviour.BlindMount {
		return false
	}
	s.repoToWrite(name).blobs[d] = content
	s.created(w, name, d)
	return true
}

// receive appends the body of a request to an upload session and reports whether the body was
// complete. It keeps the received part of an incomplete body.
func (s *scripted) receive(w http.ResponseWriter, r *http.Request, id string, u *upload) bool {
	if at := r.Header.Get("Content-Range"); at != "" {
		var from, to int64
		if _, err := fmt.Sscanf(at, "%d-%d", &from, &to); err != nil || from != int64(u.body.Len()) {
			s.writeUploadStatus(w, id, u, http.StatusRequestedRangeNotSatisfiable)
			return false
		}
		if short := s.behaviour.MinChunk; r.Method == http.MethodPatch && to-from+1 < short {
			fail(w, http.StatusBadRequest, "SIZE_INVALID", fmt.Sprintf("chunks are at least %d bytes", short))
			return false
		}
	}
	_, err := io.Copy(&u.body, r.Body)
	return err == nil
}

func (s *scripted) endUpload(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.uploads, id)
}

// commit stores content as a blob if it matches the digest.
func (s *scripted) commit(w http.ResponseWriter, name string, d digest.Digest, content []byte) {
	if d.Validate() != nil || d.Algorithm().FromBytes(content) != d {
		fail(w, http.StatusBadRequest, "DIGEST_INVALID", "provided digest did not match uploaded content")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.repoToWrite(name).blobs[d] = content
	s.created(w, name, d)
}

func (s *scripted) created(w http.ResponseWriter, name string, d digest.Digest) {
	w.Header().Set("Location", fmt.Sprintf("/v2/%s/blobs/%s", name, d))
	s.setDigestHeader(w, d)
	w.WriteHeader(http.StatusCreated)
}

// writeUploadStatus responds with the location and the progress of an upload session.
func (s *scripted) writeUploadStatus(w http.ResponseWriter, id string, u *upload, status int) {
	w.Header().Set("Location", fmt.Sprintf("/v2/%s/blobs/uploads/%s?state=%%2Fopaque", u.repo, id))
	w.Header().Set("Docker-Upload-UUID", id)
	w.Header().Set("Range", fmt.Sprintf("0-%d", max(0, u.body.Len()-1)))
	if s.behaviour.MinChunk > 0 {
		w.Header().Set("OCI-Chunk-Min-Length", strconv.FormatInt(s.behaviour.MinChunk, 10))
	}
	w.WriteHeader(status)
}
