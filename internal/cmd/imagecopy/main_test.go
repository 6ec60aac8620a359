package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
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

// output is the result of a run.
type output struct {
	status         int
	stdout, stderr string
}

// runImagecopy runs the command with a standard error that is not a terminal.
func runImagecopy(t *testing.T, args ...string) output {
	t.Helper()
	return runImagecopyContext(t.Context(), args...)
}

// runImagecopyContext runs the command until it ends or ctx ends.
func runImagecopyContext(ctx context.Context, args ...string) output {
	return runImagecopyStdin(ctx, strings.NewReader(""), args...)
}

// runImagecopyStdin runs the command with the given standard input.
func runImagecopyStdin(ctx context.Context, stdin io.Reader, args ...string) output {
	var stdout, stderr bytes.Buffer
	o, err := parse(args, stdin)
	if err != nil {
		return output{reportUsageError(err, &stdout, &stderr), stdout.String(), stderr.String()}
	}
	return output{run(ctx, o, &stdout, &stderr, false), stdout.String(), stderr.String()}
}

// mustParse parses a valid command line.
func mustParse(t *testing.T, args ...string) options {
	t.Helper()
	o, err := parse(args, strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// expect fails the test if the exit status differs, or if standard error does not match the
// regular expression.
func (s output) expect(t *testing.T, status int, stderr string) {
	t.Helper()
	if s.status != status {
		t.Errorf("status %d, want %d; standard error:\n%s", s.status, status, s.stderr)
	}
	if !regexp.MustCompile(`^(?:` + stderr + `)$`).MatchString(s.stderr) {
		t.Errorf("standard error:\n%s\nwant it to match\n%s", s.stderr, stderr)
	}
}

// report decodes the report of a single copy.
func (s output) report(t *testing.T) map[string]any {
	t.Helper()
	return decode[map[string]any](t, s.stdout)
}

// reports decodes the reports of a list.
func (s output) reports(t *testing.T) []map[string]any {
	t.Helper()
	return decode[[]map[string]any](t, s.stdout)
}

func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return v
}

// writeFile writes a file and returns its path.
func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReport_Copy(t *testing.T) {
	v3, v2 := registrytest.V3(t), registrytest.V2(t)
	for _, test := range []struct {
		name     string
		from, to *registrytest.Registry
		content  registrytest.Content
	}{
		{"v3_to_v2", v3, v2, registrytest.MultiArch("a")},
		{"v2_to_v3", v2, v3, registrytest.DockerList("b")},
	} {
		t.Run(test.name, func(t *testing.T) {
			pushed := test.from.Push(t, "acme/app", "1", test.content)
			destination := test.to.Ref("prod/app", "stable")

			first := runImagecopy(t, pushed.Ref, destination)
			first.expect(t, succeeded, "")
			registrytest.Same(t, pushed.Tree, test.to.Read(t, "prod/app", "stable"))
			var bytes int64
			for _, b := range pushed.Tree.Blobs {
				bytes += b.Size
			}
			report := first.report(t)
			for field, want := range map[string]any{
				"source": pushed.Ref, "destination": destination,
				"digest": string(pushed.Digest), "media_type": pushed.MediaType,
				"tagged":        []any{"stable"},
				"manifests":     float64(len(pushed.Tree.Manifests)),
				"copied":        map[string]any{"blobs": float64(len(pushed.Tree.Blobs)), "bytes": float64(bytes)},
				"mounted":       map[string]any{"blobs": 0.0, "bytes": 0.0},
				"already_there": map[string]any{"blobs": 0.0, "bytes": 0.0},
				"retries":       0.0,
			} {
				if fmt.Sprint(report[field]) != fmt.Sprint(want) {
					t.Errorf("%s = %v, want %v", field, report[field], want)
				}
			}
			for _, field := range []string{"requests", "seconds"} {
				if n, _ := report[field].(float64); n <= 0 {
					t.Errorf("%s = %v, want more than 0", field, report[field])
				}
			}
			if got := requestCount(t, first.stdout); got != report["requests"] {
				t.Errorf("requests of the hosts = %v, want %v", got, report["requests"])
			}
			if failure, ok := report["error"]; ok {
				t.Errorf("error = %v", failure)
			}

			again := runImagecopy(t, pushed.Ref, destination)
			again.expect(t, succeeded, "")
			if report := again.report(t); report["requests"] != 2.0 || report["manifests"] != 0.0 {
				t.Errorf("second copy sent %v requests and pushed %v manifests, want 2 and 0", report["requests"], report["manifests"])
			}
		})
	}
}

// requestCount returns the number of requests to both hosts of a report. It checks that each
// host had concurrent requests within the limit and transferred a blob.
func requestCount(t *testing.T, stdout string) float64 {
	t.Helper()
	report := decode[struct {
		Hosts map[string]struct {
			Requests map[string]float64 `json:"requests"`
			Peak     int                `json:"peak_requests"`
		} `json:"hosts"`
	}](t, stdout)
	sum := 0.0
	for name, host := range report.Hosts {
		for _, n := range host.Requests {
			sum += n
		}
		if host.Peak < 1 || host.Peak > 16 || host.Requests["GET blob"]+host.Requests["PUT upload"] == 0 {
			t.Errorf("host %s = %+v, want a blob and 1 to 16 concurrent requests", name, host)
		}
	}
	if len(report.Hosts) != 2 {
		t.Errorf("report has %d hosts, want 2", len(report.Hosts))
	}
	return sum
}

func TestReport_LongestWait(t *testing.T) {
	p := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{}))
	pushed := p.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	p.On("GET|HEAD", "/v2/app/manifests/1").Times(1).Reply(http.StatusServiceUnavailable, http.Header{"Retry-After": {"1"}}, "")
	report := runImagecopy(t, p.Ref("app", "1"), p.Ref("prod", "1")).report(t)
	if waited, _ := report["longest_wait_seconds"].(float64); report["digest"] != string(pushed.Digest) || report["longest_wait_for"] != "retry" || waited < 1 {
		t.Errorf("longest wait = %v s for %v, want 1 s or more for a retry", report["longest_wait_seconds"], report["longest_wait_for"])
	}
	report = runImagecopy(t, p.Ref("app", "1"), p.Ref("prod", "1")).report(t)
	if why, waited := report["longest_wait_for"]; waited || report["longest_wait_seconds"] != 0.0 {
		t.Errorf("longest wait = %v s for %v, want none", report["longest_wait_seconds"], why)
	}
}

