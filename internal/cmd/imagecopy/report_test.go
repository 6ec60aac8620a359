package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

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

func TestReport_ListWithOneCopy(t *testing.T) {
	reg := registrytest.Scripted(t, registrytest.Behaviour{})
	pushed := reg.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	s := runImagecopy(t, "-list", writeFile(t, "list", pushed.Ref+" "+reg.Ref("prod", "1")))
	s.expect(t, succeeded, "")
	if reports := s.reports(t); len(reports) != 1 || reports[0]["source"] != pushed.Ref {
		t.Errorf("report =\n%s\nwant a list with one report", s.stdout)
	}
}
