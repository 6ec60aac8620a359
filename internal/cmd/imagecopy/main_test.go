package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// TestMain isolates the tests from the credentials and credential helpers of the user.
func TestMain(m *testing.M) {
	for _, name := range []string{"DOCKER_CONFIG", "REGISTRY_AUTH_FILE"} {
		if err := os.Setenv(name, filepath.Join(os.TempDir(), "no such place")); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

func TestLog_Levels(t *testing.T) {
	reg := registrytest.Scripted(t, registrytest.Behaviour{})
	pushed := reg.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	blobs, requests := regexp.MustCompile(`msg="blob copied"`), regexp.MustCompile(`msg=request `)

	verbose := runImagecopy(t, "-q", "-v", pushed.Ref, reg.Ref("one", "1"))
	if n := len(blobs.FindAllString(verbose.stderr, -1)) + strings.Count(verbose.stderr, `msg="blob mounted"`); n != 3 {
		t.Errorf("-v logged %d blobs, want 3:\n%s", n, verbose.stderr)
	}
	if requests.MatchString(verbose.stderr) {
		t.Errorf("-v logged requests:\n%s", verbose.stderr)
	}
	traced := runImagecopy(t, "-q", "-trace", pushed.Ref, reg.Ref("two", "1"))
	for line := range strings.Lines(traced.stderr) {
		if requests.MatchString(line) != strings.Contains(line, " level=TRACE ") {
			t.Errorf("-trace logged a request at another level than TRACE, or something else at that level: %s", line)
		}
	}
	if !requests.MatchString(traced.stderr) {
		t.Errorf("-trace logged no requests:\n%s", traced.stderr)
	}
}
