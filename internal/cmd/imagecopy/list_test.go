package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// pairs reads the pair of a copy from each argument.
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

func TestAListHasAPairALine(t *testing.T) {
	got, err := readList(file(t, "list", "# the fleet\r\n\r\nalpine localhost/b:3\n \t\n\t# not yet: x y\n  ghcr.io/a/b:1\t localhost:5000/b:2  \n"+
		"docker.io/library/alpine:latest LocalHost/b:3\nghcr.io/a/b:1 localhost:5000/b:3"), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := pairs(t, "alpine localhost/b:3", "ghcr.io/a/b:1 localhost:5000/b:2", "ghcr.io/a/b:1 localhost:5000/b:3")
	if !slices.Equal(got, want) {
		t.Errorf("got\n%v, want\n%v", got, want)
	}
}

func TestAListThatMakesNoSenseNamesTheLine(t *testing.T) {
	for name, c := range map[string]struct{ content, want string }{
		"three words":   {"# one\na b.c/d:1\n\na b c\n", ":4: a copy is SRC DST, two words and not 3"},
		"bad reference": {"a b.c/d:1\na:1 b:\n", ":2: cannot read the reference b:: .*\n  A reference is .*"},
		"no host":       {"a b:1\n", ":1: cannot use the destination b:1: it names no registry.*\n  A destination is .*"},
		"one place":     {"a b.c/d:1\nb.c/d:2 B.C/d:2\n", ":2: source and destination are the same, b.c/d:2: .*"},
		"two sources":   {"a:1 b.c/d:1\na:2 b.c/d:2\na:3 B.C/d:1\n", ":3: an earlier line copies docker.io/library/a:1 to b.c/d:1 already"},
		"a long line":   {"a b.c/d:1\n" + strings.Repeat("x ", 1<<17) + "\n", ":2: a copy is SRC DST, two words and not 131072"},
	} {
		t.Run(name, func(t *testing.T) {
			list := file(t, "list", c.content)
			imagecopy(t, "-list", list).ended(t, misused, "imagecopy: "+list+c.want+"\n")
			imagecopyWith(t.Context(), strings.NewReader(c.content), "-list", "-").ended(t, misused, "imagecopy: standard input"+c.want+"\n")
		})
	}
}

func TestAllThatIsWrongWithAListIsToldAtOnce(t *testing.T) {
	list := file(t, "list", "a b:1\na b.c/d:1\na b.c/d\nx y z\na:2 b.c/d:1\n")
	s := imagecopy(t, "-list", list)
	told := func(number int, what string) string { return fmt.Sprintf("imagecopy: %s:%d: %s\n", list, number, what) }
	s.ended(t, misused, told(1, ".* names no registry.*")+told(3, ".* has no tag.*")+told(4, "a copy is SRC DST, .*")+told(5, "an earlier line .*")+
		"  A destination is .*\n")

	list = file(t, "list", strings.Repeat("a\n", maxMistakes))
	if s := imagecopy(t, "-list", list); strings.Count(s.stderr, "a copy is SRC DST") != maxMistakes || strings.Contains(s.stderr, "besides") {
		t.Errorf("of as many mistakes as are told it tells\n%s", s.stderr)
	}
	list = file(t, "list", strings.Repeat("a\n", maxMistakes+3))
	s = imagecopy(t, "-list", list)
	if last := "imagecopy: " + list + ": lines that make no sense besides these: 3\n"; strings.Count(s.stderr, "a copy is SRC DST") != maxMistakes || !strings.HasSuffix(s.stderr, last) {
		t.Errorf("of more mistakes than are told it tells\n%s", s.stderr)
	}
}

func TestAListMayComeFromStandardInput(t *testing.T) {
	reg := registrytest.Scripted(t, registrytest.Behaviour{})
	pushed := reg.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	s := imagecopyWith(t.Context(), strings.NewReader(pushed.Ref+" "+reg.Ref("prod", "1")+"\n"), "-list", "-")
	s.ended(t, succeeded, "")
	registrytest.Same(t, pushed.Tree, reg.Read(t, "prod", "1"))
	imagecopyWith(t.Context(), strings.NewReader(""), "-list", "-").ended(t, succeeded, "imagecopy: standard input names no copies\n")
}

func TestAnEmptyListIsDoneAndSaidSo(t *testing.T) {
	list := file(t, "list", "# nothing today\n")
	s := imagecopy(t, "-list", list)
	s.ended(t, succeeded, "imagecopy: "+list+" names no copies\n")
	if s.stdout != "[]\n" {
		t.Errorf("the report is %q", s.stdout)
	}
}

func TestAListIsCopiedAllAtOnceByOneEngine(t *testing.T) {
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
	lines = append(lines, lines[0]) // once is enough
	together := make(chan struct{})
	source.On("GET", ".*/manifests/.*").Hold(together)

	ended := make(chan said, 1)
	list := file(t, "list", strings.Join(lines, "\n"))
	go func() { ended <- imagecopyUntil(t.Context(), "-list", list) }()
	source.Wait(t, func() bool { return source.Count("GET", ".*/manifests/.*") == images })
	close(together)
	s := <-ended

	s.ended(t, succeeded, "")
	var got []string
	sent := 0
	for _, report := range s.reports(t) {
		got = append(got, report["destination"].(string))
		sent += int(report["copied"].(map[string]any)["bytes"].(float64))
	}
	if !slices.Equal(got, want) {
		t.Errorf("reported were %v, want %v", got, want)
	}
	if sent < 50_000 || sent >= 2*50_000 {
		t.Errorf("%d bytes were sent, although the layer that all share has 50000 and all else little", sent)
	}
	for repo, tree := range trees {
		registrytest.Same(t, tree, destination.Read(t, repo, "1"))
	}
}

func TestOneFailureOfAListStopsNoOther(t *testing.T) {
	reg := registrytest.V3(t)
	pushed := reg.Push(t, "app", "1", registrytest.MultiArch("a"))
	missing := reg.Ref("nobody/has/this", "1")
	list := file(t, "list", missing+" "+reg.Ref("never", "1")+"\n"+pushed.Ref+" "+reg.Ref("prod", "1"))
	s := imagecopy(t, "-list", list)
	s.ended(t, failed, `imagecopy: `+missing+` -> `+reg.Ref("never", "1")+`: source \S+/nobody/has/this: cannot read the manifest of the tag "1": HTTP 404.*\n  Look at .*\n`)
	reports := s.reports(t)
	if said, _ := reports[0]["error"].(string); !strings.Contains(said, "HTTP 404") {
		t.Errorf("the first report has the error %q", said)
	}
	if said, _ := reports[0]["hint"].(string); !strings.HasPrefix(said, "Look at ") {
		t.Errorf("the first report has the hint %q", said)
	}
	if said, there := reports[1]["error"]; there {
		t.Errorf("the second report has the error %q", said)
	}
	registrytest.Same(t, pushed.Tree, reg.Read(t, "prod", "1"))
}

func TestAListOfOneIsReportedAsAList(t *testing.T) {
	reg := registrytest.Scripted(t, registrytest.Behaviour{})
	pushed := reg.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	s := imagecopy(t, "-list", file(t, "list", pushed.Ref+" "+reg.Ref("prod", "1")))
	s.ended(t, succeeded, "")
	if reports := s.reports(t); len(reports) != 1 || reports[0]["source"] != pushed.Ref {
		t.Errorf("the report is\n%s", s.stdout)
	}
}
