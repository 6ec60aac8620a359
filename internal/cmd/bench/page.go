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

Compares this engine (%[1]simagecopy%[1]s, and the provider under %[1]sterraform apply%[1]s) with every other copier on PATH. All copy the same
images between the same two registries in one run. Both registries are distribution v3 on the same machine, with their content in
a file system in memory. A proxy before each delays every byte by half a round trip, and a new connection by one more. Over TLS the
registries offer HTTP/2. Settings with a delay show the cost of round trips, and settings without one the cost of processing.

%[1]sraw%[1]s is a baseline and not a tool: it does not check, hash or retry, and keeps sixteen blobs in flight over HTTP/1.1. Each
copier starts with an empty destination and an empty home directory. The copiers take turns, and each tag is compared with the
source afterwards.

- **× raw** and **× peer** are the wall time as a multiple of that of raw and of the fastest peer.
- **Wall time** is the median, with the fastest and the slowest run. The other figures are those of the median run.
- **Memory** is the peak of the largest process; values below about 10 MiB cannot be measured. **Requests** and
  **connections** are to both registries together. **Moved** is the traffic of both proxies, so that a copied byte
  counts twice.
- Our figures **in bold** are worse than the best figure of the peers.

Copiers, proxies and registries share the cores of the machine. Compare figures of one run only.

`

// markdown returns the page as Markdown.
func (p *page) markdown() string {
	var out strings.Builder
	fmt.Fprintf(&out, introduction, "`")
	fmt.Fprintf(&out, "| | |\n| --- | --- |\n| Date | %s |\n| Machine | %s |\n| Versions | %s |\n| Command | `make bench BENCH='%s'` |\n",
		p.date.Format(time.DateOnly), cell(p.machine), cell(strings.Join(p.versions, "; ")), p.rerunFlags)
	for _, section := range p.sections {
		fmt.Fprintf(&out, "\n## %s\n\n%s\n", section.name, section.description)
		for _, b := range section.blocks {
			fmt.Fprintf(&out, "\n%s:\n\n%s", capitalize(b.String()), b.table())
		}
	}
	fmt.Fprintf(&out, "\n## Command lines\n\n%s\n\n", strings.Join(p.lines, "\n"))
	out.WriteString("Each copier uses its default number of concurrent requests. For fleet, `imagecopy -list` and Terraform make all copies in one\n" +
		"process. The others use one process per copy, ten at a time.\n")
	return out.String()
}

func capitalize(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// cell returns s without line breaks and with escaped cell separators.
func cell(s string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", `\|`)
}
