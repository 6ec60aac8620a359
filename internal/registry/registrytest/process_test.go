package registrytest

import (
	"path/filepath"
	"strings"
	"testing"
)

// Tests change the working directory, HOME and PATH. A command must still be built from the
// initial directory and with the initial environment.
func TestBuildCommand_ChangedEnvironment(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("PATH", "")
	t.Setenv("GOPROXY", "off") // the module cache is below the initial HOME
	path, err := buildCommand("registry-v2")
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(startDir, "..", "..", "..", ".tools", "test", "registry-v2"); path != want {
		t.Errorf("buildCommand() = %s, want %s", path, want)
	}
}

func TestBuildCommand_Error(t *testing.T) {
	if _, err := buildCommand("absent"); err == nil || !strings.Contains(err.Error(), "go build absent") {
		t.Errorf("buildCommand() = %v, want the output of go build", err)
	}
}
