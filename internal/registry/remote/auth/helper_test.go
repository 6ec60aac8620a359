package auth_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// withHelper puts the helper docker-credential-test on PATH, a shell script that reads the
// requested server from $server. It returns the file to which the helper appends each request.
func withHelper(t *testing.T, script string) (requests string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("helpers are shell scripts here, which Windows does not run")
	}
	dir := t.TempDir()
	requests = filepath.Join(dir, "requests")
	script = "#!/bin/sh\nserver=$(cat)\necho \"$1 $server\" >> '" + requests + "'\n" + script + "\n"
	if err := os.WriteFile(filepath.Join(dir, "docker-credential-test"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	return requests
}

// helperRequests returns the requests that a helper has recorded.
func helperRequests(t *testing.T, requests string) []string {
	t.Helper()
	content, err := os.ReadFile(requests)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(content)), "\n")
}

// printCredential is a script that prints a credential.
const printCredential = `printf '{"ServerURL":"x","Username":"helped","Secret":"` + password + `"}'`

func TestHelper_Request(t *testing.T) {
	for name, test := range map[string]struct {
		config, host, request string
	}{
		"any_host":          {`{"credsStore": "test"}`, "ghcr.io", "get ghcr.io"},
		"one_host":          {`{"credHelpers": {"ghcr.io": "test", "quay.io": "missing"}, "credsStore": "missing"}`, "ghcr.io", "get ghcr.io"},
		"one_host_as_url":   {`{"credHelpers": {"https://ghcr.io/": "test"}}`, "ghcr.io", "get ghcr.io"},
		"port":              {`{"credHelpers": {"localhost:5000": "test"}}`, "localhost:5000", "get localhost:5000"},
		"docker_hub":        {`{"credsStore": "test"}`, "docker.io", "get https://index.docker.io/v1/"},
		"docker_hub_by_url": {`{"credHelpers": {"https://index.docker.io/v1/": "test"}}`, "docker.io", "get https://index.docker.io/v1/"},
		"before_auths":      {`{"credsStore": "test", "auths": {"ghcr.io/x": {"auth": "` + base64Of("file:x") + `"}}}`, "ghcr.io", "get ghcr.io"},
	} {
		t.Run(name, func(t *testing.T) {
			requests := withHelper(t, printCredential)
			got := credentialFor(t, inlineStore(t, test.config), test.host+"/x")
			want := auth.Credential{Username: "helped", Password: password, Source: "the credential helper docker-credential-test, named in docker_config_json"}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("Credential() = %+v, want %+v", got, want)
			}
			if q := helperRequests(t, requests); !reflect.DeepEqual(q, []string{test.request}) {
				t.Errorf("helper requests = %q, want %q", q, test.request)
			}
		})
	}
}

func TestHelper_NoCredential(t *testing.T) {
	withHelper(t, "echo 'credentials not found in native keychain'; exit 1")
	s := inlineStore(t, `{"credsStore": "test", "auths": {"quay.io": {"auth": "`+base64Of("file:x")+`"}}}`)
	assertUsernames(t, s, map[string]string{"quay.io/x": "file", "ghcr.io/x": ""})
}

func TestHelper_IdentityToken(t *testing.T) {
	withHelper(t, `printf '{"Username":"<token>","Secret":"`+identityToken+`"}'`)
	c := credentialFor(t, inlineStore(t, `{"credsStore": "test"}`), "ghcr.io/x")
	if c.IdentityToken != identityToken || c.Username != "" || c.Password != "" {
		t.Errorf("Credential() = %+v, want the identity token", c)
	}
}

