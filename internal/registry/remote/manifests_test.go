package remote_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

func TestGetManifest_Digest(t *testing.T) {
	m := registrytest.Image{Seed: "a"}.Build()
	other := registrytest.Image{Seed: "b"}.Build()
	handler := func(body []byte, digestHeader string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", m.MediaType+"; charset=utf-8")
			w.Header().Set("Docker-Content-Digest", digestHeader)
			_, _ = w.Write(body)
		}
	}
	for name, test := range map[string]struct {
		handler   http.HandlerFunc
		reference string
		want      digest.Digest
		warned    bool
		kind      error
	}{
		"tag":                     {handler(m.Bytes, string(m.Digest)), "1", m.Digest, false, nil},
		"tag_without_header":      {handler(m.Bytes, ""), "1", m.Digest, false, nil},
		"tag_with_wrong_header":   {handler(m.Bytes, string(other.Digest)), "1", m.Digest, true, nil},
		"tag_with_sha512_header":  {handler(m.Bytes, string(digest.SHA512.FromBytes(m.Bytes))), "1", m.Digest, false, nil},
		"digest":                  {handler(m.Bytes, string(m.Digest)), string(m.Digest), m.Digest, false, nil},
		"sha512_digest":           {handler(m.Bytes, string(m.Digest)), string(digest.SHA512.FromBytes(m.Bytes)), digest.SHA512.FromBytes(m.Bytes), false, nil},
		"wrong_content":           {handler(other.Bytes, string(m.Digest)), string(m.Digest), "", false, registry.ErrMismatch},
		"wrong_content_of_sha512": {handler(other.Bytes, ""), string(digest.SHA512.FromBytes(m.Bytes)), "", false, registry.ErrMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t)
			got, err := c.pull(t, address(servePlain(t, test.handler))+"/app").GetManifest(c.context(t), test.reference)
			if test.kind != nil {
				assertContains(t, assertErrorKind(t, err, test.kind).Error(), "its bytes have the digest", test.reference)
				return
			}
			if err != nil || got.Digest != test.want || !bytes.Equal(got.Content, m.Bytes) || got.MediaType != m.MediaType {
				t.Errorf("GetManifest() = %s, %s, %v; want %s, %s", got.Digest, got.MediaType, err, test.want, m.MediaType)
			}
			if warnings := c.Warnings(); len(warnings) > 0 != test.warned {
				t.Errorf("warnings = %q, want some: %t", warnings, test.warned)
			}
		})
	}
}

func TestResolve_HeadThenGet(t *testing.T) {
	m := registrytest.Image{Seed: "a"}.Build()
	with := func(change func(*http.Response)) func(*registrytest.Rule) {
		return func(r *registrytest.Rule) { r.Alter(change) }
	}
	for name, test := range map[string]struct {
		head      func(*registrytest.Rule)
		reference string
		methods   string
	}{
		"tag":                     {nil, "1", "HEAD"},
		"digest":                  {nil, string(m.Digest), "HEAD"},
		"no_digest_header":        {with(func(r *http.Response) { r.Header.Del("Docker-Content-Digest") }), "1", "HEAD GET"},
		"malformed_digest_header": {with(func(r *http.Response) { r.Header.Set("Docker-Content-Digest", "md5:x") }), "1", "HEAD GET"},
		"wrong_digest_header": {with(func(r *http.Response) {
			r.Header.Set("Docker-Content-Digest", string(descriptor("x").Digest))
		}), string(m.Digest), "HEAD GET"},
		"digest_header_of_other_algorithm": {with(func(r *http.Response) {
			r.Header.Set("Docker-Content-Digest", "sha512:"+strings.Repeat("0", 128))
		}), string(m.Digest), "HEAD"},
		"head_403": {func(r *registrytest.Rule) { r.Reply(403, nil, "") }, "1", "HEAD GET"},
		"head_405": {func(r *registrytest.Rule) { r.Reply(405, nil, "") }, "1", "HEAD GET"},
		"head_400": {func(r *registrytest.Rule) { r.Reply(400, nil, "") }, "1", "HEAD GET"},
	} {
		t.Run(name, func(t *testing.T) {
			p := scripted(t, registrytest.Behaviour{})
			p.Push(t, "app", "1", m)
			if test.head != nil {
				test.head(p.On("HEAD", ".*"))
			}
			d, err := newClient(t).pull(t, p.Ref("app", "1")).Resolve(t.Context(), test.reference)
			if err != nil || d.Digest != m.Digest || d.Size != int64(len(m.Bytes)) || d.MediaType != m.MediaType {
				t.Errorf("Resolve() = %+v, %v; want %s", d, err, m.Digest)
			}
			if got := strings.ReplaceAll(sentRequests(p), ",", ""); got != test.methods {
				t.Errorf("requests = %s, want %s", got, test.methods)
			}
		})
	}
}

