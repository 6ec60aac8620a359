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

// TestMain keeps the credentials of whoever runs the tests, and their credential
// helpers, out of them.
func TestMain(m *testing.M) {
	for _, name := range []string{"DOCKER_CONFIG", "REGISTRY_AUTH_FILE"} {
		if err := os.Setenv(name, filepath.Join(os.TempDir(), "no such place")); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// said is what a run gave back.
type said struct {
	status         int
	stdout, stderr string
}

// imagecopy runs the command with nobody looking at its standard error.
func imagecopy(t *testing.T, args ...string) said {
	t.Helper()
	return imagecopyUntil(t.Context(), args...)
}

// imagecopyUntil runs it until it ends or ctx does.
func imagecopyUntil(ctx context.Context, args ...string) said {
	return imagecopyWith(ctx, strings.NewReader(""), args...)
}

// imagecopyWith runs it with something on its standard input.
func imagecopyWith(ctx context.Context, stdin io.Reader, args ...string) said {
	var stdout, stderr bytes.Buffer
	o, err := parse(args, stdin)
	if err != nil {
		return said{misuse(err, &stdout, &stderr), stdout.String(), stderr.String()}
	}
	return said{run(ctx, o, &stdout, &stderr, false), stdout.String(), stderr.String()}
}

// parsed is a command line that makes sense.
func parsed(t *testing.T, args ...string) options {
	t.Helper()
	o, err := parse(args, strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// ended fails the test where a run had another status, or said something else
// than the regular expression on standard error.
func (s said) ended(t *testing.T, status int, stderr string) {
	t.Helper()
	if s.status != status {
		t.Errorf("status %d, want %d; standard error:\n%s", s.status, status, s.stderr)
	}
	if !regexp.MustCompile(`^(?:` + stderr + `)$`).MatchString(s.stderr) {
		t.Errorf("standard error:\n%s\nwant it to match\n%s", s.stderr, stderr)
	}
}

// report reads the report of a run that made one copy, as somebody else would.
func (s said) report(t *testing.T) map[string]any {
	t.Helper()
	return decode[map[string]any](t, s.stdout)
}

// reports reads those of a list.
func (s said) reports(t *testing.T) []map[string]any {
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

// file writes a file and returns its name.
func file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestACopyArrivesAndIsReported(t *testing.T) {
	v3, v2 := registrytest.V3(t), registrytest.V2(t)
	for _, way := range []struct {
		name     string
		from, to *registrytest.Registry
		content  registrytest.Content
	}{
		{"v3 to 2.8.3", v3, v2, registrytest.MultiArch("a")},
		{"2.8.3 to v3", v2, v3, registrytest.DockerList("b")},
	} {
		t.Run(way.name, func(t *testing.T) {
			pushed := way.from.Push(t, "acme/app", "1", way.content)
			destination := way.to.Ref("prod/app", "stable")

			first := imagecopy(t, pushed.Ref, destination)
			first.ended(t, succeeded, "")
			registrytest.Same(t, pushed.Tree, way.to.Read(t, "prod/app", "stable"))
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
			if got := asked(t, first.stdout); got != report["requests"] {
				t.Errorf("the hosts were asked %v times and there were %v requests", got, report["requests"])
			}
			if failure, there := report["error"]; there {
				t.Errorf("error = %v", failure)
			}

			again := imagecopy(t, pushed.Ref, destination)
			again.ended(t, succeeded, "")
			if report := again.report(t); report["requests"] != 2.0 || report["manifests"] != 0.0 {
				t.Errorf("the same copy again took %v requests and pushed %v manifests, want 2 and 0", report["requests"], report["manifests"])
			}
		})
	}
}

// asked is how many requests a report says that its two hosts got, each of which
// must have had some under way and given or taken a blob.
func asked(t *testing.T, stdout string) float64 {
	t.Helper()
	said := decode[struct {
		Hosts map[string]struct {
			Requests map[string]float64 `json:"requests"`
			Peak     int                `json:"peak_requests"`
		} `json:"hosts"`
	}](t, stdout)
	sum := 0.0
	for name, host := range said.Hosts {
		for _, n := range host.Requests {
			sum += n
		}
		if host.Peak < 1 || host.Peak > 16 || host.Requests["GET blob"]+host.Requests["PUT upload"] == 0 {
			t.Errorf("of %s the report says %+v", name, host)
		}
	}
	if len(said.Hosts) != 2 {
		t.Errorf("%d hosts were asked, want 2", len(said.Hosts))
	}
	return sum
}

func TestTheReportSaysWhatACopyWaitedFor(t *testing.T) {
	p := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{}))
	pushed := p.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	p.On("GET|HEAD", "/v2/app/manifests/1").Times(1).Reply(http.StatusServiceUnavailable, http.Header{"Retry-After": {"1"}}, "")
	report := imagecopy(t, p.Ref("app", "1"), p.Ref("prod", "1")).report(t)
	if waited, _ := report["longest_wait_seconds"].(float64); report["digest"] != string(pushed.Digest) || report["longest_wait_for"] != "retry" || waited < 1 {
		t.Errorf("it waited %v s for %v, want 1 s or more for a retry", report["longest_wait_seconds"], report["longest_wait_for"])
	}
	report = imagecopy(t, p.Ref("app", "1"), p.Ref("prod", "1")).report(t)
	if why, waited := report["longest_wait_for"]; waited || report["longest_wait_seconds"] != 0.0 {
		t.Errorf("it waited %v s for %v, and there is nothing to wait for", report["longest_wait_seconds"], why)
	}
}

func TestADigestIsCopiedWhateverTheTagNames(t *testing.T) {
	reg := registrytest.Scripted(t, registrytest.Behaviour{})
	old := reg.Push(t, "app", "1", registrytest.Image{Seed: "old"})
	reg.Push(t, "app", "1", registrytest.Image{Seed: "new"})
	imagecopy(t, "-q", old.Ref+"@"+string(old.Digest), reg.Ref("prod/app", "1")).ended(t, succeeded, "")
	if got := reg.Digest(t, "prod/app", "1"); got != old.Digest {
		t.Errorf("the destination has %s, want %s", got, old.Digest)
	}
}

func TestQuietWritesNoReport(t *testing.T) {
	reg := registrytest.Scripted(t, registrytest.Behaviour{})
	pushed := reg.Push(t, "app", "1", registrytest.MultiArch("a"))
	list := file(t, "list", pushed.Ref+" "+reg.Ref("two", "1"))
	for _, args := range [][]string{
		{"-q", pushed.Ref, reg.Ref("one", "1")},
		{"-q", "-list", list},
	} {
		s := imagecopy(t, args...)
		s.ended(t, succeeded, "")
		if s.stdout != "" {
			t.Errorf("%q wrote\n%s", args, s.stdout)
		}
	}
}

func TestAReportThatCannotBeWrittenIsAFailure(t *testing.T) {
	reg := registrytest.Scripted(t, registrytest.Behaviour{})
	pushed := reg.Push(t, "app", "1", registrytest.MultiArch("a"))
	var stderr bytes.Buffer
	status := run(t.Context(), parsed(t, pushed.Ref, reg.Ref("prod", "1")), full{}, &stderr, false)
	said{status: status, stderr: stderr.String()}.ended(t, failed, "imagecopy: the report cannot be written: no space left\n")
}

// full is a file on a full disk.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestALogSaysWhatHappens(t *testing.T) {
	reg := registrytest.Scripted(t, registrytest.Behaviour{})
	pushed := reg.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	blobs, requests := regexp.MustCompile(`msg="blob copied"`), regexp.MustCompile(`msg=request `)

	story := imagecopy(t, "-q", "-v", pushed.Ref, reg.Ref("one", "1"))
	if n := len(blobs.FindAllString(story.stderr, -1)) + strings.Count(story.stderr, `msg="blob mounted"`); n != 3 {
		t.Errorf("-v told of %d blobs, want 3:\n%s", n, story.stderr)
	}
	if requests.MatchString(story.stderr) {
		t.Errorf("-v told of requests:\n%s", story.stderr)
	}
	whole := imagecopy(t, "-q", "-trace", pushed.Ref, reg.Ref("two", "1"))
	for line := range strings.Lines(whole.stderr) {
		if requests.MatchString(line) != strings.Contains(line, " level=TRACE ") {
			t.Errorf("-trace told of a request at another level than TRACE, or of something else there: %s", line)
		}
	}
	if !requests.MatchString(whole.stderr) {
		t.Errorf("-trace did not tell of requests:\n%s", whole.stderr)
	}
}

// withForm is what is said where the command line is not of the right form.
func withForm(why string) string { return regexp.QuoteMeta(why + "\n" + usage) }

func TestACommandLineThatMakesNoSenseIsExplained(t *testing.T) {
	list := file(t, "list", "a b.c/d:1")
	const form = "\n  A destination is host/repository:tag, .*\n"
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"unknown flag":          {[]string{"-frobnicate", "a", "b"}, withForm("flag provided but not defined: -frobnicate")},
		"no host":               {[]string{"-plain-http=maybe", "a", "b.c/d:1"}, withForm(`-plain-http=maybe: "maybe" is no host; say true, false, or hosts as in HOST:PORT,HOST`)},
		"an empty host":         {[]string{"-plain-http=b.c,", "a", "b.c/d:1"}, withForm(`-plain-http=b.c,: "" is no host; say true, false, or hosts as in HOST:PORT,HOST`)},
		"a repository":          {[]string{"-plain-http=b.c/d", "a", "b.c/d:1"}, withForm(`-plain-http=b.c/d: "b.c/d" is no host; say true, false, or hosts as in HOST:PORT,HOST`)},
		"no arguments":          {nil, withForm("give SRC and DST, with all flags before them: two words and not 0")},
		"one argument":          {[]string{"a"}, withForm("give SRC and DST, with all flags before them: two words and not 1")},
		"a flag behind":         {[]string{"a", "b.c/d:1", "-v"}, withForm("give SRC and DST, with all flags before them: two words and not 3")},
		"list and pair":         {[]string{"-list", list, "a", "b.c/d:1"}, withForm("give a list or a pair, not both")},
		"no such list":          {[]string{"-list", "/no/such/list"}, "-list: open /no/such/list: .*\n"},
		"bad source":            {[]string{"UPPER/x:1", "b.c/d:1"}, "cannot read the reference UPPER/x:1: .*\n  .*\n"},
		"bad destination":       {[]string{"a", "http://b/c:1"}, "cannot read the reference http://b/c:1: .*\n  .*\n"},
		"destination by digest": {[]string{"a", "b.c/d@sha256:" + strings.Repeat("0", 64)}, "cannot use the destination b.c/d@sha256:0{64}: it has a digest, .*" + form},
		"destination by itself": {[]string{"a", "b:1"}, `cannot use the destination b:1: it names no registry; if Docker Hub is meant, write "docker.io/library/b:1"` + form},
		"destination untagged":  {[]string{"a", "b.c/d"}, "cannot use the destination b.c/d: it has no tag" + form},
		"one place":             {[]string{"alpine", "index.docker.io/library/alpine:latest"}, "source and destination are the same, docker.io/library/alpine:latest: there is nothing to copy\n"},
		"no such authority":     {[]string{"-ca", "/no/such/ca", "a", "b.c/d:1"}, "-ca: open /no/such/ca: .*\n"},
		"no certificate":        {[]string{"-ca", list, "a", "b.c/d:1"}, "-ca " + regexp.QuoteMeta(list) + ": the file holds no certificate in PEM form\n"},
	} {
		t.Run(name, func(t *testing.T) {
			s := imagecopy(t, c.args...)
			s.ended(t, misused, "imagecopy: "+c.want)
			if s.stdout != "" {
				t.Errorf("standard output:\n%s", s.stdout)
			}
		})
	}
}

func TestHelpIsNoFailureAndNamesEveryFlag(t *testing.T) {
	for _, asked := range []string{"-h", "-help", "--help"} {
		s := imagecopy(t, asked)
		s.ended(t, succeeded, "")
		if !strings.HasPrefix(s.stdout, "usage: imagecopy [flags] SRC DST\n") {
			t.Errorf("%s says\n%s", asked, s.stdout)
		}
		new(options).flags().VisitAll(func(f *flag.Flag) {
			if !regexp.MustCompile(`(?m)^  -` + f.Name + `\b`).MatchString(s.stdout) {
				t.Errorf("%s does not tell of -%s", asked, f.Name)
			}
		})
	}
}

// dockerConfig makes the docker configuration of this process one that has a
// login for a host, and returns the name of the file.
func dockerConfig(t *testing.T, host, user, password string) string {
	t.Helper()
	auth := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	path := file(t, "config.json", fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, host, auth))
	t.Setenv("DOCKER_CONFIG", filepath.Dir(path))
	return path
}
