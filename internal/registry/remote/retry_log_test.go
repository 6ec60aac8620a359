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

// Somebody who wonders why it takes so long reads the log at debug level.
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
	for _, want := range []string{`msg="it is tried again" after=`, "attempt=1", "HTTP 503", "is sent it another way", "HTTP 405"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%q is not in:\n%s", want, log.String())
		}
	}
}

// values keeps what is logged as it is handed to a log, before that quotes it.
type logValues struct {
	slog.Handler
	said *[]string
}

func (v logValues) Enabled(context.Context, slog.Level) bool { return true }

func (v logValues) Handle(_ context.Context, r slog.Record) error {
	*v.said = append(*v.said, r.Message)
	r.Attrs(func(a slog.Attr) bool {
		*v.said = append(*v.said, a.Value.Resolve().String())
		return true
	})
	return nil
}

// A log may be shown on a terminal, and read by a runner that takes orders from
// lines.
func TestLog_SanitizedValues(t *testing.T) {
	const evil = "\x1b[2J\r\n::set-output name=x::y\n"
	p := scripted(t, registrytest.Behaviour{})
	var said []string
	c := newClient(t, func(o *remote.Options) { o.Logger = slog.New(logValues{said: &said}) })
	long := strings.Repeat("x", 20_000)
	p.On(".*", ".*").Reply(http.StatusServiceUnavailable, http.Header{"Warning": {`299 - "` + long + `"`}, "Content-Type": {"text/" + long}},
		string(registrytest.ErrorBody("CODE"+evil+long, evil+long)))
	_, err := c.pull(t, p.Ref("app", "1")).GetManifest(t.Context(), "1")
	if err == nil || len(said) < 4 {
		t.Fatalf("%v; logged is %q", err, said)
	}
	for _, text := range append(said, err.Error()) {
		if len(text) > 2000 || strings.ContainsFunc(text, unicode.IsControl) {
			t.Errorf("%d bytes are logged: %.300q", len(text), text)
		}
	}
}