// ErrNotFound removes a resource from the state. A HEAD that returns anything but 404
// therefore leaves doubt, unless the registry does not support HEAD at all.
func TestResolve_NotFoundConfirmedByGet(t *testing.T) {
	for status, want := range map[int]error{
		200: registry.ErrProtocol, 204: registry.ErrProtocol, 400: registry.ErrDenied, 401: registry.ErrUnauthorized, 403: registry.ErrDenied,
		404: registry.ErrNotFound, 405: registry.ErrNotFound, 406: registry.ErrDenied, 410: registry.ErrDenied, 501: registry.ErrNotFound, 503: registry.ErrUnavailable,
	} {
		p := scripted(t, registrytest.Behaviour{})
		p.On("HEAD", ".*").Reply(status, nil, "")
		_, err := newClient(t).pull(t, p.Ref("app", "1")).Resolve(t.Context(), "1")
		if !errors.Is(err, want) || errors.Is(err, registry.ErrNotFound) != errors.Is(want, registry.ErrNotFound) {
			t.Errorf("Resolve() after HEAD %d and GET 404 = %v, want %v", status, err, want)
		}
	}
}

func TestGetManifest_SizeLimit(t *testing.T) {
	const limit = 1000
	serve := func(size int, declared bool) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", registry.MediaTypeDockerManifest)
			if !declared {
				_ = http.NewResponseController(w).Flush()
			}
			_, _ = io.WriteString(w, strings.Repeat(" ", size))
		}
	}
	small := func(o *remote.Options) { o.MaxManifestBytes = limit }
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		options func(*remote.Options)
		want    string
	}{
		"at_limit":              {serve(limit, true), small, ""},
		"over_limit":            {serve(limit+1, true), small, "1000 bytes"},
		"over_limit_undeclared": {serve(limit+1, false), small, "1000 bytes"},
		"at_default_limit":      {serve(4<<20, false), func(*remote.Options) {}, ""},
		"over_default_limit":    {serve(4<<20+1, false), func(*remote.Options) {}, "4 MiB"},
		"false_content_length":  {func(w http.ResponseWriter, r *http.Request) { declareHugeLength(t, w) }, small, "1000 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newClient(t, test.options).pull(t, address(servePlain(t, test.handler))+"/app").GetManifest(t.Context(), "1")
			if test.want != "" {
				assertContains(t, assertErrorKind(t, err, registry.ErrLimit).Error(), "larger than the "+test.want)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// Large manifests take much memory, so the client reads only one of them at a time.
func TestGetManifest_OneLargeAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		c := newClient(t, servePipes(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", registry.MediaTypeDockerManifest)
			_, _ = io.WriteString(w, "{}")
			if path.Base(r.URL.Path) != "small" { // of unknown length, and larger than most manifests
				_, _ = io.WriteString(w, strings.Repeat(" ", 300<<10))
			}
			_ = http.NewResponseController(w).Flush()
			if path.Base(r.URL.Path) == "first" {
				<-gate
			}
		}).options)
		repo := c.pull(t, pipeHost+"/app")
		read := func(ctx context.Context, tag string) <-chan error {
			ended := make(chan error, 1)
			go func() {
				_, err := repo.GetManifest(ctx, tag)
				ended <- err
			}()
			synctest.Wait()
			return ended
		}
		leaving, leave := context.WithCancel(t.Context())
		first, second, third := read(t.Context(), "first"), read(t.Context(), "second"), read(leaving, "third")
		if err := <-read(t.Context(), "small"); err != nil {
			t.Errorf("GetManifest() of a small manifest = %v", err)
		}
		if len(first)+len(second)+len(third) != 0 {
			t.Error("a large manifest was read while another one was being read")
		}
		leave()
		if err := <-third; !errors.Is(err, context.Canceled) {
			t.Errorf("GetManifest() of a canceled request = %v, want context.Canceled", err)
		}
		close(gate)
		if err := errors.Join(<-first, <-second); err != nil {
			t.Error(err)
		}
	})
}

