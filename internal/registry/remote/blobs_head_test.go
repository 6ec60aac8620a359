package remote_test

import (
	"net/http"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

func TestStatBlob(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{})
	p.PushBlob(t, "app", registrytest.Blob{Content: []byte("content")})
	repo := newClient(t).pull(t, p.Ref("app", "1"))
	d, err := repo.StatBlob(t.Context(), descriptor("content").Digest)
	if err != nil || d.Size != 7 || d.Digest != descriptor("content").Digest {
		t.Errorf("StatBlob() = %+v, %v; want a size of 7", d, err)
	}
	_, err = repo.StatBlob(t.Context(), descriptor("other").Digest)
	assertErrorKind(t, err, registry.ErrNotFound)
	if p.Count("HEAD", ".*") != 2 || len(p.Requests()) != 2 {
		t.Errorf("requests = %+v", p.Requests())
	}
	p.On("HEAD", ".*").Reply(http.StatusMethodNotAllowed, nil, "")
	if d, err := repo.StatBlob(t.Context(), descriptor("content").Digest); err != nil || d.Size != 7 {
		t.Errorf("StatBlob() without HEAD = %+v, %v; want a size of 7", d, err)
	}
	// A 403 does not tell whether the blob exists.
	p.Clear()
	p.On("HEAD", ".*").Reply(http.StatusForbidden, nil, "")
	_, err = repo.StatBlob(t.Context(), descriptor("content").Digest)
	assertErrorKind(t, err, registry.ErrDenied)
	p.Clear()
	p.On("HEAD", ".*").Alter(func(r *http.Response) { r.Header.Del("Content-Length"); r.ContentLength = -1 })
	_, err = repo.StatBlob(t.Context(), descriptor("content").Digest)
	assertErrorKind(t, err, registry.ErrProtocol)
}
