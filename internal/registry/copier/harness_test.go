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

// engine is a client and a copier, as a process has them.
type engine struct {
	client *remote.Client
	copier *copier.Copier
	log    *logged
}

// newEngine makes an engine without ambient credentials that loses no time
// between attempts.
func newEngine(t *testing.T, change ...func(*remote.Options)) engine {
	t.Helper()
	none := ""
	log := &logged{more: make(chan struct{})}
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

// limited lets at most n requests be under way to each of the registries.
func limited(n int, registries ...*registrytest.Registry) func(*remote.Options) {
	return func(o *remote.Options) {
		o.Hosts = map[string]remote.HostOptions{}
		for _, r := range registries {
			o.Hosts[r.Addr] = remote.HostOptions{MaxConcurrentRequests: n}
		}
	}
}

// tagPath is where most tests write their tag, in the repository "to".
const tagPath = "/v2/to/manifests/1"

// pair is a source and a destination that are watched; the destination differs
// from a good registry by b.
func pair(t *testing.T, b registrytest.Behaviour) (from, to *registrytest.Proxy) {
	t.Helper()
	return registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{})), registrytest.Intercept(t, registrytest.Scripted(t, b))
}

// logged is what an engine logged.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // closed by the next line
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.more)
	l.more = make(chan struct{})
	return l.text.Write(p)
}

// wait returns when a line of the log has the text.
func (l *logged) wait(t *testing.T, text string) {
	t.Helper()
	hang := time.After(time.Minute)
	for {
		l.mu.Lock()
		found, more := strings.Contains(l.text.String(), text), l.more
		l.mu.Unlock()
		if found {
			return
		}
		select {
		case <-more:
		case <-hang:
			t.Fatalf("waited in vain for %q in the log", text)
		}
	}
}

// lines are those that have the message.
func (l *logged) lines(message string) []string {
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

// count is how many lines have each part.
func (l *logged) count(parts ...string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		if !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) }) {
			n++
		}
	}
	return n
}

// job is the copy of one reference to another.
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

// copy copies and wants it to succeed.
func (e engine) copy(t *testing.T, source, destination string, change ...func(*copier.Job)) copier.Report {
	t.Helper()
	job := e.job(t, source, destination)
	for _, f := range change {
		f(&job)
	}
	return e.do(t, job)
}

// do does a job and wants it to succeed.
func (e engine) do(t *testing.T, job copier.Job) copier.Report {
	t.Helper()
	report, err := e.copier.Copy(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// refused copies and wants it to fail on a side with an error of a kind.
func (e engine) refused(t *testing.T, source, destination string, side registry.Side, kind error, change ...func(*copier.Job)) *registry.Error {
	t.Helper()
	job := e.job(t, source, destination)
	for _, f := range change {
		f(&job)
	}
	_, err := e.copier.Copy(t.Context(), job)
	return failure(t, err, side, kind)
}

// failure wants an error to be of a side and kind, with advice unless somebody
// ended the copy.
func failure(t *testing.T, err error, side registry.Side, kind error) *registry.Error {
	t.Helper()
	e, ok := errors.AsType[*registry.Error](err)
	if !ok {
		t.Fatalf("the error is %v, want one of the %s", err, side)
	}
	if e.Side != side || !errors.Is(err, kind) {
		t.Fatalf("the error is of the side %q and of the kind %q, want %q and %q: %v", e.Side, e.Kind, side, kind, err)
	}
	if e.Hint == "" && !errors.Is(err, context.Canceled) {
		t.Errorf("there is no advice: %v", err)
	}
	return e
}

// mentions wants a text to hold each part.
func mentions(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in: %s", part, text)
		}
	}
}

// result is the end of a copy.
type result struct {
	report copier.Report
	err    error
}

// start starts a copy and returns where its end is told.
func (e engine) start(ctx context.Context, job copier.Job) <-chan result {
	ended := make(chan result, 1)
	go func() {
		report, err := e.copier.Copy(ctx, job)
		ended <- result{report, err}
	}()
	return ended
}

// await is the end of a copy, which a minute is more than enough for.
func await(t *testing.T, ended <-chan result) result {
	t.Helper()
	select {
	case r := <-ended:
		return r
	case <-time.After(time.Minute):
		t.Fatal("the copy does not end")
		panic("unreachable")
	}
}

// untouched wants a repository to have neither a tag nor any of the image's
// blobs.
func untouched(t *testing.T, r *registrytest.Registry, repo string, image registrytest.Pushed) {
	t.Helper()
	if tags := r.Tags(t, repo); len(tags) > 0 {
		t.Errorf("%s has the tags %v", repo, tags)
	}
	for d := range image.Tree.Blobs {
		if r.HasBlob(t, repo, d) {
			t.Errorf("%s has the blob %s", repo, d)
		}
	}
}

// writes are the requests of a proxy that change what its registry holds.
func writes(p *registrytest.Proxy) []registrytest.Request {
	var found []registrytest.Request
	for _, r := range p.Requests() {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			found = append(found, r)
		}
	}
	return found
}
