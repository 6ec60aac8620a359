package provider_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// builtBinary is the compiled provider. It is built on first use and removed after all tests.
var builtBinary struct {
	once sync.Once
	dir  string
	err  error
}

func buildProvider() (string, error) {
	builtBinary.once.Do(func() {
		if builtBinary.dir, builtBinary.err = os.MkdirTemp("", "provider"); builtBinary.err != nil {
			return
		}
		out, err := exec.Command("go", "build", "-o", builtBinary.dir, "github.com/terraform-provider-registry/terraform-provider-registry").CombinedOutput()
		if err != nil {
			builtBinary.err = fmt.Errorf("%w: %s", err, out)
		}
	})
	return builtBinary.dir, builtBinary.err
}

func TestMain(m *testing.M) {
	status := m.Run()
	if builtBinary.dir != "" {
		_ = os.RemoveAll(builtBinary.dir)
	}
	os.Exit(status)
}

// newInstalledWorkspace creates a workspace in which Terraform starts the provider process
// itself, so that tests can read its log. The provider waits between retries as in production.
func newInstalledWorkspace(t *testing.T) (w *workspace, log func() string) {
	t.Helper()
	w = newWorkspace(t) // may skip the test
	dir, err := buildProvider()
	if err != nil {
		t.Fatal(err)
	}
	log = w.useProviderBinary(dir)
	return w, log
}

// useProviderBinary configures Terraform to start the provider in a directory. It returns a
// function that reads the log.
func (w *workspace) useProviderBinary(dir string) (log func() string) {
	w.t.Helper()
	const address = "terraform-provider-registry/registry"
	overrides := fmt.Sprintf("provider_installation {\n  dev_overrides {\n    \"registry.terraform.io/%s\" = %q\n    \"registry.opentofu.org/%s\" = %q\n  }\n  direct {}\n}\n", address, dir, address, dir)
	cliConfig := filepath.Join(w.dir, "installed.tfrc")
	if err := os.WriteFile(cliConfig, []byte(overrides), 0o600); err != nil {
		w.t.Fatal(err)
	}
	logFile := filepath.Join(w.dir, "terraform.log")
	w.env = append(w.env, "TF_REATTACH_PROVIDERS=", "TF_CLI_CONFIG_FILE="+cliConfig, "TF_LOG_PATH="+logFile,
		"HOME="+w.dir, "DOCKER_CONFIG=", "REGISTRY_AUTH_FILE=", "XDG_RUNTIME_DIR=")
	return func() string {
		content, err := os.ReadFile(logFile)
		if err != nil {
			w.t.Fatal(err)
		}
		return string(content)
	}
}

func TestLog_CopiedContent(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	ws, log := newInstalledWorkspace(t)
	ws.env = append(ws.env, "TF_LOG=DEBUG")
	ws.converge(imageCopy("app", pushed.Ref, dst.Ref("app", "1")))
	text := log()
	for digest := range pushed.Tree.Manifests {
		assertLogLine(t, text, "manifest", string(digest), "took=")
	}
	for digest := range pushed.Tree.Blobs {
		assertLogLine(t, text, "blob", string(digest), "copied", "took=")
	}
}

// assertLogLine checks that one line of the log contains all texts.
func assertLogLine(t *testing.T, log string, texts ...string) {
	t.Helper()
lines:
	for line := range strings.Lines(log) {
		for _, text := range texts {
			if !strings.Contains(line, text) {
				continue lines
			}
		}
		return
	}
	t.Errorf("no line of the log has all of %q", texts)
}
