package provider_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// TestLog_UnsolicitedResponse checks that unsolicited responses are not logged. net/http writes
// them to the standard logger without escaping, and Terraform treats them as lines of its own
// log.
func TestLog_UnsolicitedResponse(t *testing.T) {
	t.Parallel()
	src := registrytest.Scripted(t, registrytest.Behaviour{})
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	dst := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{}))
	dst.On("HEAD", "/v2/app/manifests/1").Times(1).Do(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\nunasked \x1b[31m::error::words")
	})
	ws, log := newInstalledWorkspace(t)
	ws.env = append(ws.env, "TF_LOG=TRACE")
	ws.converge(imageCopy("app", pushed.Ref, dst.Ref("app", "1")))
	text := log()
	assertLogLine(t, text, "HEAD", dst.Addr) // the log includes that of the provider
	if i := strings.Index(text, "unasked"); i >= 0 {
		t.Errorf("the log contains the unsolicited response: %q", text[max(0, i-200):min(len(text), i+200)])
	}
}
