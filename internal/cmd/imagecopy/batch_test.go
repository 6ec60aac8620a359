package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

func TestBatch_CopiesConcurrently(t *testing.T) {
	const images = 12
	shared := registrytest.Layer("base", 50_000)
	source := registrytest.Intercept(t, registrytest.V3(t))
	destination := registrytest.V2(t)
	var lines, want []string
	trees := map[string]registrytest.Tree{}
	for i := range images {
		name := fmt.Sprintf("app%02d", i)
		pushed := source.Push(t, name, "1", registrytest.Image{Seed: name, Layers: []registrytest.Blob{shared, registrytest.Layer(name, 1000)}})
		trees["prod/"+name] = pushed.Tree
		lines = append(lines, source.Ref(name, "1")+" "+destination.Ref("prod/"+name, "1"))
		want = append(want, destination.Ref("prod/"+name, "1"))
	}
	lines = append(lines, lines[0]) // duplicate of the first pair
	gate := make(chan struct{})
	source.On("GET", ".*/manifests/.*").Hold(gate)

	ended := make(chan output, 1)
	list := writeFile(t, "list", strings.Join(lines, "\n"))
	go func() { ended <- runImagecopyContext(t.Context(), "-list", list) }()
	source.Wait(t, func() bool { return source.Count("GET", ".*/manifests/.*") == images })
	close(gate)
	s := <-ended

	s.expect(t, succeeded, "")
	var got []string
	sent := 0
	for _, report := range s.reports(t) {
		got = append(got, report["destination"].(string))
		sent += int(report["copied"].(map[string]any)["bytes"].(float64))
	}
	if !slices.Equal(got, want) {
		t.Errorf("destinations in the report = %v, want %v", got, want)
	}
	if sent < 50_000 || sent >= 2*50_000 {
		t.Errorf("copied bytes = %d, want the shared layer of 50000 bytes only once", sent)
	}
	for repo, tree := range trees {
		registrytest.Same(t, tree, destination.Read(t, repo, "1"))
	}
}

func TestBatch_ContinuesAfterFailure(t *testing.T) {
	reg := registrytest.V3(t)
	pushed := reg.Push(t, "app", "1", registrytest.MultiArch("a"))
	missing := reg.Ref("nobody/has/this", "1")
	list := writeFile(t, "list", missing+" "+reg.Ref("never", "1")+"\n"+pushed.Ref+" "+reg.Ref("prod", "1"))
	s := runImagecopy(t, "-list", list)
	s.expect(t, failed, `imagecopy: `+missing+` -> `+reg.Ref("never", "1")+`: source \S+/nobody/has/this: cannot read the manifest of the tag "1": HTTP 404.*\n  Look at .*\n`)
	reports := s.reports(t)
	if text, _ := reports[0]["error"].(string); !strings.Contains(text, "HTTP 404") {
		t.Errorf("reports[0] error = %q", text)
	}
	if text, _ := reports[0]["hint"].(string); !strings.HasPrefix(text, "Look at ") {
		t.Errorf("reports[0] hint = %q", text)
	}
	if text, ok := reports[1]["error"]; ok {
		t.Errorf("reports[1] error = %q, want none", text)
	}
	registrytest.Same(t, pushed.Tree, reg.Read(t, "prod", "1"))
}
