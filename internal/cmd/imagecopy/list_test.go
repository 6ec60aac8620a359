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
	wantLine := func(number int, wantText string) string {
		return fmt.Sprintf("imagecopy: %s:%d: %s\n", list, number, wantText)
	}
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
