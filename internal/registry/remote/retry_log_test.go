package remote_test

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

// Somebody who wonders why it takes so long reads the log at debug level.
func TestTheLogSaysWhyARequestIsSentAgain(t *testing.T) {
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
