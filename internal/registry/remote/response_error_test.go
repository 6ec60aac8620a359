package remote_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// serveFixed starts a server that sends the same response to every request.
func serveFixed(t *testing.T, status int, contentType, body string) *httptest.Server {
	t.Helper()
	return servePlain(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		if r.Method != http.MethodHead {
			_, _ = io.WriteString(w, body)
		}
	})
}

func singleAttempt(o *remote.Options) { o.Attempts = 1 }

func address(s *httptest.Server) string { return s.Listener.Addr().String() }

func TestResponseError_Kind(t *testing.T) {
	const get, put, tag = "GET", "PUT", "DELETE tag"
	m := registrytest.Image{Seed: "a"}.Build()
	manifest := registry.Manifest{MediaType: m.MediaType, Digest: m.Digest, Content: m.Bytes}
	for _, test := range []struct {
		op            string
		status        int
		code, message string
		want          error
	}{
		{get, 404, "MANIFEST_UNKNOWN", "manifest unknown", registry.ErrNotFound},
		{get, 404, "NAME_UNKNOWN", "", registry.ErrNotFound},
		{get, 404, "NAME_UNKNOWN", "", registry.ErrNotFound},
		{get, 404, "MANIFEST_UNKNOWN", "", registry.ErrNotFound},
		{get, 404, "NOT_FOUND", "", registry.ErrProtocol}, // nothing shows that the host is a registry
		{get, 404, "SOMETHING_NEW", "", registry.ErrProtocol},
		{get, 404, "route_not_found", "", registry.ErrProtocol},
		{get, 404, "UNAUTHORIZED", "", registry.ErrDenied},
		{get, 404, "DENIED", "", registry.ErrDenied},
		{get, 404, "TOOMANYREQUESTS", "", registry.ErrRateLimited},
		{get, 404, "UNSUPPORTED", "", registry.ErrUnsupported},
		{get, 404, "", "", registry.ErrProtocol},
		{get, 401, "UNAUTHORIZED", "", registry.ErrUnauthorized},
		{get, 401, "", "", registry.ErrUnauthorized},
		{get, 403, "DENIED", "requested access is denied", registry.ErrDenied},
		{get, 403, "", "", registry.ErrDenied},
		{get, 429, "TOOMANYREQUESTS", "", registry.ErrRateLimited},
		{get, 429, "", "", registry.ErrRateLimited},
		{get, 403, "TOOMANYREQUESTS", "", registry.ErrRateLimited},
		{get, 400, "UNSUPPORTED", "", registry.ErrUnsupported},
		{get, 405, "", "", registry.ErrUnsupported},
		{get, 501, "", "", registry.ErrUnsupported},
		{get, 400, "", "", registry.ErrProtocol},
		{get, 300, "", "", registry.ErrProtocol},
		{get, 505, "", "", registry.ErrProtocol},
		{get, 204, "", "", registry.ErrProtocol},
		{get, 500, "UNKNOWN", "", registry.ErrUnavailable},
		{get, 502, "", "", registry.ErrUnavailable},
		{get, 503, "", "", registry.ErrUnavailable},
		{get, 504, "", "", registry.ErrUnavailable},
		{get, 499, "", "", registry.ErrUnavailable},
		{get, 520, "", "", registry.ErrUnavailable},
		{get, 529, "", "", registry.ErrUnavailable},
		{get, 408, "", "", registry.ErrUnavailable},
		{get, 425, "", "", registry.ErrUnavailable},
		{put, 400, "MANIFEST_INVALID", "", registry.ErrInvalidManifest},
		{put, 400, "MANIFEST_UNVERIFIED", "", registry.ErrInvalidManifest},
		{put, 400, "MANIFEST_BLOB_UNKNOWN", "", registry.ErrMissingContent},
		{put, 404, "BLOB_UNKNOWN", "", registry.ErrMissingContent},
		{put, 404, "MANIFEST_UNKNOWN", "", registry.ErrMissingContent},
		{put, 404, "NAME_UNKNOWN", "", registry.ErrNotFound},
		{put, 400, "DIGEST_INVALID", "", registry.ErrMismatch},
		{put, 400, "SIZE_INVALID", "", registry.ErrMismatch},
		{put, 413, "", "", registry.ErrDenied},
		{put, 412, "SOMETHING_NEW", "no", registry.ErrDenied},
		{put, 403, "DENIED", "quota exceeded", registry.ErrDenied},
		{put, 400, "NAME_INVALID", "", registry.ErrDenied},
		{put, 400, "ImageTagAlreadyExistsException", "", registry.ErrTagImmutable},
		{put, 409, "TAG_INVALID", "", registry.ErrTagImmutable},
		{put, 412, "PRECONDITION", "the tag 1 is immutable", registry.ErrTagImmutable},
		{put, 403, "DENIED", "configured as Immutable", registry.ErrTagImmutable},
		{put, 400, "TAG_INVALID", "the tag exists", registry.ErrTagImmutable},
		{put, 400, "TAG_INVALID", "what a tag", registry.ErrDenied},
		{put, 500, "UNKNOWN", "immutable", registry.ErrUnavailable},
		{tag, 400, "DIGEST_INVALID", "", registry.ErrUnsupported},
		{tag, 405, "UNSUPPORTED", "", registry.ErrUnsupported},
		{tag, 404, "MANIFEST_UNKNOWN", "", registry.ErrNotFound},
	} {
		t.Run(strings.ReplaceAll(strings.TrimSpace(fmt.Sprint(test.op, " ", test.status, " ", test.code, " ", test.message)), " ", "_"), func(t *testing.T) {
			body := ""
			if test.code != "" {
				body = string(registrytest.ErrorBody(test.code, test.message))
			}
			repo := newClient(t, singleAttempt).push(t, address(serveFixed(t, test.status, "application/json", body))+"/app")
			var err error
			switch test.op {
			case get:
				_, err = repo.GetManifest(t.Context(), "1")
			case put:
				err = repo.PutManifest(t.Context(), "1", manifest)
			case tag:
				err = repo.DeleteTag(t.Context(), "1")
			}
			e := assertErrorKind(t, err, test.want)
			if e.Status != test.status || e.Code != test.code || !strings.Contains(e.Message, test.message) {
				t.Errorf("status = %d, code = %q, message = %q, want %d, %q, %q", e.Status, e.Code, e.Message, test.status, test.code, test.message)
			}
			if e.Repository != repo.Name() || e.Reference != "1" {
				t.Errorf("error about %s and %s, want the repository and tag 1", e.Repository, e.Reference)
			}
		})
	}
}