func TestHelper_Failures(t *testing.T) {
	for name, test := range map[string]struct {
		script string
		words  []string
	}{
		"exit_status": {"echo 'no basic auth credentials'; exit 3", []string{"exit status 3", "no basic auth credentials"}},
		"stderr": {"echo 'password: " + password + "' >&2; printf '\\033[31m profile not found\\r\\n::error::\\n' >&2; exit 1",
			[]string{"password: ***", "profile not found"}},
		"stdout":             {printCredential + "; exit 1", []string{"(exit status 1): ***"}},
		"secret_in_sentence": {"echo 'the secret is " + password + "'; exit 1", []string{"the secret is ***"}},
		"junk":               {"echo " + password, []string{"something else than a credential"}},
		"two_values":         {printCredential + ";" + printCredential, []string{"something else"}},
		"no_output":          {"true", []string{"something else"}},
		"array":              {"echo '[\"" + password + "\"]'", []string{"something else"}},
		"no_message":         {"exit 4", []string{"failed (exit status 4)\n"}},
		"too_much_output":    {printCredential + "; printf '%70000s' x | tr x ' '", []string{"something else"}},
		"plain_word_secret":  {`echo 'password is correcthorse, token: batterystaple, "Secret" : "onehundred"' >&2; exit 1`, []string{"password is *** token: *** "}},
		"json_on_failure":    {`printf '{ "Username" : "helped", "Secret" : "correcthorse" }'; exit 1`, []string{"failed (exit status 1): ***\n"}},
		"long_message":       {`printf 'no %.0s' $(seq 500); exit 1`, []string{strings.Repeat("no ", 66) + "no…"}},
	} {
		t.Run(name, func(t *testing.T) {
			withHelper(t, test.script)
			_, err := inlineStore(t, `{"credsStore": "test"}`).Credential(t.Context(), "ghcr.io", "x")
			words := slices.Concat(test.words, []string{"docker-credential-test", "docker_config_json", "echo ghcr.io | docker-credential-test get", `"ghcr.io" in registries`})
			assertError(t, err, registry.ErrCredentials, words...)
			for _, plain := range []string{"correcthorse", "batterystaple", "onehundred"} {
				if strings.Contains(err.Error(), plain) {
					t.Errorf("Credential() error = %v, which contains a secret", err)
				}
			}
			if strings.ContainsAny(err.Error(), "\x1b\r\n") || strings.Contains(err.Error(), "::error") {
				t.Errorf("Credential() error = %q, which is not sanitized", err.Error())
			}
		})
	}
}

// The helper writes to its standard error while that of this process is a file.
func TestHelper_StderrNotInherited(t *testing.T) {
	withHelper(t, "echo 'reading "+password+"' >&2; "+printCredential)
	file, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	stderr := os.Stderr
	os.Stderr = file
	defer func() { os.Stderr = stderr }()
	assertUsernames(t, inlineStore(t, `{"credsStore": "test"}`), map[string]string{"ghcr.io/x": "helped"})
	content, err := os.ReadFile(file.Name())
	if err != nil || len(content) > 0 {
		t.Errorf("standard error = %q, %v; want nothing", content, err)
	}
}

func TestHelper_NotInstalled(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := inlineStore(t, `{"credHelpers": {"ghcr.io": "missing"}}`).Credential(t.Context(), "ghcr.io", "x")
	assertError(t, err, registry.ErrCredentials, "docker-credential-missing", "not on PATH")
}

// A shell command in a hint can be pasted: a name from the configuration is one word, and the
// shell runs nothing else.
func TestHelper_UnsafeNames(t *testing.T) {
	for _, name := range []string{"x;touch canary", "x`touch canary`", "x$(touch canary)", "x' ; touch canary '", "x\ntouch canary", "x|touch canary", "x & touch canary", "x>canary", "x #", `x\`, `x"`, "*", "x\u2028y"} {
		for _, key := range []string{"credsStore", "credHelpers"} {
			config, err := json.Marshal(map[string]any{key: map[string]any{"credsStore": name, "credHelpers": map[string]string{"ghcr.io": name}}[key]})
			if err != nil {
				t.Fatal(err)
			}
			_, err = inlineStore(t, string(config)).Credential(t.Context(), "ghcr.io", "x")
			assertError(t, err, registry.ErrCredentials, "a name that no helper has", "Correct the helper's name in docker_config_json")
			e, _ := errors.AsType[*registry.Error](err)
			if strings.Contains(e.Hint, "touch") || strings.Contains(e.Hint, "docker-credential") {
				t.Errorf("hint contains the name %q: %s", name, e.Hint)
			}
			quoted, _, _ := strings.Cut(strings.TrimPrefix(e.Message, "the credential helper "), ", named in")
			dir := t.TempDir()
			// The shell prints each of its words on a separate line.
			shell := exec.Command("sh", "-c", "printf '%s\\n' "+quoted)
			shell.Dir = dir
			out, err := shell.Output()
			if want := registry.Sanitize("docker-credential-"+name) + "\n"; err != nil || string(out) != want {
				t.Errorf("shell words of %s = %q, %v; want %q", quoted, out, err, want)
			}
			if files, _ := os.ReadDir(dir); len(files) > 0 {
				t.Errorf("the shell command %s created %s", quoted, files[0].Name())
			}
		}
	}
}

