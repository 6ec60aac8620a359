package main

import (
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// net/http writes unsolicited responses of a server to the standard log without sanitizing
// them. The read loop of a connection does so while the copy continues on other connections.
func testUnsolicitedResponse(t *testing.T, program string) {
	source := registrytest.Scripted(t, registrytest.Behaviour{})
	pushed := source.Push(t, "app", "1", registrytest.MultiArch("a"))
	destination := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{}))
	destination.On("HEAD", "/v2/prod/manifests/1").Times(1).Do(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\nunasked \x1b[31m::error::words")
	})
	output, err := exec.CommandContext(t.Context(), program, "-q", pushed.Ref, destination.Ref("prod", "1")).CombinedOutput()
	if err != nil {
		t.Errorf("%v", err)
	}
	if strings.Contains(string(output), "unasked") {
		t.Errorf("output contains the unsolicited response: %q", output)
	}
}