func TestCopy_DigestWithTag(t *testing.T) {
	reg := registrytest.Scripted(t, registrytest.Behaviour{})
	old := reg.Push(t, "app", "1", registrytest.Image{Seed: "old"})
	reg.Push(t, "app", "1", registrytest.Image{Seed: "new"})
	runImagecopy(t, "-q", old.Ref+"@"+string(old.Digest), reg.Ref("prod/app", "1")).expect(t, succeeded, "")
	if got := reg.Digest(t, "prod/app", "1"); got != old.Digest {
		t.Errorf("digest at the destination = %s, want %s", got, old.Digest)
	}
}

func TestReport_Quiet(t *testing.T) {
	reg := registrytest.Scripted(t, registrytest.Behaviour{})
	pushed := reg.Push(t, "app", "1", registrytest.MultiArch("a"))
	list := writeFile(t, "list", pushed.Ref+" "+reg.Ref("two", "1"))
	for _, args := range [][]string{
		{"-q", pushed.Ref, reg.Ref("one", "1")},
		{"-q", "-list", list},
	} {
		s := runImagecopy(t, args...)
		s.expect(t, succeeded, "")
		if s.stdout != "" {
			t.Errorf("standard output of %q =\n%s\nwant none", args, s.stdout)
		}
	}
}

func TestReport_WriteError(t *testing.T) {
	reg := registrytest.Scripted(t, registrytest.Behaviour{})
	pushed := reg.Push(t, "app", "1", registrytest.MultiArch("a"))
	var stderr bytes.Buffer
	status := run(t.Context(), mustParse(t, pushed.Ref, reg.Ref("prod", "1")), fullDisk{}, &stderr, false)
	output{status: status, stderr: stderr.String()}.expect(t, failed, "imagecopy: the report cannot be written: no space left\n")
}

// fullDisk is a file on a full disk.
type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left") }

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

// withUsagePattern returns a pattern for an error that is followed by the usage.
func withUsagePattern(why string) string { return regexp.QuoteMeta(why + "\n" + usage) }

