package remote_test

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"unicode"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

// The log at debug level tells the user why an operation takes so long.
func TestLog_RetryReason(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{})
	var log strings.Builder
	c := newClient(t, func(o *remote.Options) {
		o.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	p.On("PUT", ".*").Times(1).Reply(http.StatusServiceUnavailable, nil, "")
	p.On("PUT", ".*").Times(1).Reply(http.StatusMethodNotAllowed, nil, "")
	if _, err := c.push(t, p.Ref("app", "1")).PutBlob(t.Context(), descriptor("content"), newBody(t, "content").get()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`msg="retrying request" after=`, "attempt=1", "HTTP 503", "rejected the upload mode", "HTTP 405"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not contain %q:\n%s", want, log.String())
		}
	}
}

// logValues is a slog.Handler that records each value before it is quoted.
type logValues struct {
	slog.Handler
	values *[]string
}

func (v logValues) Enabled(context.Context, slog.Level) bool { return true }

func (v logValues) Handle(_ context.Context, r slog.Record) error {
	*v.values = append(*v.values, r.Message)
	r.Attrs(func(a slog.Attr) bool {
		*v.values = append(*v.values, a.Value.Resolve().String())
		return true
	})
	return nil
}

// A log may be displayed on a terminal, or read by a CI runner that executes commands in
// log lines.
func TestLog_SanitizedValues(t *testing.T) {
	const evil = "\x1b[2J\r\n::set-output name=x::y\n"
	p := scripted(t, registrytest.Behaviour{})
	var logged []string
	c := newClient(t, func(o *remote.Options) { o.Logger = slog.New(logValues{values: &logged}) })
	long := strings.Repeat("x", 20_000)
	p.On(".*", ".*").Reply(http.StatusServiceUnavailable, http.Header{"Warning": {`299 - "` + long + `"`}, "Content-Type": {"text/" + long}},
		string(registrytest.ErrorBody("CODE"+evil+long, evil+long)))
	_, err := c.pull(t, p.Ref("app", "1")).GetManifest(t.Context(), "1")
	if err == nil || len(logged) < 4 {
		t.Fatalf("GetManifest() = %v, logged = %q", err, logged)
	}
	for _, text := range append(logged, err.Error()) {
		if len(text) > 2000 || strings.ContainsFunc(text, unicode.IsControl) {
			t.Errorf("logged value has %d bytes, want a short line without control characters: %.300q", len(text), text)
		}
	}
}