func TestResponseError_NotFoundNeedsErrorDocument(t *testing.T) {
	for name, body := range map[string]string{
		"web_page":            "<html>not found</html>",
		"empty":               "",
		"null":                "null",
		"array":               "[]",
		"json_without_errors": `{"message":"no route"}`,
		"no_errors":           `{"errors":[]}`,
		"error_without_code":  `{"errors":[{"message":"x"}]}`,
		"null_error":          `{"errors":[null]}`,
		"two_documents":       string(registrytest.ErrorBody("NAME_UNKNOWN", "")) + "{}",
		"truncated":           `{"errors":[{"code":"NAME_UNKNOWN"`,
		"deeply_nested":       strings.Repeat(`{"errors":[`, 30_000),
		"too_long":            strings.Repeat(" ", 70_000) + string(registrytest.ErrorBody("NAME_UNKNOWN", "")),
		"compressed":          "gzip",
	} {
		t.Run(name, func(t *testing.T) {
			server := serveFixed(t, http.StatusNotFound, "application/json", body)
			if body == "gzip" {
				server = servePlain(t, func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Encoding", "gzip")
					w.WriteHeader(http.StatusNotFound)
					_, _ = w.Write(registrytest.ErrorBody("NAME_UNKNOWN", ""))
				})
			}
			repo := newClient(t).pull(t, address(server)+"/app")
			_, err := repo.GetManifest(t.Context(), "1")
			assertContains(t, assertErrorKind(t, err, registry.ErrProtocol).Hint, "proxy")
			// A response to HEAD has no body, so its 404 alone means not found, as
			// documented.
			_, err = repo.Resolve(t.Context(), "1")
			assertErrorKind(t, err, registry.ErrNotFound)
		})
	}
}