// declareHugeLength sends a response with the largest possible Content-Length and no
// content.
func declareHugeLength(t *testing.T, w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: "+registry.MediaTypeDockerManifest+"\r\nContent-Length: 9223372036854775807\r\n\r\n")
	_ = conn.Close()
}

func TestGetManifest_ContentType(t *testing.T) {
	for contentType, body := range map[string]string{
		"text/html":                "<html>login</html>",
		"text/plain; charset=utf8": "hello",
		"":                         "{}",
		"nonsense/":                "{}",
	} {
		server := servePlain(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = []string{contentType}
			_, _ = io.WriteString(w, body)
		})
		repo := newClient(t).pull(t, address(server)+"/app")
		for _, do := range []func() error{
			func() error { _, err := repo.GetManifest(t.Context(), "1"); return err },
			func() error { _, err := repo.Resolve(t.Context(), "1"); return err },
		} {
			assertContains(t, assertErrorKind(t, do(), registry.ErrProtocol).Error(), address(server), `"`+contentType+`"`)
		}
	}
}

func TestPutManifest_RoundTrip(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{Unchecked: true})
	m := registrytest.MultiArch("a").Build()
	manifest := registry.Manifest{MediaType: m.MediaType, Digest: m.Digest, Content: m.Bytes}
	repo := newClient(t).push(t, p.Ref("app", "1"))
	for _, reference := range []string{"1", string(m.Digest)} {
		if err := repo.PutManifest(t.Context(), reference, manifest); err != nil {
			t.Fatal(err)
		}
		got, err := repo.GetManifest(t.Context(), reference)
		if err != nil || !bytes.Equal(got.Content, m.Bytes) || got.MediaType != m.MediaType {
			t.Errorf("GetManifest(%s) = %s, %v; want %s", reference, got.MediaType, err, m.MediaType)
		}
	}
	for header, want := range map[string]error{string(descriptor("x").Digest): registry.ErrMismatch, "sha512:" + strings.Repeat("0", 128): nil} {
		p.Clear()
		p.On("PUT", ".*").Alter(func(r *http.Response) { r.Header.Set("Docker-Content-Digest", header) })
		err := repo.PutManifest(t.Context(), "1", manifest)
		if want != nil {
			assertContains(t, assertErrorKind(t, err, want).Error(), header)
		} else if err != nil {
			t.Error(err)
		}
	}
}

func TestDelete_TagAndManifest(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{})
	pushed := p.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	p.Retag(t, "app", "1", "2")
	repo := newClient(t).push(t, p.Ref("app", "1"))
	if err := repo.DeleteTag(t.Context(), "1"); err != nil {
		t.Fatal(err)
	}
	if p.Digest(t, "app", "1") != "" || p.Digest(t, "app", "2") != pushed.Digest {
		t.Error("DeleteTag() did not delete exactly the tag")
	}
	assertErrorKind(t, repo.DeleteTag(t.Context(), "1"), registry.ErrNotFound)
	if err := repo.DeleteManifest(t.Context(), pushed.Digest); err != nil {
		t.Fatal(err)
	}
	if p.Digest(t, "app", "2") != "" {
		t.Error("DeleteManifest() did not delete the manifest")
	}
	assertErrorKind(t, repo.DeleteManifest(t.Context(), pushed.Digest), registry.ErrNotFound)
	assertErrorKind(t, repo.DeleteManifest(t.Context(), "sha256:x"), registry.ErrInvalidReference)
	readOnly := scripted(t, registrytest.Behaviour{}, registrytest.NoDelete())
	assertErrorKind(t, newClient(t).push(t, readOnly.Ref("app", "1")).DeleteTag(t.Context(), "1"), registry.ErrUnsupported)
}

func TestDelete_TokenScope(t *testing.T) {
	tokens := registrytest.NewTokenServer(t)
	p := scripted(t, registrytest.Behaviour{}, registrytest.TokenAuth(tokens))
	p.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	repo := newClient(t).push(t, p.Ref("app", "1"))
	if _, err := repo.Resolve(t.Context(), "1"); err != nil {
		t.Fatal(err)
	}
	if err := repo.DeleteTag(t.Context(), "1"); err != nil {
		t.Fatal(err)
	}
	// The client requests the scope before the registry refuses the deletion.
	if tokenRequests := tokens.Requests(); len(tokenRequests) != 2 || tokenRequests[1].Scopes[0] != "repository:app:delete,pull,push" || p.Count("DELETE", ".*") != 1 {
		t.Errorf("token requests = %+v", tokenRequests)
	}
}

