package provider_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// hostileSuite is one workspace with many registries, each of which performs another attack. It
// runs all Terraform operations for all registries at once.
type hostileSuite struct {
	*workspace
	secrets
	log         func() string
	good        *registrytest.Registry
	attacker    string
	hosts       []*hostile
	settings    map[string]string // entries of registries in the provider configuration
	unreachable []string          // hosts that never work
	outcomes    []outcome
	shown       []string
}

func newHostileSuite(t *testing.T) *hostileSuite {
	t.Helper()
	s := &hostileSuite{secrets: newSecrets(t), good: registrytest.Scripted(t, registrytest.Behaviour{}), settings: map[string]string{}}
	s.workspace, s.log = newInstalledWorkspace(t)
	s.attacker = newAttacker(t, s.secrets)
	s.env = append(s.env, "TF_LOG=TRACE", "TF_LOG_PROVIDER=TRACE", "TF_CLI_ARGS_plan=-parallelism=32", "TF_CLI_ARGS_apply=-parallelism=32", "TF_CLI_ARGS_destroy=-parallelism=32")
	for _, seed := range []string{"first", "second", "third"} {
		s.good.Push(t, "app", seed, registrytest.Image{Seed: seed})
	}
	return s
}

// addHostile starts hostile registries.
func (s *hostileSuite) addHostile(all []attack) {
	s.t.Helper()
	logins := map[string]map[string]string{}
	for i, one := range all {
		h := newHostile(s.t, s.secrets, s.attacker, one)
		h.Push(s.t, "base", "1", registrytest.Image{Seed: fmt.Sprint("base ", i)})
		h.Push(s.t, "other", "1", registrytest.Image{Seed: fmt.Sprint("other ", i)})
		s.hosts = append(s.hosts, h)
		switch {
		case one.login == dockerConfig:
			logins[h.Addr] = map[string]string{"username": user, "password": s.secrets["password"]}
		case h.CA != nil:
			s.settings[h.Addr] = fmt.Sprintf("%s, ca_certificate = %q", one.login.hcl, h.CA)
		default:
			s.settings[h.Addr] = one.login.hcl
		}
	}
	config, err := json.Marshal(map[string]any{"auths": logins})
	if err != nil {
		s.t.Fatal(err)
	}
	s.secrets["docker_config_json"] = string(config)
}

// addBehindProxy adds hosts that are only reachable through a proxy. The proxy responds instead
// of them and requires a login itself. If plain is false, clients send CONNECT requests.
func (s *hostileSuite) addBehindProxy(plain bool, hosts map[string]responder) {
	s.t.Helper()
	const password = canary + "password of the proxy/+"
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, _, _ := strings.Cut(r.Host, ":")
		hosts[name](&hostile{Proxy: s.hosts[0].Proxy, knownSecrets: []string{password}}, w, r)
	}))
	s.t.Cleanup(proxy.Close)
	variable := "HTTPS_PROXY"
	if plain {
		variable = "HTTP_PROXY"
	}
	at := url.URL{Scheme: "http", User: url.UserPassword(user, password), Host: proxy.Listener.Addr().String()}
	s.env = append(s.env, variable+"="+at.String(), "NO_PROXY=")
	for name := range hosts {
		s.addUnreachable(name, fmt.Sprintf("%s, plain_http = %t", basicLogin.hcl, plain))
	}
}

// addUnreachable adds a host that never works, with its entry of registries.
func (s *hostileSuite) addUnreachable(host, settings string) {
	s.settings[host] = settings
	s.unreachable = append(s.unreachable, host)
}

// setHostile activates or deactivates all attacks.
func (s *hostileSuite) setHostile(hostile bool) {
	for _, h := range s.hosts {
		h.active.Store(hostile)
	}
}

// configureCopies configures copies from and to each registry, and reads a manifest of it, if
// its attack affects that operation.
func (s *hostileSuite) configureCopies(seed, arguments string, more ...string) {
	s.t.Helper()
	blocks := []string{s.variable(s.workspace), providerBlock(s.settings, `docker_config_json = var.secret["docker_config_json"]`)}
	for i, h := range s.hosts {
		if h.at.data {
			blocks = append(blocks, fmt.Sprintf("data \"registry_manifest\" \"m%d\" {\n  reference = %q\n}", i, h.Ref("base", "1")))
		}
		if h.at.from {
			blocks = append(blocks, imageCopy(fmt.Sprint("from", i), h.Ref("base", "1"), s.good.Ref(fmt.Sprint("from", i), "1")))
		}
		if h.at.to {
			blocks = append(blocks, imageCopy(fmt.Sprint("to", i), s.good.Ref("app", seed), h.Ref("app", "1"), `on_destroy = "delete"`, arguments))
		}
	}
	s.configure(append(blocks, more...)...)
}

