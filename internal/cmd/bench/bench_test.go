package main

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/cmd/internal/child"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// serving converts a registry of registrytest.
func registryOf(r *registrytest.Registry) *registry {
	return &registry{Registry: &child.Registry{Address: r.Addr}, base: "http://" + r.Addr, client: &http.Client{}}
}

func TestRaw_Copy(t *testing.T) {
	from, to := registrytest.V3(t), registrytest.V3(t)
	small := func(seed string) image { return image{layers: []blob{layer(3000, "shared"), layer(70_000, seed)}} }
	index := image{children: []image{small("one"), small("two")}}
	s := &seeder{registry: registryOf(from), uploaded: map[digest.Digest]string{}}
	for _, repository := range []string{"first", "second"} { // the second push mounts the blobs
		if _, err := s.push(t.Context(), repository, tag, index); err != nil {
			t.Fatal(err)
		}
	}
	// Five blobs are uploaded once, and three manifests to each repository.
	if got, err := registryOf(from).requests(t.Context()); err != nil || got["PUT"] != 5+2*3 {
		t.Errorf("requests of push() = %v, %v, want 11 PUT", got, err)
	}
	before, err := registryOf(to).requests(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	source := from.Addr + "/second:" + tag
	for _, c := range []struct{ source, repository string }{{source, "copied"}, {to.Addr + "/copied:" + tag, "promoted"}} {
		if err := newRaw(&http.Client{}, "http").copy(t.Context(), c.source, to.Addr+"/"+c.repository+":"+tag); err != nil {
			t.Fatal(err)
		}
		registrytest.Same(t, from.Read(t, "first", tag), to.Read(t, c.repository, tag))
	}
	if found, err := registryOf(to).digest(t.Context(), "promoted"); err != nil || found != string(from.Digest(t, "first", tag)) {
		t.Errorf("digest() = %s, %v, want that of the source", found, err)
	}
	// Each blob is uploaded or mounted once. Reading the copies adds only GET and HEAD
	// requests.
	after, err := registryOf(to).requests(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := difference(after, before); got["POST"] != 10 || got["PUT"] != 5+2*3 {
		t.Errorf("requests of copy() = %v, want 10 POST and 11 PUT", got)
	}
}

func TestTask_Measure(t *testing.T) {
	test, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) command { return command{Args: append([]string{test}, args...)} }
	var printed bytes.Buffer
	if err := runMeasure(t.Context(), []string{string(encode(task{Commands: []command{run("-test.run=^$"), run("-test.list=^$")}}))}, &printed); err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^{"Wall":[1-9]\d*,"CPU":[1-9]\d*,"Memory":[1-9]\d{6,},"Failed":""}\n$`).MatchString(printed.String()) {
		t.Errorf("runMeasure() printed %s", &printed)
	}
	if got := (task{Commands: []command{run("-test.run=^$"), run("-test.run=(")}}).run(t.Context()); !strings.Contains(got.Failed, "missing closing )") {
		t.Errorf("run() with a failing command = %+v, want its output", got)
	}
	got := task{Home: "home"}.environment([]string{"PATH=bin", "TF_LOG=trace", "SSL_CERT_FILE=ca.pem", "https_proxy=127.0.0.1:1", "REGISTRY_AUTH_FILE=auth.json"})
	if slices.Sort(got); !slices.Equal(got, []string{"DOCKER_CONFIG=home", "HOME=home", "PATH=bin",
		"XDG_CACHE_HOME=home", "XDG_CONFIG_HOME=home", "XDG_DATA_HOME=home", "XDG_RUNTIME_DIR=home"}) {
		t.Errorf("environment() = %q", got)
	}
}

func TestRun_EndToEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("builds programs and fills registries, which takes seconds; run without -short")
	}
	out := filepath.Join(t.TempDir(), "page.md")
	var output bytes.Buffer
	if err := run(t.Context(), []string{"-rtt", "0", "-runs", "1", "-tls", "-only", "noop", "-out", out}, nil, &output); err != nil {
		t.Fatalf("run() = %v, output:\n%s", err, &output)
	}
	page, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, transport := range []string{"plain HTTP", "TLS"} {
		row := regexp.MustCompile(`No delay, ` + transport + `:\n\n.*\n.*\n\| imagecopy \| .* \| \*{0,2}2 \(HEAD 2\)\*{0,2} \| \*{0,2}2\*{0,2} \|`)
		if !row.Match(page) {
			t.Errorf("page for %s has no row of imagecopy with two requests:\n%s", transport, page)
		}
	}
	if bytes.Contains(page, []byte("registry-bench-")) {
		t.Error("the page contains a path of this machine")
	}
}
