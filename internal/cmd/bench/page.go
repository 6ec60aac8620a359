package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// page is what is written at the end.
type page struct {
	date     time.Time
	machine  string
	versions []string
	again    string
	lines    []string // how each copier is run
	parts    []*part
}

// part is one scenario, with the rows of each setting.
type part struct {
	scenario
	blocks []block
}

type block struct {
	setting
	rows []row
}

func (b *bench) newPage() *page {
	p := &page{date: time.Now(), machine: describeMachine(), again: b.again, versions: []string{"Go " + goVersion()}}
	for _, c := range b.contenders {
		if slices.ContainsFunc(b.scenarios(), c.takesPart) {
			p.versions = append(p.versions, c.name+": "+c.found)
			p.lines = append(p.lines, "- "+c.name+": `"+string(cmp.Or(c.plain.one, c.plain.many))+"`")
		}
	}
	for _, s := range b.scenarios() {
		p.parts = append(p.parts, &part{scenario: s})
	}
	return p
}

func (p *page) add(s scenario, set setting, rows []row) {
	i := slices.IndexFunc(p.parts, func(p *part) bool { return p.name == s.name })
	p.parts[i].blocks = append(p.parts[i].blocks, block{set, rows})
}

const introduction = `# Benchmarks

The same images, between the same two registries, with this engine (%[1]simagecopy%[1]s, and the provider under
%[1]sterraform apply%[1]s) and with every other copier that was there, in one run. Both registries are distribution v3 on
the same machine, with their content in a file system in memory and a proxy before each that holds every byte for half a
round trip, and a new connection for one more. Over TLS the registries offer HTTP/2. What takes its time from waiting is
seen with a delay, and what takes it from the processor without one.

%[1]sraw%[1]s is a yardstick and no tool: it checks, hashes and retries nothing, and keeps sixteen blobs under way over
HTTP/1.1. Each copier begins with an empty destination and an empty home directory, in turn with the others; afterwards
each tag is compared with the source's.

- **× raw** and **× peer** are the wall time as a multiple of raw's and of the fastest peer's.
- **Wall time** is the median, with the fastest and the slowest run. The figures after it are of the median's run.
- **Memory** is the peak of the largest process; some 10 MiB is the least that can be seen. **Requests** and
  **connections** are those to both registries together; **moved** is what crossed both proxies, so that a byte that is
  copied counts twice.
- Of our figures, **those in bold** are worse than the best of the peers'.

The machine shares its cores among copiers, proxies and registries: compare within one run, not between two.

`

// markdown is the whole page.
func (p *page) markdown() string {
	var out strings.Builder
	fmt.Fprintf(&out, introduction, "`")
	fmt.Fprintf(&out, "| | |\n| --- | --- |\n| Date | %s |\n| Machine | %s |\n| Versions | %s |\n| Again | `make bench BENCH='%s'` |\n",
		p.date.Format(time.DateOnly), cell(p.machine), cell(strings.Join(p.versions, "; ")), p.again)
	for _, part := range p.parts {
		fmt.Fprintf(&out, "\n## %s\n\n%s\n", part.name, part.about)
		for _, b := range part.blocks {
			fmt.Fprintf(&out, "\n%s:\n\n%s", capital(b.String()), b.table())
		}
	}
	fmt.Fprintf(&out, "\n## How each is run\n\n%s\n\n", strings.Join(p.lines, "\n"))
	out.WriteString("Each with as many requests at a time as it keeps by itself. Of a fleet, `imagecopy -list` and Terraform make all copies in\n" +
		"one process, and the others one a copy, ten of them at a time.\n")
	return out.String()
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// cell is text that ends no cell of a table, and no line.
func cell(s string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", `\|`)
}