func TestParse_UsageErrors(t *testing.T) {
	list := writeFile(t, "list", "a b.c/d:1")
	const form = "\n  A destination is host/repository:tag, .*\n"
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"unknown_flag":             {[]string{"-frobnicate", "a", "b"}, withUsagePattern("flag provided but not defined: -frobnicate")},
		"invalid_host":             {[]string{"-plain-http=maybe", "a", "b.c/d:1"}, withUsagePattern(`-plain-http=maybe: "maybe" is no host; say true, false, or hosts as in HOST:PORT,HOST`)},
		"empty_host":               {[]string{"-plain-http=b.c,", "a", "b.c/d:1"}, withUsagePattern(`-plain-http=b.c,: "" is no host; say true, false, or hosts as in HOST:PORT,HOST`)},
		"repository":               {[]string{"-plain-http=b.c/d", "a", "b.c/d:1"}, withUsagePattern(`-plain-http=b.c/d: "b.c/d" is no host; say true, false, or hosts as in HOST:PORT,HOST`)},
		"no_arguments":             {nil, withUsagePattern("give SRC and DST, with all flags before them: two words and not 0")},
		"one_argument":             {[]string{"a"}, withUsagePattern("give SRC and DST, with all flags before them: two words and not 1")},
		"flag_after_arguments":     {[]string{"a", "b.c/d:1", "-v"}, withUsagePattern("give SRC and DST, with all flags before them: two words and not 3")},
		"list_and_pair":            {[]string{"-list", list, "a", "b.c/d:1"}, withUsagePattern("give a list or a pair, not both")},
		"missing_list":             {[]string{"-list", "/no/such/list"}, "-list: open /no/such/list: .*\n"},
		"invalid_source":           {[]string{"UPPER/x:1", "b.c/d:1"}, "cannot read the reference UPPER/x:1: .*\n  .*\n"},
		"invalid_destination":      {[]string{"a", "http://b/c:1"}, "cannot read the reference http://b/c:1: .*\n  .*\n"},
		"destination_by_digest":    {[]string{"a", "b.c/d@sha256:" + strings.Repeat("0", 64)}, "cannot use the destination b.c/d@sha256:0{64}: it has a digest, .*" + form},
		"destination_without_host": {[]string{"a", "b:1"}, `cannot use the destination b:1: it names no registry; if Docker Hub is meant, write "docker.io/library/b:1"` + form},
		"destination_without_tag":  {[]string{"a", "b.c/d"}, "cannot use the destination b.c/d: it has no tag" + form},
		"same_reference":           {[]string{"alpine", "index.docker.io/library/alpine:latest"}, "source and destination are the same, docker.io/library/alpine:latest: there is nothing to copy\n"},
		"missing_ca_file":          {[]string{"-ca", "/no/such/ca", "a", "b.c/d:1"}, "-ca: open /no/such/ca: .*\n"},
		"ca_without_certificate":   {[]string{"-ca", list, "a", "b.c/d:1"}, "-ca " + regexp.QuoteMeta(list) + ": the file holds no certificate in PEM form\n"},
	} {
		t.Run(name, func(t *testing.T) {
			s := runImagecopy(t, c.args...)
			s.expect(t, invalidUsage, "imagecopy: "+c.want)
			if s.stdout != "" {
				t.Errorf("standard output:\n%s", s.stdout)
			}
		})
	}
}

func TestHelp_ListsEveryFlag(t *testing.T) {
	for _, arg := range []string{"-h", "-help", "--help"} {
		s := runImagecopy(t, arg)
		s.expect(t, succeeded, "")
		if !strings.HasPrefix(s.stdout, "usage: imagecopy [flags] SRC DST\n") {
			t.Errorf("%s printed\n%s", arg, s.stdout)
		}
		new(options).flags().VisitAll(func(f *flag.Flag) {
			if !regexp.MustCompile(`(?m)^  -` + f.Name + `\b`).MatchString(s.stdout) {
				t.Errorf("%s does not mention -%s", arg, f.Name)
			}
		})
	}
}

// dockerConfig sets a Docker configuration with a login for a host, and returns the name of the
// file.
func dockerConfig(t *testing.T, host, user, password string) string {
	t.Helper()
	auth := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	path := writeFile(t, "config.json", fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, host, auth))
	t.Setenv("DOCKER_CONFIG", filepath.Dir(path))
	return path
}
