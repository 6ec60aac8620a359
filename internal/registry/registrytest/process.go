package registrytest

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

const commands = "github.com/terraform-provider-registry/terraform-provider-registry/internal/cmd/"

// V3 starts distribution v3 and stops it when t ends.
func V3(t testing.TB, options ...Option) *Registry {
	t.Helper()
	return start(t, "registry-v3", buildV3, options)
}

// V2 starts docker/distribution 2.8.3 and stops it when t ends.
func V2(t testing.TB, options ...Option) *Registry {
	t.Helper()
	return start(t, "registry-v2", buildV2, options)
}

// start starts a registry command as a child process with the given options.
func start(t testing.TB, name string, build func() (string, error), options []Option) *Registry {
	t.Helper()
	var s settings
	for _, option := range options {
		option(&s)
	}
	if s.tls {
		s.identity = newIdentity(t, s.names)
	}
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, s.flags(t)...)
	// Stderr goes to a file instead of a buffer, because a buffer needs a goroutine that a leak
	// check would find.
	stderr, err := os.Create(filepath.Join(t.TempDir(), name+".stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stderr.Close() }()
	cmd.Stderr = stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	// The child exits when its stdin is closed, which also happens if this process is killed.
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	addr, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		output, _ := os.ReadFile(stderr.Name())
		t.Fatalf("%s did not start: %v\n%s", name, err, output)
	}
	return newRegistry(t, strings.TrimSpace(addr), s)
}

// flags returns the settings as flags of the registry commands. The files of the flags exist
// until the test ends.
func (s *settings) flags(t testing.TB) []string {
	file := func(name string, content []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	flags := []string{"-stdin", fmt.Sprintf("-delete=%t", !s.noDelete), fmt.Sprintf("-readonly=%t", s.readOnly), fmt.Sprintf("-schema1=%t", s.schema1)}
	if s.root != "" {
		flags = append(flags, "-root", s.root)
	}
	if s.user != "" {
		hash, err := bcrypt.GenerateFromPassword([]byte(s.password), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		flags = append(flags, "-htpasswd", file("htpasswd", fmt.Appendf(nil, "%s:%s\n", s.user, hash)))
	}
	if s.tokens != nil {
		flags = append(flags, "-token-realm", s.tokens.URL, "-token-service", s.tokens.Service,
			"-token-issuer", s.tokens.issuer, "-token-rootcert", file("token.pem", s.tokens.cert))
	}
	if s.identity != nil {
		flags = append(flags, "-tls-cert", file("tls.pem", s.identity.cert), "-tls-key", file("tls.key", s.identity.key))
	}
	return flags
}

// Each command is built at most once per test binary, and only if it is used.
var (
	buildV3 = sync.OnceValues(func() (string, error) { return buildCommand("registry-v3") })
	buildV2 = sync.OnceValues(func() (string, error) { return buildCommand("registry-v2") })
)

// The initial working directory and environment of the process. Tests change both, but the go
// command needs them to find the module and its caches.
var (
	startDir, startDirErr = os.Getwd()
	startGo, startGoErr   = exec.LookPath("go")
	startEnv              = os.Environ()
)

// buildCommand builds a command and returns its path in the .tools directory of the checkout,
// which all packages share. It builds to a temporary path and renames the result, because tests
// of another package may be starting the existing binary.
func buildCommand(name string) (string, error) {
	if err := errors.Join(startDirErr, startGoErr); err != nil {
		return "", err
	}
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, ".tools", "test")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	fresh, err := os.MkdirTemp(dir, "build-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(fresh) }()
	cmd := exec.Command(startGo, "build", "-ldflags=-s -w", "-o", filepath.Join(fresh, name), commands+name)
	cmd.Dir, cmd.Env = startDir, startEnv
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build %s: %w\n%s", name, err, output)
	}
	path := filepath.Join(dir, name)
	return path, os.Rename(filepath.Join(fresh, name), path)
}

// moduleRoot returns the root directory of the module that contains startDir.
func moduleRoot() (string, error) {
	for dir := startDir; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("%s is in no Go module", startDir)
		}
	}
}
