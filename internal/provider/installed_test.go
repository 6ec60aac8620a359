package provider_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// built is where the provider is as people install it; made when it is first
// wanted, and removed when all tests are over.
var built struct {
	once sync.Once
	dir  string
	err  error
}

func builtProvider() (string, error) {
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "provider"); built.err != nil {
			return
		}
		out, err := exec.Command("go", "build", "-o", built.dir, "github.com/terraform-provider-registry/terraform-provider-registry").CombinedOutput()
		if err != nil {
			built.err = fmt.Errorf("%w: %s", err, out)
		}
	})
	return built.dir, built.err
}

func TestMain(m *testing.M) {
	status := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	os.Exit(status)
}

// installed makes a workspace whose Terraform starts the provider itself, as it
// does for people, for what can be seen only so: its log. It waits between
// retries as it does for people, too.
func installed(t *testing.T) (w *workspace, log func() string) {
	t.Helper()
	w = newWorkspace(t)
	dir, err := builtProvider()
	if err != nil {
		t.Fatal(err)
	}
	const address = "terraform-provider-registry/registry"
	overrides := fmt.Sprintf("provider_installation {\n  dev_overrides {\n    \"registry.terraform.io/%s\" = %q\n    \"registry.opentofu.org/%s\" = %q\n  }\n  direct {}\n}\n", address, dir, address, dir)
	cliConfig := filepath.Join(w.dir, "installed.tfrc")
	if err := os.WriteFile(cliConfig, []byte(overrides), 0o600); err != nil {
		t.Fatal(err)
	}
	logFile := filepath.Join(w.dir, "terraform.log")
	w.env = append(w.env, "TF_REATTACH_PROVIDERS=", "TF_CLI_CONFIG_FILE="+cliConfig, "TF_LOG_PATH="+logFile,
		"HOME="+w.dir, "DOCKER_CONFIG=", "REGISTRY_AUTH_FILE=", "XDG_RUNTIME_DIR=")
	return w, func() string {
		content, err := os.ReadFile(logFile)
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
}

func TestLogTellsTheStory(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	ws, log := installed(t)
	ws.env = append(ws.env, "TF_LOG=DEBUG")
	ws.up(imageCopy("app", pushed.Ref, dst.Ref("app", "1")))
	said := log()
	for digest := range pushed.Tree.Manifests {
		wantLine(t, said, "manifest", string(digest), "took=")
	}
	for digest := range pushed.Tree.Blobs {
		wantLine(t, said, "blob", string(digest), "copied", "took=")
	}
}

// wantLine wants a line to have all of the texts.
func wantLine(t *testing.T, log string, texts ...string) {
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

func TestSecretsAreNowhere(t *testing.T) {
	t.Parallel()
	const password = "c4nary/of+the=provider"
	src, dst := registrytest.V3(t, registrytest.BasicAuth("ci", password)), registrytest.V2(t, registrytest.BasicAuth("ci", password))
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	const credential = `{ username = "ci", password = var.password }`
	provider := fmt.Sprintf("provider \"registry\" {\n  registries = {\n    %q = %s\n    %q = %s\n  }\n}", src.Addr, credential, dst.Addr, credential)
	copied := imageCopy("app", pushed.Ref, dst.Ref("app", "1"))
	ws, log := installed(t)
	ws.env = append(ws.env, "TF_LOG=TRACE", "TF_VAR_password="+password)
	// An ephemeral variable, because Terraform itself shows others in its plans.
	ws.configure("variable \"password\" {\n  ephemeral = true\n}", provider, copied)
	plan := ws.plan()
	shown, _, _ := ws.command("show", "-json", plan.file)
	seen := plan.text + shown + ws.apply(plan).text
	registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "1"))

	ws.env = append(ws.env, "TF_VAR_password="+password+"-wrong")
	failed := ws.planFails()
	failed.wantError("401", `the user "ci"`, fmt.Sprintf("registries[%q]", dst.Addr))

	state, err := os.ReadFile(filepath.Join(ws.dir, "terraform.tfstate"))
	if err != nil {
		t.Fatal(err)
	}
	seen += failed.text + string(state) + log() + private(t, state)
	for _, form := range []string{
		password, url.QueryEscape(password), url.PathEscape(password),
		base64.StdEncoding.EncodeToString([]byte("ci:" + password)),
	} {
		if i := strings.Index(seen, form); i >= 0 {
			t.Errorf("%q is shown: %s", form, seen[max(0, i-200):min(len(seen), i+200)])
		}
	}
}

// private is the private state of every resource, decoded.
func private(t *testing.T, state []byte) string {
	t.Helper()
	var parsed struct {
		Resources []struct {
			Instances []struct {
				Private []byte `json:"private"`
			} `json:"instances"`
		} `json:"resources"`
	}
	if err := json.Unmarshal(state, &parsed); err != nil {
		t.Fatal(err)
	}
	all := ""
	for _, r := range parsed.Resources {
		for _, i := range r.Instances {
			var values map[string][]byte
			if err := json.Unmarshal(i.Private, &values); err != nil {
				t.Fatal(err)
			}
			for _, value := range values {
				all += string(value)
			}
		}
	}
	if !strings.Contains(all, "sha256:") {
		t.Errorf("the private state has no record: %s", all)
	}
	return all
}
