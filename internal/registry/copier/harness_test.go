package copier_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// engine is the client and the copier of a simulated process.
type engine struct {
	client *remote.Client
	copier *copier.Copier
	log    *logRecorder
}

// newEngine returns an engine without ambient credentials and with a minimal backoff
// between attempts.
func newEngine(t *testing.T, change ...func(*remote.Options)) engine {
	t.Helper()
	none := ""
	log := &logRecorder{changed: make(chan struct{})}
	logger := slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: remote.LevelTrace}))
	o := remote.Options{Backoff: time.Millisecond, Credentials: auth.Options{DockerConfigPath: &none}, Logger: logger}
	for _, f := range change {
		f(&o)
	}
	client, err := remote.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return engine{client: client, copier: copier.New(logger), log: log}
}

// withMaxRequests limits each of the registries to n concurrent requests.
func withMaxRequests(n int, registries ...*registrytest.Registry) func(*remote.Options) {
	return func(o *remote.Options) {
		o.Hosts = map[string]remote.HostOptions{}
		for _, r := range registries {
			o.Hosts[r.Addr] = remote.HostOptions{MaxConcurrentRequests: n}
		}
	}
}

// tagPath is the path of the tag "1" in the repository "to", which most tests write.
const tagPath = "/v2/to/manifests/1"

// pair returns proxies for a source and a destination. b configures the behavior of the
// destination.
func pair(t *testing.T, b registrytest.Behaviour) (from, to *registrytest.Proxy) {
	t.Helper()
	return registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{})), registrytest.Intercept(t, registrytest.Scripted(t, b))
}

// logRecorder records the log of an engine.
type logRecorder struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{} // closed by the next line
}

func (l *logRecorder) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.changed)
	l.changed = make(chan struct{})
	return l.text.Write(p)
}

// wait waits until the log contains text.
func (l *logRecorder) wait(t *testing.T, text string) {
	t.Helper()
	hang := time.After(time.Minute)
	for {
		l.mu.Lock()
		found, more := strings.Contains(l.text.String(), text), l.changed
		l.mu.Unlock()
		if found {
			return
		}
		select {
		case <-more:
		case <-hang:
			t.Fatalf("the log does not contain %q after a minute", text)
		}
	}
}

// lines returns the log lines with the message.
func (l *logRecorder) lines(message string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []string
	for line := range strings.Lines(l.text.String()) {
		if strings.Contains(line, `msg="`+message+`"`) {
			found = append(found, line)
		}
	}
	return found
}

// count returns the number of log lines that contain all parts.
func (l *logRecorder) count(parts ...string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		if !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) }) {
			n++
		}
	}
	return n
}

// job returns a job that copies source to destination.
func (e engine) job(t *testing.T, source, destination string) copier.Job {
	t.Helper()
	s, d := parse(t, source), parse(t, destination)
	j := copier.Job{
		Source: e.client.Repository(s, remote.Pull), Destination: e.client.Repository(d, remote.Push),
		Reference: s.Target(), Digest: s.Digest,
	}
	if d.Tag != "" {
		j.Tags = []string{d.Tag}
	}
	return j
}

func parse(t *testing.T, s string) registry.Reference {
	t.Helper()
	ref, err := registry.ParseReference(s)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// copy copies source to destination and fails the test if that fails.
func (e engine) copy(t *testing.T, source, destination string, change ...func(*copier.Job)) copier.Report {
	t.Helper()
	job := e.job(t, source, destination)
	for _, f := range change {
		f(&job)
	}
	return e.run(t, job)
}

// run runs a job and fails the test if the job fails.
func (e engine) run(t *testing.T, job copier.Job) copier.Report {
	t.Helper()
	report, err := e.copier.Copy(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// copyError copies source to destination, which must fail with an error of this side and kind.
func (e engine) copyError(t *testing.T, source, destination string, side registry.Side, kind error, change ...func(*copier.Job)) *registry.Error {
	t.Helper()
	job := e.job(t, source, destination)
	for _, f := range change {
		f(&job)
	}
	_, err := e.copier.Copy(t.Context(), job)
	return assertError(t, err, side, kind)
}

// assertError fails the test unless err has this side and kind. Unless the copy was canceled,
// err must also have a hint.
func assertError(t *testing.T, err error, side registry.Side, kind error) *registry.Error {
	t.Helper()
	e, ok := errors.AsType[*registry.Error](err)
	if !ok {
		t.Fatalf("error = %v, want a *registry.Error with side %q", err, side)
	}
	if e.Side != side || !errors.Is(err, kind) {
		t.Fatalf("error has side %q and kind %q, want %q and %q: %v", e.Side, e.Kind, side, kind, err)
	}
	if e.Hint == "" && !errors.Is(err, context.Canceled) {
		t.Errorf("error has no hint: %v", err)
	}
	return e
}

// assertContains fails the test unless text contains each part.
func assertContains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("text does not contain %q: %s", part, text)
		}
	}
}

// result is what Copy returned.
type result struct {
	report copier.Report
	err    error
}

// start starts a copy and returns a channel that receives its result.
func (e engine) start(ctx context.Context, job copier.Job) <-chan result {
	done := make(chan result, 1)
	go func() {
		report, err := e.copier.Copy(ctx, job)
		done <- result{report, err}
	}()
	return done
}

// await returns the result of a copy. It fails the test after a minute.
func await(t *testing.T, done <-chan result) result {
	t.Helper()
	select {
	case r := <-done:
		return r
	case <-time.After(time.Minute):
		t.Fatal("Copy() did not return within a minute")
		panic("unreachable")
	}
}

// assertUntouched fails the test if a repository has any tag or any blob of the image.
func assertUntouched(t *testing.T, r *registrytest.Registry, repo string, image registrytest.Pushed) {
	t.Helper()
	if tags := r.Tags(t, repo); len(tags) > 0 {
		t.Errorf("tags of %s = %v, want none", repo, tags)
	}
	for d := range image.Tree.Blobs {
		if r.HasBlob(t, repo, d) {
			t.Errorf("%s has the blob %s, want none", repo, d)
		}
	}
}

// writeRequests returns the requests to a proxy with another method than GET or HEAD.
func writeRequests(p *registrytest.Proxy) []registrytest.Request {
	var found []registrytest.Request
	for _, r := range p.Requests() {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			found = append(found, r)
		}
	}
	return found
}
