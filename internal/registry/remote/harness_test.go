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

// canary is the prefix of every secret in these tests. It must not appear in any log,
// error, warning or trace in any encoding.
const canary = "Canary/Secret+"

// client is a client that records its log and its trace. When its test ends, it must hold
// no slot, have no active request and have logged no secret.
type client struct {
	*remote.Client
	log *logBuffer

	mu       sync.Mutex
	warnings []string
	requests []registry.Request
	waits    []registry.Wait
	active   int
}

// newClient returns a client without ambient credentials or a proxy. It waits only briefly
// between attempts.
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
		if n := c.HeldSlots(); n != 0 {
			t.Errorf("slots held after the test = %d, want 0", n)
		}
		c.mu.Lock()
		if c.active != 0 {
			t.Errorf("active requests after the test = %d of %d, want 0", c.active, len(c.requests))
		}
		c.mu.Unlock()
		assertNoSecret(t, "log", c.log.String())
		for _, w := range c.Warnings() {
			assertNoSecret(t, "warning", w)
		}
	})
	return c
}

// context returns the context of the test with the client's trace.
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

// Warnings returns the warnings received so far.
func (c *client) Warnings() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.warnings...)
}

// sent returns how many requests were sent, and how many of them were retries.
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

// pull returns a repository for reading. The name has the form "host/repo".
func (c *client) pull(t *testing.T, name string) registry.Repository {
	t.Helper()
	return c.Repository(parse(t, name), remote.Pull)
}

// push returns a repository for reading and writing.
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

// logBuffer is a log in memory.
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

// assertNoSecret fails the test if text contains the canary: verbatim, URL-encoded, or at
// any offset within Base64.
func assertNoSecret(t *testing.T, what, text string) {
	t.Helper()
	forms := []string{canary, url.QueryEscape(canary), url.PathEscape(canary)}
	for shift := range 3 {
		whole := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("-", shift) + canary))
		// The first and the last characters depend on the surrounding bytes.
		forms = append(forms, whole[4:len(whole)-4])
	}
	for _, form := range forms {
		if strings.Contains(text, form) {
			t.Errorf("the %s contains a secret: %.500s", what, text)
			return
		}
	}
}

// assertErrorKind fails the test unless err is a *registry.Error of the given kind, and
// returns that error.
func assertErrorKind(t *testing.T, err, kind error) *registry.Error {
	t.Helper()
	e := registryError(t, err)
	if !errors.Is(e.Kind, kind) {
		t.Fatalf("error kind = %q, want %q: %v", e.Kind, kind, err)
	}
	return e
}

// registryError fails the test unless err is a *registry.Error with a kind. The error must
// have a hint unless its context ended, and must contain no control characters and no
// secrets.
func registryError(t *testing.T, err error) *registry.Error {
	t.Helper()
	if err == nil {
		t.Fatal("error = nil, want an error")
	}
	e, ok := errors.AsType[*registry.Error](err)
	if !ok || e.Kind == nil {
		t.Fatalf("error = %T (%v), want a *registry.Error with a kind", err, err)
	}
	ended := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	if e.Hint == "" && !ended {
		t.Errorf("hint = %q, want advice: %v", e.Hint, err)
	}
	for _, text := range []string{e.Error(), e.Hint, err.Error()} {
		assertNoSecret(t, "error", text)
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("the error contains control characters: %q", text)
		}
	}
	return e
}

// assertContains fails the test if text does not contain each of want.
func assertContains(t *testing.T, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("text = %q, want it to contain %q", text, w)
		}
	}
}

// descriptor returns the descriptor of content.
func descriptor(content string) registry.Descriptor {
	return registry.Descriptor{MediaType: "application/octet-stream", Digest: digest.FromString(content), Size: int64(len(content))}
}

// body is content for PutBlob. It counts how often it was opened, and fails the test if a
// reader is still open when the test ends.
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
			t.Errorf("the content was opened %d times and closed %d times, want the same", b.opened, b.closed)
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

// readAll reads the whole blob.
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

// scripted starts a scripted registry behind a recording proxy.
func scripted(t *testing.T, b registrytest.Behaviour, options ...registrytest.Option) *registrytest.Proxy {
	t.Helper()
	return registrytest.Intercept(t, registrytest.Scripted(t, b, options...))
}

// credentials returns an option that sets explicit credentials, keyed by host or
// host/prefix.
func credentials(registries map[string]auth.Credential) func(*remote.Options) {
	return func(o *remote.Options) { o.Credentials.Registries = registries }
}

// settings returns an option that sets the options of hosts.
func settings(hosts map[string]remote.HostOptions) func(*remote.Options) {
	return func(o *remote.Options) { o.Hosts = hosts }
}

// withDockerConfig returns an option that sets the content of a Docker configuration file.
func withDockerConfig(content string) func(*remote.Options) {
	return func(o *remote.Options) { o.Credentials.DockerConfigJSON = auth.Secret(content) }
}

// hostOf returns the host:port of a URL.
func hostOf(t *testing.T, s string) string {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}
