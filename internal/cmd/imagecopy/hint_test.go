package main

import (
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// hintsOf returns the hints of a command line.
func hintsOf(t *testing.T, args ...string) hints {
	t.Helper()
	o := mustParse(t, args...)
	client, err := o.client(nil)
	if err != nil {
		t.Fatal(err)
	}
	return hints{client, o}
}

// A hint about -plain-http contains the complete value of the flag. It changes the protocol for
// the host of the error and keeps it for every other host.
func TestHints_PlainHTTPValue(t *testing.T) {
	list := writeFile(t, "list", "localhost:1/a:1 vm:1/a:1\nghcr.io/a/b:1 vm:1/b:1\nlocalhost:2/a:1 vm:2/a:1")
	for _, c := range []struct {
		args       []string
		host, want string
		plain      bool
	}{
		{[]string{"localhost:1/a:1", "vm:1/a:1"}, "vm:1", "localhost:1,vm:1", true},
		{[]string{"localhost:1/a:1", "localhost:2/a:1"}, "localhost:2", "localhost:1 only", false},
		{[]string{"ghcr.io/a/b:1", "localhost:2/a:1"}, "localhost:2", "false", false},
		{[]string{"localhost:1/a:1", "localhost:1/b:1"}, "localhost:1", "false", false},
		{[]string{"-plain-http=vm:1", "localhost:1/a:1", "vm:1/a:1"}, "localhost:1", "localhost:1,vm:1", true},
		{[]string{"-plain-http", "localhost:1/a:1", "vm:1/a:1"}, "vm:1", "localhost:1 only", false},
		{[]string{"-plain-http=false", "localhost:1/a:1", "vm:1/a:1"}, "vm:1", "vm:1", true},
		{[]string{"-list", list}, "vm:2", "localhost:1,localhost:2,vm:2", true},
		// The target of a redirect is not a host of a copy.
		{[]string{"localhost:1/a:1", "vm:1/a:1"}, "storage:1", "localhost:1,storage:1", true},
		{[]string{"-plain-http=vm:1,storage:1", "localhost:1/a:1", "vm:1/a:1"}, "vm:1", "storage:1 only", false},
	} {
		setting := "plain_http = false"
		if c.plain {
			setting = "plain_http = true"
		}
		err := &registry.Error{Kind: registry.ErrProtocol, Hint: "If so, set " + registry.Setting(c.host, setting) + "."}
		if got, want := hintsOf(t, c.args...).forError(pair{}, err), "If so, set -plain-http="+c.want+"."; got != want {
			t.Errorf("forError() of %q, %s = %s\nwant %s", c.args, c.host, got, want)
		}
	}
}

// Following the hints, at most one for each host, leads to a successful copy.
func TestHints_PlainHTTPLeadsToCopy(t *testing.T) {
	image := registrytest.Image{Seed: "a"}
	plain, secured := registrytest.V3(t), registrytest.V3(t, registrytest.TLS())
	fromPlain, fromSecured := plain.Push(t, "app", "1", image).Ref, secured.Push(t, "app", "1", image).Ref
	authority := writeFile(t, "ca.pem", string(secured.CA))
	flag := regexp.MustCompile(`[Ss]et (-plain-http=\S+?)(?: only)?\.\n`)
	for name, pair := range map[string][2]string{
		"plain_to_tls": {fromPlain, secured.Ref("prod", "1")},
		"tls_to_plain": {fromSecured, plain.Ref("prod", "1")},
		"tls":          {fromSecured, secured.Ref("other", "1")},
		"plain":        {fromPlain, plain.Ref("other", "1")},
	} {
		for _, begin := range []string{"-q", "-plain-http", "-plain-http=false", "-plain-http=vm:1," + secured.Addr} {
			value := begin
			s := runImagecopy(t, value, "-ca", authority, pair[0], pair[1])
			for hinted := 0; s.status == failed && hinted < 2; hinted++ {
				match := flag.FindStringSubmatch(s.stderr)
				if match == nil {
					break
				}
				value = match[1]
				s = runImagecopy(t, value, "-ca", authority, pair[0], pair[1])
			}
			if s.status != succeeded {
				t.Errorf("%s, starting with %s: %s printed\n%s", name, begin, value, s.stderr)
			}
		}
	}
}

// No advice names a setting that only the provider has.
func TestHints_ProviderSettings(t *testing.T) {
	args := []string{"a.b/c:1", "b.c/d:1"}
	for _, c := range []struct {
		flags        []string
		setting      string
		before, want string
	}{
		{nil, `ca_certificate = file("ca.pem")`, "Set ", "Set -ca ca.pem."},
		{[]string{"-ca", writeFile(t, "mine.pem", string(registrytest.V3(t, registrytest.TLS()).CA))}, `ca_certificate = file("ca.pem")`, "Set ", "Add what is missing to "},
		{nil, `username = "…", password = "…"`, "Set ", "Run docker login b.c."},
		{nil, "max_concurrent_requests = 4, requests_per_second = 5", "Try again later, or set ", "Try again later, or set -max-concurrent-requests=4 -requests-per-second=5."},
		{nil, `token_hosts = ["x"]`, "If so, set ", "If so, use the provider: imagecopy has no flag for this."},
	} {
		err := &registry.Error{Hint: c.before + registry.Setting("b.c", c.setting) + ", or more."}
		got := hintsOf(t, append(c.flags, args...)...).forError(pair{}, err)
		if !strings.HasPrefix(got, c.want) || strings.Contains(got, "registries") || strings.Contains(got, "or more") {
			t.Errorf("forError() of %s = %s", c.setting, got)
		}
	}
}

// Each hint of the engine that names a setting is translated.
func TestHints_EngineErrors(t *testing.T) {
	reg := registrytest.Scripted(t, registrytest.Behaviour{})
	source := reg.Push(t, "app", "1", registrytest.Image{Seed: "a"}).Ref
	protected := registrytest.V2(t, registrytest.BasicAuth("ci", "right"))
	limited := registrytest.Intercept(t, reg)
	limited.On("GET|HEAD", ".*/manifests/.*").Do(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Retry-After", "3600") // longer than the engine waits
		w.WriteHeader(http.StatusTooManyRequests)
	})
	untrusted := registrytest.Intercept(t, reg)
	untrusted.On("GET|HEAD", ".*").Do(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="https://tokens.example.com/token"`)
		w.WriteHeader(http.StatusUnauthorized)
	})
	secured := registrytest.V3(t, registrytest.TLS())
	const anotherFile = `ave another one read: docker's is in the directory DOCKER_CONFIG, podman's is REGISTRY_AUTH_FILE\.`
	for name, c := range map[string]struct {
		config string
		args   []string
		want   string
	}{
		"missing_helper":    {`{"credsStore": "nobody-has-this"}`, []string{source, protected.Ref("prod", "1")}, `Try it with: echo \S+ \| docker-credential-nobody-has-this get\. Or h` + anotherFile},
		"invalid_config":    {`{`, []string{source, protected.Ref("prod", "1")}, `Correct the file, or h` + anotherFile},
		"too_many_requests": {`{}`, []string{limited.Ref("app", "1"), reg.Ref("prod", "1")}, `.*, or set -max-concurrent-requests=4 -requests-per-second=5\.`},
		"untrusted_realm": {`{"auths": {"` + untrusted.Addr + `": {"auth": "Y2k6eA=="}}}`, []string{untrusted.Ref("app", "1"), reg.Ref("prod", "1")},
			`If \S+ has its tokens issued there, use the provider: imagecopy has no flag for this\. Otherwise .*`},
		"unknown_authority": {`{}`, []string{"-plain-http=" + reg.Addr, source, secured.Ref("prod", "1")},
			`Nobody this machine trusts .* Set -ca ca\.pem\. The file holds its authority's certificate, or its own where it signed that itself\.`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("DOCKER_CONFIG", filepath.Dir(writeFile(t, "config.json", c.config)))
			runImagecopy(t, append([]string{"-q"}, c.args...)...).expect(t, failed, `imagecopy: .*\n  `+c.want+`\n`)
		})
	}
}
