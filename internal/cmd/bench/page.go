package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// page is the page of results.
type page struct {
	date       time.Time
	machine    string
	versions   []string
	rerunFlags string
	lines      []string // the command line of each copier
	sections   []*section
}

// section has the results of a scenario, with the rows of each setting.
type section struct {
	scenario
	blocks []block
}

type block struct {
	setting
	rows []row
}

func (b *bench) newPage() *page {
	p := &page{date: time.Now(), machine: describeMachine(), rerunFlags: b.rerunFlags, versions: []string{"Go " + goVersion()}}
	for _, c := range b.contenders {
		if slices.ContainsFunc(b.scenarios(), c.supports) {
			p.versions = append(p.versions, c.name+": "+c.found)
			p.lines = append(p.lines, "- "+c.name+": `"+string(cmp.Or(c.plain.one, c.plain.many))+"`")
		}
	}
	for _, s := range b.scenarios() {
		p.sections = append(p.sections, &section{scenario: s})
	}
	return p
}

func (p *page) add(s scenario, set setting, rows []row) {
	i := slices.IndexFunc(p.sections, func(p *section) bool { return p.name == s.name })
	p.sections[i].blocks = append(p.sections[i].blocks, block{set, rows})
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

// markdown returns the page as Markdown.
func (p *page) markdown() string {
	var out strings.Builder
	fmt.Fprintf(&out, introduction, "`")
	fmt.Fprintf(&out, "| | |\n| --- | --- |\n| Date | %s |\n| Machine | %s |\n| Versions | %s |\n| Again | `make bench BENCH='%s'` |\n",
		p.date.Format(time.DateOnly), cell(p.machine), cell(strings.Join(p.versions, "; ")), p.rerunFlags)
	for _, section := range p.sections {
		fmt.Fprintf(&out, "\n## %s\n\n%s\n", section.name, section.description)
		for _, b := range section.blocks {
			fmt.Fprintf(&out, "\n%s:\n\n%s", capitalize(b.String()), b.table())
		}
	}
	fmt.Fprintf(&out, "\n## How each is run\n\n%s\n\n", strings.Join(p.lines, "\n"))
	out.WriteString("Each with as many requests at a time as it keeps by itself. Of a fleet, `imagecopy -list` and Terraform make all copies in\n" +
		"one process, and the others one a copy, ten of them at a time.\n")
	return out.String()
}

func capitalize(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// cell returns s without line breaks and with escaped cell separators.
func cell(s string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", `\|`)
}