func TestResponseError_CompressedBody(t *testing.T) {
	server := servePlain(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write(gzipped(t, string(registrytest.ErrorBody("TAG_INVALID", "the tag is immutable"))))
	})
	e := assertErrorKind(t, newClient(t).push(t, address(server)+"/app").PutManifest(t.Context(), "1", registry.Manifest{}), registry.ErrDenied)
	if e.Status != http.StatusForbidden || e.Code != "" || e.Message != "" {
		t.Errorf("status = %d, code = %q, message = %q, want %d, %q, %q", e.Status, e.Code, e.Message, http.StatusForbidden, "", "")
	}
}

func TestResponseError_SanitizedMessage(t *testing.T) {
	esc := "\x1b[31m\r\n::set-output name=x::y\u202e\x00 " + canary
	for name, body := range map[string]string{
		"error_document": string(registrytest.ErrorBody("DENIED"+strings.Repeat("X", 3000), esc+strings.Repeat("long ", 3000))),
		"detail":         `{"errors":[{"code":"DENIED","message":"no","detail":` + string(registrytest.ErrorBody(esc, strings.Repeat(esc, 500))) + `}]}`,
		"web_page":       esc + strings.Repeat("<p>", 10_000),
		"large_page":     strings.Repeat(esc, 10<<20/len(esc)),
	} {
		t.Run(name, func(t *testing.T) {
			server := servePlain(t, requireLogin(serveFixed(t, http.StatusForbidden, "text/html", body).Config.Handler.ServeHTTP))
			c := newClient(t, credentials(map[string]auth.Credential{address(server): {Username: "ci", Password: canary}}))
			_, err := c.pull(t, address(server)+"/app").GetManifest(t.Context(), "1")
			e := assertErrorKind(t, err, registry.ErrDenied)
			if n, most := len(e.Code)+len(e.Message), map[bool]int{true: 400, false: 1200}[name == "web_page"]; n > most {
				t.Errorf("code and message have %d bytes, want at most %d", n, most)
			}
			if name != "large_page" && e.Message == "" {
				t.Error("the message is empty")
			}
			if text := e.Error(); strings.Contains(text, "::set") || strings.ContainsRune(text, '\u202e') {
				t.Errorf("error = %q, want it sanitized", text)
			}
		})
	}
}

