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

// withHelper puts the helper docker-credential-test on PATH, a shell script
// that finds what it was asked in $server, and returns the file in which it
// notes each question.
func withHelper(t *testing.T, script string) (questions string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("helpers are shell scripts here, which Windows does not run")
	}
	dir := t.TempDir()
	questions = filepath.Join(dir, "questions")
	script = "#!/bin/sh\nserver=$(cat)\necho \"$1 $server\" >> '" + questions + "'\n" + script + "\n"
	if err := os.WriteFile(filepath.Join(dir, "docker-credential-test"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	return questions
}

// asked are the questions that a helper noted.
func asked(t *testing.T, questions string) []string {
	t.Helper()
	content, err := os.ReadFile(questions)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(content)), "\n")
}

const says = `printf '{"ServerURL":"x","Username":"helped","Secret":"` + password + `"}'`

func TestAHelperIsAsked(t *testing.T) {
	for name, test := range map[string]struct {
		config, host, question string
	}{
		"for every host":        {`{"credsStore": "test"}`, "ghcr.io", "get ghcr.io"},
		"for one host":          {`{"credHelpers": {"ghcr.io": "test", "quay.io": "missing"}, "credsStore": "missing"}`, "ghcr.io", "get ghcr.io"},
		"for one, as a URL":     {`{"credHelpers": {"https://ghcr.io/": "test"}}`, "ghcr.io", "get ghcr.io"},
		"for a port":            {`{"credHelpers": {"localhost:5000": "test"}}`, "localhost:5000", "get localhost:5000"},
		"for Docker Hub":        {`{"credsStore": "test"}`, "docker.io", "get https://index.docker.io/v1/"},
		"for Docker Hub, named": {`{"credHelpers": {"https://index.docker.io/v1/": "test"}}`, "docker.io", "get https://index.docker.io/v1/"},
		"before auths":          {`{"credsStore": "test", "auths": {"ghcr.io/x": {"auth": "` + base64Of("file:x") + `"}}}`, "ghcr.io", "get ghcr.io"},
	} {
		t.Run(name, func(t *testing.T) {
			questions := withHelper(t, says)
			got := find(t, inline(t, test.config), test.host+"/x")
			want := auth.Credential{Username: "helped", Password: password, Source: "the credential helper docker-credential-test, named in docker_config_json"}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("it is %+v", got)
			}
			if q := asked(t, questions); !reflect.DeepEqual(q, []string{test.question}) {
				t.Errorf("the helper was asked %q", q)
			}
		})
	}
}

func TestAHelperThatHasNoneLetsTheFileAnswer(t *testing.T) {
	withHelper(t, "echo 'credentials not found in native keychain'; exit 1")
	s := inline(t, `{"credsStore": "test", "auths": {"quay.io": {"auth": "`+base64Of("file:x")+`"}}}`)
	users(t, s, map[string]string{"quay.io/x": "file", "ghcr.io/x": ""})
}

func TestAHelperCanGiveAnIdentityToken(t *testing.T) {
	withHelper(t, `printf '{"Username":"<token>","Secret":"`+identityToken+`"}'`)
	c := find(t, inline(t, `{"credsStore": "test"}`), "ghcr.io/x")
	if c.IdentityToken != identityToken || c.Username != "" || c.Password != "" {
		t.Errorf("it is %+v", c)
	}
}

