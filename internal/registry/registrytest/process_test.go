package registrytest

import (
	"path/filepath"
	"strings"
	"testing"
)

// Tests move to other directories and set HOME and PATH; what is built by then
// is what was there when the process began.
func TestCommandsAreBuiltWhereverATestIs(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("PATH", "")
	t.Setenv("GOPROXY", "off") // modules are where HOME was
	path, err := buildCommand("registry-v2")
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(startDir, "..", "..", "..", ".tools", "test", "registry-v2"); path != want {
		t.Errorf("built as %s, want %s", path, want)
	}
}

func TestACommandThatDoesNotBuild(t *testing.T) {
	if _, err := buildCommand("absent"); err == nil || !strings.Contains(err.Error(), "go build absent") {
		t.Errorf("%v, want what go build said", err)
	}
}
