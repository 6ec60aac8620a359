//go:build unix

package auth_test

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// Opening a pipe without a writer would block forever.
func TestConfigFile_NamedPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	store, err := auth.NewStore(auth.Options{DockerConfigPath: &path})
	if err == nil {
		_, err = store.Credential(t.Context(), "registry.example.com", "app")
	}
	if err == nil || !strings.Contains(err.Error(), "it is a pipe and not a file") {
		t.Errorf("error = %v, want one about the pipe", err)
	}
}