func TestHelpersThatFail(t *testing.T) {
	for name, test := range map[string]struct {
		script string
		words  []string
	}{
		"exit status": {"echo 'no basic auth credentials'; exit 3", []string{"exit status 3", "no basic auth credentials"}},
		"stderr": {"echo 'password: " + password + "' >&2; printf '\\033[31m profile not found\\r\\n::error::\\n' >&2; exit 1",
			[]string{"password: ***", "profile not found"}},
		"stdout":         {says + "; exit 1", []string{"(exit status 1): ***"}},
		"secret spelled": {"echo 'the secret is " + password + "'; exit 1", []string{"the secret is ***"}},
		"junk":           {"echo " + password, []string{"something else than a credential"}},
		"two values":     {says + ";" + says, []string{"something else"}},
		"nothing":        {"true", []string{"something else"}},
		"an array":       {"echo '[\"" + password + "\"]'", []string{"something else"}},
		"in silence":     {"exit 4", []string{"failed (exit status 4)\n"}},
		"too much":       {says + "; printf '%70000s' x | tr x ' '", []string{"something else"}},
		"a plain secret": {`echo 'password is correcthorse, token: batterystaple, "Secret" : "onehundred"' >&2; exit 1`, []string{"password is *** token: *** "}},
		"an answer":      {`printf '{ "Username" : "helped", "Secret" : "correcthorse" }'; exit 1`, []string{"failed (exit status 1): ***\n"}},
		"at length":      {`printf 'no %.0s' $(seq 500); exit 1`, []string{strings.Repeat("no ", 66) + "no…"}},
	} {
		t.Run(name, func(t *testing.T) {
			withHelper(t, test.script)
			_, err := inline(t, `{"credsStore": "test"}`).Credential(t.Context(), "ghcr.io", "x")
			words := slices.Concat(test.words, []string{"docker-credential-test", "docker_config_json", "echo ghcr.io | docker-credential-test get", `"ghcr.io" in registries`})
			refused(t, err, registry.ErrCredentials, words...)
			for _, plain := range []string{"correcthorse", "batterystaple", "onehundred"} {
				if strings.Contains(err.Error(), plain) {
					t.Errorf("the error has a secret in it: %v", err)
				}
			}
			if strings.ContainsAny(err.Error(), "\x1b\r\n") || strings.Contains(err.Error(), "::error") {
				t.Errorf("the error is not clean: %q", err.Error())
			}
		})
	}
}

// TestWhatAHelperSaysStaysHere runs a helper that writes to its standard error
// while this process's is a file.
func TestWhatAHelperSaysStaysHere(t *testing.T) {
	withHelper(t, "echo 'reading "+password+"' >&2; "+says)
	file, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	stderr := os.Stderr
	os.Stderr = file
	defer func() { os.Stderr = stderr }()
	users(t, inline(t, `{"credsStore": "test"}`), map[string]string{"ghcr.io/x": "helped"})
	content, err := os.ReadFile(file.Name())
	if err != nil || len(content) > 0 {
		t.Errorf("standard error got %q, %v", content, err)
	}
}

func TestAMissingHelper(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := inline(t, `{"credHelpers": {"ghcr.io": "missing"}}`).Credential(t.Context(), "ghcr.io", "x")
	refused(t, err, registry.ErrCredentials, "docker-credential-missing", "not on PATH")
}

// What is advised can be pasted: a shell finds one word where a name of the configuration stands, and runs
// nothing else.
func TestHelperAdvice_RunsNothing(t *testing.T) {
	for _, name := range []string{"x;touch canary", "x`touch canary`", "x$(touch canary)", "x' ; touch canary '", "x\ntouch canary", "x|touch canary", "x & touch canary", "x>canary", "x #", `x\`, `x"`, "*", "x\u2028y"} {
		for _, key := range []string{"credsStore", "credHelpers"} {
			config, err := json.Marshal(map[string]any{key: map[string]any{"credsStore": name, "credHelpers": map[string]string{"ghcr.io": name}}[key]})
			if err != nil {
				t.Fatal(err)
			}
			_, err = inline(t, string(config)).Credential(t.Context(), "ghcr.io", "x")
			refused(t, err, registry.ErrCredentials, "a name that no helper has", "Correct the helper's name in docker_config_json")
			e, _ := errors.AsType[*registry.Error](err)
			if strings.Contains(e.Hint, "touch") || strings.Contains(e.Hint, "docker-credential") {
				t.Errorf("the advice has the name %q in it: %s", name, e.Hint)
			}
			quoted, _, _ := strings.Cut(strings.TrimPrefix(e.Message, "the credential helper "), ", named in")
			dir := t.TempDir()
			// Each word on a line of its own, as a shell that the message is pasted into sees them.
			shell := exec.Command("sh", "-c", "printf '%s\\n' "+quoted)
			shell.Dir = dir
			out, err := shell.Output()
			if want := registry.Sanitize("docker-credential-"+name) + "\n"; err != nil || string(out) != want {
				t.Errorf("a shell reads %s as %q, %v; want %q", quoted, out, err, want)
			}
			if files, _ := os.ReadDir(dir); len(files) > 0 {
				t.Errorf("%s made %s", quoted, files[0].Name())
			}
		}
	}
}