// The response to a HEAD has no body. The client sends a GET to report the registry's own
// message to the user, and not only the status.
func TestResolve_FailedHeadExplainedByGet(t *testing.T) {
	for status, kind := range map[int]error{
		http.StatusUnauthorized:        registry.ErrUnauthorized,
		http.StatusForbidden:           registry.ErrDenied,
		http.StatusTooManyRequests:     registry.ErrRateLimited,
		http.StatusInternalServerError: registry.ErrUnavailable,
	} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			p := scripted(t, registrytest.Behaviour{})
			p.On("HEAD", ".*").Reply(status, nil, "")
			p.On("GET", ".*").Reply(status, nil, string(registrytest.ErrorBody("SOME_CODE", "the cellar is flooded")))
			_, err := newClient(t, singleAttempt).pull(t, p.Addr+"/app").Resolve(t.Context(), "1")
			e := assertErrorKind(t, err, kind)
			if e.Code != "SOME_CODE" || e.Message != "the cellar is flooded" || e.Status != status {
				t.Errorf("error = %v, want the registry's code and message", e)
			}
		})
	}
}

func TestResolve_FailedHeadSuccessfulGet(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{})
	pushed := p.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	p.On("HEAD", ".*").Reply(http.StatusInternalServerError, nil, "")
	d, err := newClient(t, singleAttempt).pull(t, p.Addr+"/app").Resolve(t.Context(), "1")
	if err != nil || d.Digest != pushed.Digest {
		t.Errorf("Resolve() = %v, %v; want %v", d.Digest, err, pushed.Digest)
	}
}

func TestResolve_NotFoundWithoutGet(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{})
	_, err := newClient(t).pull(t, p.Addr+"/app").Resolve(t.Context(), "1")
	assertErrorKind(t, err, registry.ErrNotFound)
	if n := len(p.Requests()); n != 1 {
		t.Errorf("requests = %d, want 1", n)
	}
}

func TestPutManifest_HeadBeforeRetry(t *testing.T) {
	m := registrytest.Image{Seed: "a"}.Build()
	manifest := registry.Manifest{MediaType: m.MediaType, Digest: m.Digest, Content: m.Bytes}
	for name, test := range map[string]struct {
		handler func(http.ResponseWriter)
		want    string
	}{
		"connection_closed": {func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, "PUT HEAD"},
		"gateway_timeout":   {func(w http.ResponseWriter) { w.WriteHeader(http.StatusGatewayTimeout) }, "PUT HEAD"},
		"too_many_requests": {func(w http.ResponseWriter) { w.WriteHeader(http.StatusTooManyRequests) }, "PUT PUT"},
	} {
		t.Run(name, func(t *testing.T) {
			// Tags of this registry are immutable, so a second PUT fails.
			p := scripted(t, registrytest.Behaviour{ImmutableTags: true, Unchecked: true})
			p.On("PUT", ".*").Times(1).Do(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if name != "too_many_requests" {
					p.PutManifest(t, "app", "1", m)
				}
				test.handler(w)
			})
			if err := newClient(t).push(t, p.Ref("app", "1")).PutManifest(t.Context(), "1", manifest); err != nil {
				t.Fatal(err)
			}
			var methods []string
			for _, r := range p.Requests() {
				methods = append(methods, r.Method)
			}
			if got := strings.Join(methods, " "); got != test.want {
				t.Errorf("requests = %s, want %s", got, test.want)
			}
		})
	}
}

func TestResolve_DockerHub(t *testing.T) {
	var methods []string
	c := dockerHub(t, func(w http.ResponseWriter, r *http.Request) {
		methods = append(methods, r.Method+" "+r.URL.Path)
		w.Header().Set("Docker-Content-Digest", string(descriptor("x").Digest))
	})
	for _, name := range []string{"alpine", "docker.io/library/alpine", "index.docker.io/library/alpine"} {
		repo := c.pull(t, name)
		if _, err := repo.Resolve(t.Context(), "3"); err != nil || repo.Host() != "docker.io" {
			t.Errorf("%s: Resolve() on host %s = %v, want docker.io", name, repo.Host(), err)
		}
	}
	if want := slices.Repeat([]string{"HEAD /v2/library/alpine/manifests/3"}, 3); !slices.Equal(methods, want) {
		t.Errorf("requests = %s, want %s", methods, want)
	}
}