func TestResponseError_Hint(t *testing.T) {
	m := registry.Manifest{MediaType: registry.MediaTypeSchema1Signed, Digest: descriptor("x").Digest, Content: []byte("x")}
	for name, test := range map[string]struct {
		status     int
		code, text string
		op         func(context.Context, registry.Repository) error
		kind       error
		want       string
	}{
		"ecr_repository_missing":   {404, "NAME_UNKNOWN", "The repository with name 'app' does not exist", push(m), registry.ErrNotFound, "aws_ecr_repository"},
		"repository_missing":       {404, "NAME_UNKNOWN", "", upload(t), registry.ErrNotFound, "Create it first"},
		"tag_missing":              {404, "MANIFEST_UNKNOWN", "", get, registry.ErrNotFound, "name and the tag"},
		"docker_hub_rate_limit":    {429, "TOOMANYREQUESTS", "", get, registry.ErrRateLimited, "Whoever is logged in"},
		"rate_limit":               {429, "TOOMANYREQUESTS", "", get, registry.ErrRateLimited, `registries = { "registry.example.com" = { max_concurrent_requests = `},
		"immutable_tag":            {409, "TAG_INVALID", "", push(m), registry.ErrTagImmutable, "Promote to a new tag"},
		"not_challenged":           {403, "DENIED", "", push(m), registry.ErrDenied, "did not ask who it is, so that no login was sent"},
		"harbor_quota":             {403, "DENIED", "adding 3.2 GiB of storage resource, which when updated to current usage of 9.9 GiB will exceed the configured upper limit", upload(t), registry.ErrDenied, "What the registry says sounds like a quota or a limit"},
		"quota_with_412":           {412, "DENIED", "Quota has been reached", upload(t), registry.ErrDenied, "What the registry says sounds like a quota or a limit"},
		"firewall":                 {403, "DENIED", "not for unlimited use", get, registry.ErrDenied, "may refuse this to everybody"},
		"blob_digest_mismatch":     {400, "DIGEST_INVALID", "provided digest did not match uploaded content", upload(t), registry.ErrMismatch, "It had it when it was sent"},
		"manifest_digest_mismatch": {400, "DIGEST_INVALID", "", push(m), registry.ErrMismatch, "It had it when it was sent"},
		"storage_full_507":         {507, "UNKNOWN", "no space left on device", push(m), registry.ErrUnavailable, "The registry has no space left"},
		"storage_full_500":         {500, "UNKNOWN", "write /x: no space left on device", upload(t), registry.ErrUnavailable, "The registry has no space left"},
		"server_error_505":         {505, "UNKNOWN", "oh", get, registry.ErrUnavailable, "The registry itself failed. Try again later, and ask those who run it"},
		"schema1_rejected":         {400, "MANIFEST_INVALID", "", push(m), registry.ErrInvalidManifest, "schema 1"},
		"schema1_unknown":          {415, "", "", push(m), registry.ErrDenied, "schema 1"},
		"unavailable":              {503, "", "", get, registry.ErrUnavailable, "Try again later"},
		"mirror":                   {405, "UNSUPPORTED", "", push(m), registry.ErrUnsupported, "read-only, or a mirror"},
		"read_only_registry":       {405, "", "", upload(t), registry.ErrUnsupported, "read-only, or a mirror"},
		"web_server":               {501, "", "", upload(t), registry.ErrUnsupported, "does not seem to be a registry: look at the host, the port"},
		"deletion_disabled":        {405, "UNSUPPORTED", "", remove, registry.ErrUnsupported, "switched off"},
		"proxy_login_required":     {407, "", "", get, registry.ErrDenied, "NO_PROXY"},
		"body_size_limit":          {413, "", "", upload(t), registry.ErrDenied, "client_max_body_size"},
		"policy":                   {412, "POLICY", "", push(m), registry.ErrDenied, "policy or a quota"},
		"invalid_manifest":         {400, "MANIFEST_INVALID", "", push(registry.Manifest{MediaType: registry.MediaTypeDockerManifest, Digest: descriptor("x").Digest, Content: []byte("x")}), registry.ErrInvalidManifest, "not well formed"},
	} {
		t.Run(name, func(t *testing.T) {
			host := "registry.example.com"
			switch name {
			case "ecr_repository_missing":
				host = "1234.dkr.ecr.eu-west-1.amazonaws.com"
			case "docker_hub_rate_limit":
				host = "docker.io"
			}
			n := newFakeNetwork(t)
			api := strings.Replace(host, "docker.io", "registry-1.docker.io", 1)
			n.serve(t, api, registryAddress, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(test.status)
				_, _ = w.Write(registrytest.ErrorBody(test.code, test.text))
			})
			c := newClient(t, n.options, singleAttempt, settings(n.trustedHosts(host)))
			err := test.op(t.Context(), c.push(t, host+"/app/app"))
			assertContains(t, assertErrorKind(t, err, test.kind).Hint, test.want)
		})
	}
}

func get(ctx context.Context, r registry.Repository) error {
	_, err := r.GetManifest(ctx, "1")
	return err
}

func push(m registry.Manifest) func(context.Context, registry.Repository) error {
	return func(ctx context.Context, r registry.Repository) error { return r.PutManifest(ctx, "1", m) }
}

func upload(t *testing.T) func(context.Context, registry.Repository) error {
	return func(ctx context.Context, r registry.Repository) error {
		_, err := r.PutBlob(ctx, descriptor("x"), newBody(t, "x").get())
		return err
	}
}

func remove(ctx context.Context, r registry.Repository) error { return r.DeleteTag(ctx, "1") }