func TestANameThatIsAPathRunsNothing(t *testing.T) {
	questions := withHelper(t, says)
	for _, name := range []string{"../test", "/test", "x/../../docker-credential-test", "test;id", "te st", "-x", `..\\test`} {
		_, err := inline(t, `{"credsStore": "`+name+`"}`).Credential(t.Context(), "ghcr.io", "x")
		refused(t, err, registry.ErrCredentials, "a name that no helper has")
	}
	if _, err := os.Stat(questions); err == nil {
		t.Error("the helper ran")
	}
}

func TestAnOddHostReachesNoHelper(t *testing.T) {
	questions := withHelper(t, says)
	s := inline(t, `{"credsStore": "test"}`)
	for _, host := range []string{"ghcr.io\nevil.com", "ghcr.io\n", "gh cr.io", "ghcr.io.", "$(id)"} {
		_, err := s.Credential(t.Context(), host, "x")
		refused(t, err, registry.ErrCredentials)
	}
	if _, err := os.Stat(questions); err == nil {
		t.Error("the helper ran")
	}
}

// It has an hour: the test hangs where what it prints does not end it.
func TestAHelperThatPrintsWithoutEndIsEnded(t *testing.T) {
	withHelper(t, "trap '' PIPE; while :; do echo "+password+"; done 2>/dev/null")
	s := newStore(t, auth.Options{DockerConfigJSON: `{"credsStore": "test"}`, DockerConfigPath: new(string), HelperTimeout: time.Hour})
	_, err := s.Credential(t.Context(), "ghcr.io", "x")
	refused(t, err, registry.ErrCredentials, "docker-credential-test", "printed something else than a credential")
}

func TestAHangingHelperIsEnded(t *testing.T) {
	withHelper(t, "exec sleep 1000")
	s := newStore(t, auth.Options{DockerConfigJSON: `{"credsStore": "test"}`, DockerConfigPath: new(string), HelperTimeout: 20 * time.Millisecond})
	_, err := s.Credential(t.Context(), "ghcr.io", "x")
	refused(t, err, registry.ErrCredentials, "docker-credential-test", "did not answer within 20ms")
}

// TestAHelperThatLeavesAChildBehind has one that keeps the output open, as
// those do that start an agent. Its answer counts.
func TestAHelperThatLeavesAChildBehind(t *testing.T) {
	questions := withHelper(t, `sleep 1000 & echo $! > "$0.child"; `+says)
	users(t, inline(t, `{"credsStore": "test"}`), map[string]string{"ghcr.io/x": "helped"})
	endChild(t, filepath.Join(filepath.Dir(questions), "docker-credential-test.child"))
}

func TestAHelperRunsOnceForAHost(t *testing.T) {
	questions := withHelper(t, says)
	clock := newClock()
	s := newStore(t, auth.Options{DockerConfigJSON: `{"credsStore": "test"}`, DockerConfigPath: new(string), Now: clock.Now})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for _, host := range []string{"ghcr.io", "quay.io"} {
				if c, err := s.Credential(t.Context(), host, "x"); c.Username != "helped" || err != nil {
					t.Errorf("%s gets %+v, %v", host, c, err)
				}
			}
		})
	}
	wg.Wait()
	if q := asked(t, questions); len(q) != 2 {
		t.Errorf("the helper was asked %q", q)
	}
	clock.pass(9 * time.Minute)
	users(t, s, map[string]string{"ghcr.io/x": "helped"})
	if q := asked(t, questions); len(q) != 2 {
		t.Errorf("after nine minutes the helper was asked again: %q", q)
	}
	clock.pass(2 * time.Minute)
	users(t, s, map[string]string{"ghcr.io/x": "helped"})
	if q := asked(t, questions); len(q) != 3 {
		t.Errorf("after eleven minutes the helper was not asked again: %q", q)
	}
}

// TestNobodyWaitsForAHelperLongerThanTheContext is the last one of its kind: the
// helper may be starting still when it ends, and a script that is written at
// that moment cannot be run.
func TestNobodyWaitsForAHelperLongerThanTheContext(t *testing.T) {
	withHelper(t, "exec sleep 1000")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := inline(t, `{"credsStore": "test"}`).Credential(ctx, "ghcr.io", "x")
	refused(t, err, registry.ErrCredentials, "was not waited for")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("it does not match context.Canceled: %v", err)
	}
	late, stop := context.WithDeadline(t.Context(), time.Now())
	defer stop()
	_, err = inline(t, `{"credsStore": "test"}`).Credential(late, "ghcr.io", "x")
	refused(t, err, registry.ErrCredentials, "was not waited for: it did not answer in time")
}
