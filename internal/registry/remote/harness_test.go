package remote_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// canary is the beginning of every secret of these tests. No log, error,
// warning or trace may have it, in any form.
const canary = "Canary/Secret+"

// client is a client whose log and what its trace tells are kept. When its test
// ends it must hold no slot any more, have no request under way and have told no
// secret.
type client struct {
	*remote.Client
	log *logBuffer

	mu       sync.Mutex
	warnings []string
	requests []registry.Request
	waits    []registry.Wait
	active   int
}

// newClient makes a client without ambient credentials and without a proxy that
// loses no time between attempts.
func newClient(t *testing.T, change ...func(*remote.Options)) *client {
	t.Helper()
	c := &client{log: &logBuffer{}}
	none := ""
	o := remote.Options{
		Backoff:     time.Millisecond,
		Credentials: auth.Options{DockerConfigPath: &none},
		Logger:      slog.New(slog.NewTextHandler(c.log, &slog.HandlerOptions{Level: remote.LevelTrace})),
		Proxy:       func(*http.Request) (*url.URL, error) { return nil, nil },
	}
	for _, f := range change {
		f(&o)
	}
	var err error
	if c.Client, err = remote.New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if held := c.HeldSlots(); held != 0 {
			t.Errorf("%d slots are still held", held)
		}
		c.mu.Lock()
		if c.active != 0 {
			t.Errorf("of %d requests %d are told to be under way still", len(c.requests), c.active)
		}
		c.mu.Unlock()
		assertNoSecret(t, "log", c.log.String())
		for _, w := range c.Warnings() {
			assertNoSecret(t, "warning", w)
		}
	})
	return c
}

// context is the test's, traced.
func (c *client) context(t *testing.T) context.Context { return c.traced(t.Context()) }

func (c *client) traced(ctx context.Context) context.Context {
	return registry.WithTrace(ctx, registry.Trace{
		Request: func(q registry.Request) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.requests = append(c.requests, q)
			c.active++
		},
		Over: func(registry.Request) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.active--
		},
		Wait: func(w registry.Wait) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.waits = append(c.waits, w)
		},
		Warning: func(w string) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.warnings = append(c.warnings, w)
		},
	})
}

// Warnings are those so far.
func (c *client) Warnings() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.warnings...)
}

// sent counts the requests so far, and how many of them repeated one.
func (c *client) sent() (requests, retries int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, q := range c.requests {
		if q.Retry {
			retries++
		}
	}
	return len(c.requests), retries
}

// pull and push are a repository for reading and for writing: "host/repo".
func (c *client) pull(t *testing.T, name string) registry.Repository {
	t.Helper()
	return c.Repository(parse(t, name), remote.Pull)
}

func (c *client) push(t *testing.T, name string) registry.Repository {
	t.Helper()
	return c.Repository(parse(t, name), remote.Push)
}

func parse(t *testing.T, s string) registry.Reference {
	t.Helper()
	ref, err := registry.ParseReference(s)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// journal is a log in memory.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *logBuffer) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *logBuffer) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

// noSecret fails the test where a text has a canary in it: as it is,
// URL-encoded, or at any place inside of base64.
func assertNoSecret(t *testing.T, what, text string) {
	t.Helper()
	forms := []string{canary, url.QueryEscape(canary), url.PathEscape(canary)}
	for shift := range 3 {
		whole := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("-", shift) + canary))
		// The first and last characters depend on what is around.
		forms = append(forms, whole[4:len(whole)-4])
	}
	for _, form := range forms {
		if strings.Contains(text, form) {
			t.Errorf("the %s has a secret in it: %.500s", what, text)
			return
		}
	}
}

// failure wants an error of a kind.
func assertErrorKind(t *testing.T, err, kind error) *registry.Error {
	t.Helper()
	e := registryError(t, err)
	if !errors.Is(e.Kind, kind) {
		t.Fatalf("the error is of %q, want %q: %v", e.Kind, kind, err)
	}
	return e
}

// registryError wants an error as all of this package are: with a kind, with
// advice unless somebody ended the operation, in one line and without secrets.
func registryError(t *testing.T, err error) *registry.Error {
	t.Helper()
	if err == nil {
		t.Fatal("there is no error")
	}
	e, ok := errors.AsType[*registry.Error](err)
	if !ok || e.Kind == nil {
		t.Fatalf("the error is a %T: %v", err, err)
	}
	ended := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	if e.Hint == "" && !ended {
		t.Errorf("the error has the hint %q: %v", e.Hint, err)
	}
	for _, text := range []string{e.Error(), e.Hint, err.Error()} {
		assertNoSecret(t, "error", text)
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("the error has control characters in it: %q", text)
		}
	}
	return e
}

// says wants texts to be in another.
func assertContains(t *testing.T, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("%q does not say %q", text, w)
		}
	}
}

// descriptor is that of some bytes.
func descriptor(content string) registry.Descriptor {
	return registry.Descriptor{MediaType: "application/octet-stream", Digest: digest.FromString(content), Size: int64(len(content))}
}

// body is content as PutBlob wants it. It counts how often it was opened and
// fails the test where what was opened is not closed when the test ends.
type body struct {
	content string
	from    string

	mu             sync.Mutex
	opened, closed int
}

func newBody(t *testing.T, content string) *body {
	b := &body{content: content}
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.opened != b.closed {
			t.Errorf("the content was opened %d times and closed %d times", b.opened, b.closed)
		}
	})
	return b
}

func (b *body) get() registry.Content {
	return registry.Content{From: b.from, Open: func(context.Context) (io.ReadCloser, error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.opened++
		return &opened{Reader: strings.NewReader(b.content), of: b}, nil
	}}
}

func (b *body) opens() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.opened
}

type opened struct {
	io.Reader
	of   *body
	once sync.Once
}

func (o *opened) Close() error {
	o.once.Do(func() {
		o.of.mu.Lock()
		defer o.of.mu.Unlock()
		o.of.closed++
	})
	return nil
}

// readAll reads a blob to its end.
func readAll(t *testing.T, repo registry.Repository, d registry.Descriptor) (string, error) {
	t.Helper()
	content, err := repo.GetBlob(t.Context(), d)
	if err != nil {
		return "", err
	}
	defer func() { _ = content.Close() }()
	all, err := io.ReadAll(content)
	return string(all), err
}

// scripted starts a scripted registry behind a proxy.
func scripted(t *testing.T, b registrytest.Behaviour, options ...registrytest.Option) *registrytest.Proxy {
	t.Helper()
	return registrytest.Intercept(t, registrytest.Scripted(t, b, options...))
}

// credentials are explicit ones, by host or host/prefix.
func credentials(registries map[string]auth.Credential) func(*remote.Options) {
	return func(o *remote.Options) { o.Credentials.Registries = registries }
}

// settings are those of hosts.
func settings(hosts map[string]remote.HostOptions) func(*remote.Options) {
	return func(o *remote.Options) { o.Hosts = hosts }
}

// withDockerConfig gives the content of a docker configuration file.
func withDockerConfig(content string) func(*remote.Options) {
	return func(o *remote.Options) { o.Credentials.DockerConfigJSON = auth.Secret(content) }
}

// hostOf is the host:port of a URL.
func hostOf(t *testing.T, s string) string {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}