func TestHelper_NameIsPath(t *testing.T) {
	requests := withHelper(t, printCredential)
	for _, name := range []string{"../test", "/test", "x/../../docker-credential-test", "test;id", "te st", "-x", `..\\test`} {
		_, err := inlineStore(t, `{"credsStore": "`+name+`"}`).Credential(t.Context(), "ghcr.io", "x")
		assertError(t, err, registry.ErrCredentials, "a name that no helper has")
	}
	if _, err := os.Stat(requests); err == nil {
		t.Error("the helper ran")
	}
}

func TestHelper_InvalidHost(t *testing.T) {
	requests := withHelper(t, printCredential)
	s := inlineStore(t, `{"credsStore": "test"}`)
	for _, host := range []string{"ghcr.io\nevil.com", "ghcr.io\n", "gh cr.io", "ghcr.io.", "$(id)"} {
		_, err := s.Credential(t.Context(), host, "x")
		assertError(t, err, registry.ErrCredentials)
	}
	if _, err := os.Stat(requests); err == nil {
		t.Error("the helper ran")
	}
}

// The timeout is an hour, so the test hangs if the output does not end the helper.
func TestHelper_EndlessOutput(t *testing.T) {
	withHelper(t, "trap '' PIPE; while :; do echo "+password+"; done 2>/dev/null")
	s := newStore(t, auth.Options{DockerConfigJSON: `{"credsStore": "test"}`, DockerConfigPath: new(string), HelperTimeout: time.Hour})
	_, err := s.Credential(t.Context(), "ghcr.io", "x")
	assertError(t, err, registry.ErrCredentials, "docker-credential-test", "printed something else than a credential")
}

func TestHelper_Timeout(t *testing.T) {
	withHelper(t, "exec sleep 1000")
	s := newStore(t, auth.Options{DockerConfigJSON: `{"credsStore": "test"}`, DockerConfigPath: new(string), HelperTimeout: 20 * time.Millisecond})
	_, err := s.Credential(t.Context(), "ghcr.io", "x")
	assertError(t, err, registry.ErrCredentials, "docker-credential-test", "did not answer within 20ms")
}

// The child keeps the output of the helper open, like an agent. The result is used anyway.
func TestHelper_BackgroundChild(t *testing.T) {
	requests := withHelper(t, `sleep 1000 & echo $! > "$0.child"; `+printCredential)
	assertUsernames(t, inlineStore(t, `{"credsStore": "test"}`), map[string]string{"ghcr.io/x": "helped"})
	killChild(t, filepath.Join(filepath.Dir(requests), "docker-credential-test.child"))
}

func TestHelper_Cache(t *testing.T) {
	requests := withHelper(t, printCredential)
	clock := newClock()
	s := newStore(t, auth.Options{DockerConfigJSON: `{"credsStore": "test"}`, DockerConfigPath: new(string), Now: clock.Now})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for _, host := range []string{"ghcr.io", "quay.io"} {
				if c, err := s.Credential(t.Context(), host, "x"); c.Username != "helped" || err != nil {
					t.Errorf("Credential(%s) = %+v, %v", host, c, err)
				}
			}
		})
	}
	wg.Wait()
	if q := helperRequests(t, requests); len(q) != 2 {
		t.Errorf("helper requests = %q, want 2", q)
	}
	clock.advance(9 * time.Minute)
	assertUsernames(t, s, map[string]string{"ghcr.io/x": "helped"})
	if q := helperRequests(t, requests); len(q) != 2 {
		t.Errorf("helper requests after nine minutes = %q, want 2", q)
	}
	clock.advance(2 * time.Minute)
	assertUsernames(t, s, map[string]string{"ghcr.io/x": "helped"})
	if q := helperRequests(t, requests); len(q) != 3 {
		t.Errorf("helper requests after eleven minutes = %q, want 3", q)
	}
}

// This must be the last test of helpers: the helper may still be starting when the test ends,
// and a script that is written at that moment cannot be executed.
func TestHelper_ContextEnds(t *testing.T) {
	withHelper(t, "exec sleep 1000")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := inlineStore(t, `{"credsStore": "test"}`).Credential(ctx, "ghcr.io", "x")
	assertError(t, err, registry.ErrCredentials, "was not waited for")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Credential() error = %v, want context.Canceled", err)
	}
	expired, stop := context.WithDeadline(t.Context(), time.Now())
	defer stop()
	_, err = inlineStore(t, `{"credsStore": "test"}`).Credential(expired, "ghcr.io", "x")
	assertError(t, err, registry.ErrCredentials, "was not waited for: it did not answer in time")
}
