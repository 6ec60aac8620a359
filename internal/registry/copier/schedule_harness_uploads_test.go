package copier_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
)

// simUpload is an open upload session. Received bytes are compared with the content of the blob and
// not stored. The client names the blob when it starts the session or when it sends all of it.
type simUpload struct {
	repository string
	blob       *simObject   // nil until the client names it
	received   atomic.Int64 // keeps its value if a request is interrupted
}

func (h *simHost) handleUpload(c *simConn, r *http.Request, repository, id string) bool {
	if r.Method == http.MethodPost {
		return h.startUpload(c, r, repository)
	}
	h.mu.Lock()
	upload := h.uploads[id]
	if upload != nil && upload.blob == nil {
		upload.blob = simObjects.get(digest.Digest(r.URL.Query().Get("digest")))
	}
	h.mu.Unlock()
	if upload == nil || upload.repository != repository {
		return h.replyError(c, r, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
	}
	switch r.Method {
	case http.MethodGet:
		return h.reply(c, http.StatusNoContent, upload.progress(id), nil)
	case http.MethodPatch:
		return h.receiveBytes(c, r, upload) && h.reply(c, http.StatusAccepted, upload.progress(id), nil)
	case http.MethodPut:
		return h.receiveBytes(c, r, upload) && h.commit(c, r, id, upload)
	case http.MethodDelete:
		h.mu.Lock()
		delete(h.uploads, id)
		h.mu.Unlock()
		return h.reply(c, http.StatusNoContent, "", nil)
	default:
		return h.replyError(c, r, http.StatusMethodNotAllowed, "UNSUPPORTED")
	}
}

// progress returns the headers that report the progress of an upload.
func (u *simUpload) progress(id string) string {
	return fmt.Sprintf("Location: /v2/%s/blobs/uploads/%s\r\nRange: 0-%d\r\n", u.repository, id, max(0, u.received.Load()-1))
}

// startUpload mounts a blob, or starts an upload session if the blob does not exist.
func (h *simHost) startUpload(c *simConn, r *http.Request, repository string) bool {
	query := r.URL.Query()
	d := query.Get("mount")
	h.mu.Lock()
	exists := h.content[query.Get("from")+"@"+d]
	if exists {
		h.content[repository+"@"+d] = true
	}
	h.started++
	id, upload := strconv.Itoa(h.started), &simUpload{repository: repository, blob: simObjects.get(digest.Digest(d))}
	if !exists {
		h.uploads[id] = upload
	}
	h.mu.Unlock()
	if exists {
		return h.reply(c, http.StatusCreated, fmt.Sprintf("Location: /v2/%s/blobs/%s\r\nDocker-Content-Digest: %s\r\n", repository, d, d), nil)
	}
	return h.reply(c, http.StatusAccepted, upload.progress(id), nil)
}

// receiveBytes receives the body of a request at the rate of the host, and reports whether it was
// complete.
func (h *simHost) receiveBytes(c *simConn, r *http.Request, upload *simUpload) bool {
	if upload.blob == nil {
		h.report("%s/%s received content before the digest of its upload", h.spec.name, upload.repository)
		return false
	}
	at := int64(0)
	if part := r.Header.Get("Content-Range"); part != "" {
		if at = upload.received.Load(); !strings.HasPrefix(part, fmt.Sprintf("%d-", at)) {
			h.report("%s/%s has %d bytes of an upload and received the range %q", h.spec.name, upload.repository, at, part)
			return false
		}
	}
	buffer := make([]byte, segment)
	for size, taken := int(r.ContentLength), 0; taken < size; {
		n := h.step(c, &h.up, taken, size-taken)
		if n == 0 {
			return false
		}
		read, err := io.ReadFull(r.Body, buffer[:n])
		if !bytes.HasPrefix(upload.blob.content[at:], buffer[:read]) {
			h.report("%s/%s received wrong bytes for %s", h.spec.name, upload.repository, upload.blob.digest)
			return false
		}
		at += int64(read)
		upload.received.Store(at)
		if taken += read; err != nil {
			return false
		}
	}
	return true
}

// commit completes an upload. All of its content must have been received.
func (h *simHost) commit(c *simConn, r *http.Request, id string, upload *simUpload) bool {
	d := r.URL.Query().Get("digest")
	if d != upload.blob.digest.String() || upload.received.Load() != int64(len(upload.blob.content)) {
		h.report("%s/%s has %d bytes of %s and received a request to commit %s", h.spec.name, upload.repository, upload.received.Load(), upload.blob.digest, d)
		return h.replyError(c, r, http.StatusBadRequest, "DIGEST_INVALID")
	}
	h.mu.Lock()
	h.content[upload.repository+"@"+d] = true
	delete(h.uploads, id)
	h.mu.Unlock()
	return h.reply(c, http.StatusCreated, "Docker-Content-Digest: "+d+"\r\n", nil)
}
