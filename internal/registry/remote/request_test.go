package remote_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

// Decompressed, each of these responses would be valid.
func TestRequest_CompressedResponse(t *testing.T) {
	const content = `{"tags":["1"]}`
	for name, do := range map[string]func(registry.Repository) error{
		"manifest_by_tag": func(r registry.Repository) error { _, err := r.GetManifest(t.Context(), "1"); return err },
		"manifest_by_digest": func(r registry.Repository) error {
			_, err := r.GetManifest(t.Context(), string(descriptor(content).Digest))
			return err
		},
		"blob":     func(r registry.Repository) error { _, err := readAll(t, r, descriptor(content)); return err },
		"tag_list": func(r registry.Repository) error { _, err := r.ListTags(t.Context()); return err },
	} {
		for _, encoding := range []string{"gzip", "GZIP", "x-gzip", "br"} {
			t.Run(name+"_"+encoding, func(t *testing.T) {
				server := servePlain(t, func(w http.ResponseWriter, r *http.Request) {
					if got := r.Header.Values("Accept-Encoding"); len(got) != 1 || got[0] != "identity" {
						t.Errorf("Accept-Encoding = %q, want identity", got)
					}
					w.Header().Set("Content-Encoding", encoding)
					w.Header().Set("Content-Type", registry.MediaTypeDockerManifest)
					_, _ = w.Write(gzipped(t, content))
				})
				err := do(newClient(t).pull(t, address(server)+"/app"))
				assertContains(t, assertErrorKind(t, err, registry.ErrProtocol).Error(), address(server)+"/app", "packed with Content-Encoding "+encoding)
			})
		}
	}
}

func TestRequest_AcceptHeader(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{NoDigestHeader: true})
	p.Push(t, "app", "1", registrytest.DockerList("a"))
	repo := newClient(t).push(t, p.Ref("app", "1"))
	if _, err := repo.Resolve(t.Context(), "1"); err != nil { // a HEAD and, without a digest, a GET
		t.Fatal(err)
	}
	if len(p.Requests()) != 2 {
		t.Fatalf("requests = %+v", p.Requests())
	}
	for _, r := range p.Requests() {
		accept := r.Header.Values("Accept")
		if len(accept) != 1 || accept[0] != strings.Join(registry.ManifestMediaTypes(), ", ") || strings.Contains(accept[0], "*") {
			t.Errorf("Accept of %s = %q, want all manifest media types", r.Method, accept)
		}
		if agent := r.Header.Get("User-Agent"); agent != "terraform-provider-registry" {
			t.Errorf("User-Agent of %s = %q, want terraform-provider-registry", r.Method, agent)
		}
	}
}

func TestRequest_UserAgent(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{}, registrytest.TokenAuth(registrytest.NewTokenServer(t)))
	c := newClient(t, func(o *remote.Options) { o.UserAgent = "caller/1.0" })
	_, _ = c.push(t, p.Ref("app", "1")).PutBlob(t.Context(), descriptor(small), newBody(t, small).get())
	for _, r := range p.Requests() {
		if got := r.Header.Get("User-Agent"); got != "caller/1.0" {
			t.Errorf("User-Agent of %s = %q, want caller/1.0", r.Method, got)
		}
	}
}

func TestRequest_EndlessResponse(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		op     func(registry.Repository) error
		limit  int64
		want   error
	}{
		"manifest":               {200, func(r registry.Repository) error { _, err := r.GetManifest(t.Context(), "1"); return err }, 4 << 20, registry.ErrLimit},
		"tag_list":               {200, func(r registry.Repository) error { _, err := r.ListTags(t.Context()); return err }, 4 << 20, registry.ErrLimit},
		"error":                  {404, func(r registry.Repository) error { _, err := r.GetManifest(t.Context(), "1"); return err }, 64 << 10, registry.ErrProtocol},
		"ignored_body":           {201, func(r registry.Repository) error { return r.PutManifest(t.Context(), "1", registry.Manifest{}) }, 4 << 10, nil},
		"error_without_document": {405, func(r registry.Repository) error { return r.DeleteTag(t.Context(), "1") }, 64 << 10, registry.ErrUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			written := make(chan int64, 1)
			server := servePlain(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", registry.MediaTypeDockerManifest)
				w.WriteHeader(test.status)
				n, _ := io.Copy(w, endless{})
				written <- n
			})
			err := test.op(newClient(t).push(t, address(server)+"/app"))
			if test.want != nil {
				assertErrorKind(t, err, test.want)
			} else if err != nil {
				t.Error(err)
			}
			// The client does not read what the network buffers in transit.
			const buffers = 12 << 20
			if n := <-written; n > test.limit+buffers {
				t.Errorf("bytes sent by the server = %d, want at most the limit and the network buffers", n)
			}
		})
	}
}

// endless is an endless stream of spaces.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}
