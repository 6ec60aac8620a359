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

// hintsOf are those of a command line.
func hintsOf(t *testing.T, args ...string) hints {
	t.Helper()
	o := parsed(t, args...)
	client, err := o.client(nil)
	if err != nil {
		t.Fatal(err)
	}
	return hints{client, o}
}

// What a hint says of -plain-http is the whole value: that the host it is about
// is spoken to otherwise and every other host as before.
func TestAHintOfPlainHTTPKeepsWhatIsRight(t *testing.T) {
	list := file(t, "list", "localhost:1/a:1 vm:1/a:1\nghcr.io/a/b:1 vm:1/b:1\nlocalhost:2/a:1 vm:2/a:1")
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
		// Where a registry sends its clients is no host of the run.
		{[]string{"localhost:1/a:1", "vm:1/a:1"}, "storage:1", "localhost:1,storage:1", true},
		{[]string{"-plain-http=vm:1,storage:1", "localhost:1/a:1", "vm:1/a:1"}, "vm:1", "storage:1 only", false},
	} {
		setting := "plain_http = false"
		if c.plain {
			setting = "plain_http = true"
		}
		err := &registry.Error{Kind: registry.ErrProtocol, Hint: "If so, set " + registry.Setting(c.host, setting) + "."}
		if got, want := hintsOf(t, c.args...).about(pair{}, err), "If so, set -plain-http="+c.want+"."; got != want {
			t.Errorf("%q, %s: %s\nwant %s", c.args, c.host, got, want)
		}
	}
}

// Whoever does what the hints say gets there, at most one hint for each host.
func TestHintsOfPlainHTTPLeadToACopy(t *testing.T) {
	image := registrytest.Image{Seed: "a"}
	plain, secured := registrytest.V3(t), registrytest.V3(t, registrytest.TLS())
	fromPlain, fromSecured := plain.Push(t, "app", "1", image).Ref, secured.Push(t, "app", "1", image).Ref
	authority := file(t, "ca.pem", string(secured.CA))
	flag := regexp.MustCompile(`[Ss]et (-plain-http=\S+?)(?: only)?\.\n`)
	for name, pair := range map[string][2]string{
		"plain to TLS": {fromPlain, secured.Ref("prod", "1")},
		"TLS to plain": {fromSecured, plain.Ref("prod", "1")},
		"TLS":          {fromSecured, secured.Ref("other", "1")},
		"plain":        {fromPlain, plain.Ref("other", "1")},
	} {
		for _, begin := range []string{"-q", "-plain-http", "-plain-http=false", "-plain-http=vm:1," + secured.Addr} {
			value := begin
			s := imagecopy(t, value, "-ca", authority, pair[0], pair[1])
			for hinted := 0; s.status == failed && hinted < 2; hinted++ {
				said := flag.FindStringSubmatch(s.stderr)
				if said == nil {
					break
				}
				value = said[1]
				s = imagecopy(t, value, "-ca", authority, pair[0], pair[1])
			}
			if s.status != succeeded {
				t.Errorf("%s, from %s: with %s it says\n%s", name, begin, value, s.stderr)
			}
		}
	}
}

// Nothing that only the provider can be told is advised here.
func TestAHintNamesNoSettingOfTheProvider(t *testing.T) {
	args := []string{"a.b/c:1", "b.c/d:1"}
	for _, c := range []struct {
		flags        []string
		setting      string
		before, want string
	}{
		{nil, `ca_certificate = file("ca.pem")`, "Set ", "Set -ca ca.pem."},
		{[]string{"-ca", file(t, "mine.pem", string(registrytest.V3(t, registrytest.TLS()).CA))}, `ca_certificate = file("ca.pem")`, "Set ", "Add what is missing to "},
		{nil, `username = "…", password = "…"`, "Set ", "Run docker login b.c."},
		{nil, "max_concurrent_requests = 4, requests_per_second = 5", "Try again later, or set ", "Try again later, or set -max-concurrent-requests=4 -requests-per-second=5."},
		{nil, `token_hosts = ["x"]`, "If so, set ", "If so, use the provider: imagecopy has no flag for this."},
	} {
		err := &registry.Error{Hint: c.before + registry.Setting("b.c", c.setting) + ", or more."}
		got := hintsOf(t, append(c.flags, args...)...).about(pair{}, err)
		if !strings.HasPrefix(got, c.want) || strings.Contains(got, "registries") || strings.Contains(got, "or more") {
			t.Errorf("of %s it says: %s", c.setting, got)
		}
	}
}

// The engine's own words, where they name settings.
func TestTheEnginesHintsCanBeFollowed(t *testing.T) {
	reg := registrytest.Scripted(t, registrytest.Behaviour{})
	source := reg.Push(t, "app", "1", registrytest.Image{Seed: "a"}).Ref
	held := registrytest.V2(t, registrytest.BasicAuth("ci", "right"))
	limited := registrytest.Intercept(t, reg)
	limited.On("GET|HEAD", ".*/manifests/.*").Do(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Retry-After", "3600") // longer than anybody waits here
		w.WriteHeader(http.StatusTooManyRequests)
	})
	foreign := registrytest.Intercept(t, reg)
	foreign.On("GET|HEAD", ".*").Do(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
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
		"a helper that is not there":   {`{"credsStore": "nobody-has-this"}`, []string{source, held.Ref("prod", "1")}, `Try it with: echo \S+ \| docker-credential-nobody-has-this get\. Or h` + anotherFile},
		"a configuration that is none": {`{`, []string{source, held.Ref("prod", "1")}, `Correct the file, or h` + anotherFile},
		"too many requests":            {`{}`, []string{limited.Ref("app", "1"), reg.Ref("prod", "1")}, `.*, or set -max-concurrent-requests=4 -requests-per-second=5\.`},
		"tokens from elsewhere": {`{"auths": {"` + foreign.Addr + `": {"auth": "Y2k6eA=="}}}`, []string{foreign.Ref("app", "1"), reg.Ref("prod", "1")},
			`If \S+ has its tokens issued there, use the provider: imagecopy has no flag for this\. Otherwise .*`},
		"an unknown authority": {`{}`, []string{"-plain-http=" + reg.Addr, source, secured.Ref("prod", "1")},
			`Nobody this machine trusts .* Set -ca ca\.pem\. The file holds its authority's certificate, or its own where it signed that itself\.`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("DOCKER_CONFIG", filepath.Dir(file(t, "config.json", c.config)))
			imagecopy(t, append([]string{"-q"}, c.args...)...).ended(t, failed, `imagecopy: .*\n  `+c.want+`\n`)
		})
	}
}

// -ca is for every host: it does not say that loopback speaks TLS.
func TestAnAuthorityLeavesLoopbackPlain(t *testing.T) {
	authority := file(t, "ca.pem", string(registrytest.V3(t, registrytest.TLS()).CA))
	for flag, want := range map[string]bool{"-q": true, "-plain-http=false": false, "-plain-http=vm:1": false} {
		client := hintsOf(t, flag, "-ca", authority, "localhost:1/a:1", "ghcr.io/a/b:1").client
		if client.PlainHTTP("localhost:1") != want || client.PlainHTTP("ghcr.io") {
			t.Errorf("%s: plain HTTP is %t with loopback and %t elsewhere", flag, client.PlainHTTP("localhost:1"), client.PlainHTTP("ghcr.io"))
		}
	}
}
