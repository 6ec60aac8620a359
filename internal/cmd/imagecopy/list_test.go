package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// pairs parses a pair from each line.
func pairs(t *testing.T, lines ...string) []pair {
	t.Helper()
	var ps []pair
	for _, line := range lines {
		p, err := newPair(strings.Fields(line))
		if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
	}
	return ps
}

func TestReadList(t *testing.T) {
	got, err := readList(writeFile(t, "list", "# the fleet\r\n\r\nalpine localhost/b:3\n \t\n\t# not yet: x y\n  ghcr.io/a/b:1\t localhost:5000/b:2  \n"+
		"docker.io/library/alpine:latest LocalHost/b:3\nghcr.io/a/b:1 localhost:5000/b:3"), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := pairs(t, "alpine localhost/b:3", "ghcr.io/a/b:1 localhost:5000/b:2", "ghcr.io/a/b:1 localhost:5000/b:3")
	if !slices.Equal(got, want) {
		t.Errorf("got\n%v, want\n%v", got, want)
	}
}

func TestReadList_NamesInvalidLine(t *testing.T) {
	for name, c := range map[string]struct{ content, want string }{
		"three_words":    {"# one\na b.c/d:1\n\na b c\n", ":4: a copy is SRC DST, two words and not 3"},
		"bad_reference":  {"a b.c/d:1\na:1 b:\n", ":2: cannot read the reference b:: .*\n  A reference is .*"},
		"no_host":        {"a b:1\n", ":1: cannot use the destination b:1: it names no registry.*\n  A destination is .*"},
		"same_reference": {"a b.c/d:1\nb.c/d:2 B.C/d:2\n", ":2: source and destination are the same, b.c/d:2: .*"},
		"two_sources":    {"a:1 b.c/d:1\na:2 b.c/d:2\na:3 B.C/d:1\n", ":3: an earlier line copies docker.io/library/a:1 to b.c/d:1 already"},
		"long_line":      {"a b.c/d:1\n" + strings.Repeat("x ", 1<<17) + "\n", ":2: a copy is SRC DST, two words and not 131072"},
	} {
		t.Run(name, func(t *testing.T) {
			list := writeFile(t, "list", c.content)
			runImagecopy(t, "-list", list).expect(t, invalidUsage, "imagecopy: "+list+c.want+"\n")
			runImagecopyStdin(t.Context(), strings.NewReader(c.content), "-list", "-").expect(t, invalidUsage, "imagecopy: standard input"+c.want+"\n")
		})
	}
}

func TestReadList_AllErrors(t *testing.T) {
	list := writeFile(t, "list", "a b:1\na b.c/d:1\na b.c/d\nx y z\na:2 b.c/d:1\n")
	s := runImagecopy(t, "-list", list)
	wantLine := func(number int, what string) string { return fmt.Sprintf("imagecopy: %s:%d: %s\n", list, number, what) }
	s.expect(t, invalidUsage, wantLine(1, ".* names no registry.*")+wantLine(3, ".* has no tag.*")+wantLine(4, "a copy is SRC DST, .*")+wantLine(5, "an earlier line .*")+
		"  A destination is .*\n")

	list = writeFile(t, "list", strings.Repeat("a\n", maxListErrors))
	if s := runImagecopy(t, "-list", list); strings.Count(s.stderr, "a copy is SRC DST") != maxListErrors || strings.Contains(s.stderr, "besides") {
		t.Errorf("with the maximum number of errors, output:\n%s", s.stderr)
	}
	list = writeFile(t, "list", strings.Repeat("a\n", maxListErrors+3))
	s = runImagecopy(t, "-list", list)
	if last := "imagecopy: " + list + ": lines that make no sense besides these: 3\n"; strings.Count(s.stderr, "a copy is SRC DST") != maxListErrors || !strings.HasSuffix(s.stderr, last) {
		t.Errorf("with more than the maximum number of errors, output:\n%s", s.stderr)
	}
}

func TestReadList_StandardInput(t *testing.T) {
	reg := registrytest.Scripted(t, registrytest.Behaviour{})
	pushed := reg.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	s := runImagecopyStdin(t.Context(), strings.NewReader(pushed.Ref+" "+reg.Ref("prod", "1")+"\n"), "-list", "-")
	s.expect(t, succeeded, "")
	registrytest.Same(t, pushed.Tree, reg.Read(t, "prod", "1"))
	runImagecopyStdin(t.Context(), strings.NewReader(""), "-list", "-").expect(t, succeeded, "imagecopy: standard input names no copies\n")
}

func TestReadList_Empty(t *testing.T) {
	list := writeFile(t, "list", "# nothing today\n")
	s := runImagecopy(t, "-list", list)
	s.expect(t, succeeded, "imagecopy: "+list+" names no copies\n")
	if s.stdout != "[]\n" {
		t.Errorf("report = %q, want []", s.stdout)
	}
}

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

func TestReport_ListWithOneCopy(t *testing.T) {
	reg := registrytest.Scripted(t, registrytest.Behaviour{})
	pushed := reg.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	s := runImagecopy(t, "-list", writeFile(t, "list", pushed.Ref+" "+reg.Ref("prod", "1")))
	s.expect(t, succeeded, "")
	if reports := s.reports(t); len(reports) != 1 || reports[0]["source"] != pushed.Ref {
		t.Errorf("report =\n%s\nwant a list with one report", s.stdout)
	}
}
