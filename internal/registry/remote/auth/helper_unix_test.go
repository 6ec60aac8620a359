//go:build unix

package auth_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// The child keeps the writing end of a pipe open. The end of file shows that the child has
// ended.
func TestHelper_KillsChildren(t *testing.T) {
	path := filepath.Join(t.TempDir(), "child")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	// The helper starts its endless output after it has opened the pipe and started the child.
	withHelper(t, "exec 9> '"+path+"'\nsleep 600 >&9 2> /dev/null &\ntrap '' PIPE; while :; do echo "+password+"; done 2> /dev/null")
	gone := make(chan error, 1)
	go func() {
		_, err := os.ReadFile(path)
		gone <- err
	}()
	store := newStore(t, auth.Options{DockerConfigJSON: `{"credsStore": "test"}`, DockerConfigPath: new(string), HelperTimeout: time.Hour})
	if _, err := store.Credential(t.Context(), "registry.example.com", "app"); err == nil {
		t.Error("Credential() error = nil, want an error")
	}
	select {
	case err := <-gone:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("the child still runs")
	}
}