func TestResponseError_MultipleErrors(t *testing.T) {
	entry := func(code, message string) string {
		return strings.TrimSuffix(strings.TrimPrefix(string(registrytest.ErrorBody(code, message)), `{"errors":[`), "]}")
	}
	long := strings.Repeat("long ", 1000)
	for name, test := range map[string]struct{ entries, want string }{
		"two":                  {entry("DENIED", "no quota") + "," + entry("SIZE_INVALID", "4 GiB"), "no quota; SIZE_INVALID: 4 GiB"},
		"four":                 {entry("DENIED", "a") + "," + entry("B", "b") + "," + entry("C", "") + "," + entry("D", "d"), "a; B: b; C"},
		"empty_entry":          {entry("DENIED", "a") + `,{},` + entry("C", "c"), "a; C: c"},
		"scope_detail_omitted": {`{"code":"DENIED","message":"a","detail":[{"Type":"repository"}]},{"code":"UNAUTHORIZED","detail":{"x":1}}`, "a; UNAUTHORIZED"},
		"detail":               {`{"code":"DENIED","message":"a"},{"code":"B","detail":"why"}`, `a; B: "why"`},
		"secret":               {entry("DENIED", "a") + "," + entry("B", canary), "a; B: ***"},
		"control_characters":   {entry("DENIED", "a") + "," + entry("\x1b[31m", "::error::x"), "a; [31m: : :error: :x"},
		"too_long":             {entry("DENIED", "a") + "," + entry("B", long), "a; B: long "},
	} {
		t.Run(name, func(t *testing.T) {
			server := servePlain(t, requireLogin(serveFixed(t, http.StatusForbidden, "application/json", `{"errors":[`+test.entries+`]}`).Config.Handler.ServeHTTP))
			c := newClient(t, singleAttempt, credentials(map[string]auth.Credential{address(server): {Username: "ci", Password: canary}}))
			_, err := c.pull(t, address(server)+"/app").GetManifest(t.Context(), "1")
			e := assertErrorKind(t, err, registry.ErrDenied)
			if e.Code != "DENIED" || !strings.HasPrefix(e.Message, test.want) || len(e.Message) > 1024 || name != "too_long" && e.Message != test.want {
				t.Errorf("code = %q, message = %q, want DENIED and %q", e.Code, e.Message, test.want)
			}
		})
	}
}

// A 403 to an authenticated request and one to an anonymous request look the same but need
// different advice.
func TestResponseError_ForbiddenNamesCredential(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{}, registrytest.TokenAuth(registrytest.NewTokenServer(t)))
	p.On(".*", ".*").Where(func(r *http.Request) bool { return r.Header.Get("Authorization") != "" }).Reply(http.StatusForbidden, nil, "")
	for _, test := range []struct {
		credential auth.Credential
		op         func(context.Context, registry.Repository) error
		want       []string
	}{
		{auth.Credential{}, get, []string{"there was none: no credentials were found in registries. Set registries"}},
		{auth.Credential{RegistryToken: canary, Source: "a file"}, get, []string{"are the registry token, from a file.", "If they may not do this", "give them the right to"}},
		{auth.Credential{RegistryToken: canary, Source: "a file"}, upload(t), []string{"are the registry token, from a file.", "If they may not write", "push there"}},
	} {
		c := newClient(t, singleAttempt, credentials(map[string]auth.Credential{p.Addr: test.credential}))
		assertContains(t, assertErrorKind(t, test.op(t.Context(), c.push(t, p.Addr+"/app")), registry.ErrDenied).Hint, test.want...)
	}
}

func TestResponseError_DockerHubNameHint(t *testing.T) {
	const hint = `"registry/acme/app" was read as a repository on Docker Hub, where names have two parts. If registry is a registry, write it with its domain or port, as in registry:5000/acme/app.`
	for name, want := range map[string]string{"registry/acme/app": hint, "acme/app": "", "app": "", "ghcr.io/registry/acme/app": ""} {
		n := newFakeNetwork(t)
		for api, address := range map[string]string{"registry-1.docker.io": registryAddress, "ghcr.io": otherAddress} {
			n.serve(t, api, address, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
		}
		_, err := newClient(t, n.options, singleAttempt, settings(n.trustedHosts("docker.io", "ghcr.io"))).pull(t, name).Resolve(t.Context(), "1")
		got := assertErrorKind(t, err, registry.ErrUnauthorized).Hint
		if !strings.HasSuffix(got, want) || strings.Contains(got, "two parts") != (want != "") {
			t.Errorf("%s: hint = %q", name, got)
		}
	}
}

func TestResponseError_PlainHTTPToTLSServer(t *testing.T) {
	host := address(newFakeNetwork(t).serveTLS(t, serveManifest, "127.0.0.1"))
	_, err := newClient(t, singleAttempt).pull(t, host+"/app").GetManifest(t.Context(), "1")
	e := assertErrorKind(t, err, registry.ErrProtocol)
	assertContains(t, e.Error(), `HTTP 400: what answered says "Client sent an HTTP request to an HTTPS server."`)
	assertContains(t, e.Hint, "wants TLS", "plain_http = false")
}