// copyBlocks returns additional copies from and to each registry.
func (s *hostileSuite) copyBlocks(from, to string) (blocks []string) {
	for i, h := range s.hosts {
		if h.at.from {
			blocks = append(blocks, imageCopy(fmt.Sprint(from, i), h.Ref("other", "1"), s.good.Ref(fmt.Sprint(from, i), "1")))
		}
		if h.at.to {
			blocks = append(blocks, imageCopy(fmt.Sprint(to, i), s.good.Ref("app", "third"), h.Ref(to, "1")))
		}
	}
	return blocks
}

// runFailing runs a command that must fail while the registries are hostile.
func (s *hostileSuite) runFailing(args ...string) {
	s.t.Helper()
	o := s.run(args...)
	if !o.failed {
		s.t.Errorf("%s succeeded", args[0])
	}
	s.outcomes = append(s.outcomes, o)
}

// planWhileHostile plans while applied resources can be neither read nor imported.
func (s *hostileSuite) planWhileHostile() {
	s.t.Helper()
	more := s.copyBlocks("new", "imported")
	for i, h := range s.hosts {
		if h.at.to {
			more = append(more, fmt.Sprintf("import {\n  to = registry_image_copy.imported%d\n  id = %q\n}", i, h.Ref("app", "1")))
		}
	}
	for i, host := range s.unreachable {
		more = append(more, fmt.Sprintf("data \"registry_manifest\" \"useless%d\" {\n  reference = \"%s/app:1\"\n}", i, host))
	}
	s.configureCopies("first", "", more...)
	file := filepath.Join(s.dir, "failed.tfplan")
	s.runFailing("plan", "-json", "-input=false", "-out="+file)
	if _, err := os.Stat(file); err == nil { // Terraform also writes the file of a failed plan
		s.recordShown(file)
	}
}

// applyWhileHostile applies a plan that was made while all registries worked. It updates
// existing resources and creates new ones, in both directions.
func (s *hostileSuite) applyWhileHostile() {
	s.t.Helper()
	s.setHostile(false)
	s.configureCopies("second", `additional_tags = ["more"]`, s.copyBlocks("taken", "created")...)
	changes := s.plan()
	s.outcomes = append(s.outcomes, changes.outcome)
	s.recordShown(changes.file)
	s.setHostile(true)
	s.runFailing("apply", "-json", "-input=false", changes.file)
}

// recordShown records what Terraform shows for a plan, or for the state if file is "".
func (s *hostileSuite) recordShown(file string) { s.shown = append(s.shown, s.workspace.shown(file)) }

// assertNoSecret checks that no secret is visible, that every attack was performed, and that an
// error names each registry.
func (s *hostileSuite) assertNoSecret() {
	s.t.Helper()
	texts := slices.Clone(s.shown)
	errors := ""
	for _, o := range s.outcomes {
		texts = append(texts, o.text)
		for _, d := range o.diagnostics {
			if d.Severity == "error" {
				errors += d.Summary + "\n" + d.Detail + "\n"
			}
		}
	}
	s.secrets.assertNoSecret(s.workspace, texts...)
	for _, h := range s.hosts {
		if h.attacks.Load() == 0 || !strings.Contains(errors, h.Addr+"/") {
			s.t.Errorf("%s: hostile %d times, and an error names it: %t", h.name, h.attacks.Load(), strings.Contains(errors, h.Addr+"/"))
		}
	}
	for _, host := range s.unreachable {
		if !strings.Contains(errors, host+"/app") {
			s.t.Errorf("no error names %s", host)
		}
	}
	log := s.log()
	assertLogLine(s.t, log, "request", s.hosts[0].Addr) // the log includes that of the provider
	assertNoCrash(s.t, log)
}

// assertNoCrash checks that a log contains neither a sign of a crash nor any of the other
// texts.
func assertNoCrash(t *testing.T, log string, others ...string) {
	t.Helper()
	for _, sign := range append(others, "panic:", "goroutine ", "plugin crashed") {
		if i := strings.Index(log, sign); i >= 0 {
			t.Errorf("the log says: %s", log[max(0, i-200):min(len(log), i+2000)])
		}
	}
}
