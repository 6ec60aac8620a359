package main

import (
	"fmt"
	"strings"
	"time"
)

// baseline is the name of the copier that all others are compared with.
const baseline = "raw"

// column is a figure of a table. Lower is better for all figures.
type column struct {
	title string
	of    func(sample) int64
	unit  int64 // smaller differences are not significant
	text  func(row) string
}

var columns = []column{
	{"wall time", func(s sample) int64 { return int64(s.wall) }, int64(time.Millisecond), func(r row) string {
		runs := r.byWall()
		return fmt.Sprintf("%.3f s (%.3f–%.3f)", r.median().wall.Seconds(), runs[0].wall.Seconds(), runs[len(runs)-1].wall.Seconds())
	}},
	{"processor", func(s sample) int64 { return int64(s.cpu) }, int64(10 * time.Millisecond), func(r row) string {
		return fmt.Sprintf("%.2f s", r.median().cpu.Seconds())
	}},
	{"memory", func(s sample) int64 { return s.memory }, 1 << 20, func(r row) string {
		return fmt.Sprintf("%d MiB", r.median().memory>>20)
	}},
	{"requests", sample.total, 1, func(r row) string {
		m := r.median()
		return fmt.Sprintf("%d (%s)", m.total(), m.methods())
	}},
	{"connections", func(s sample) int64 { return s.connections }, 1, func(r row) string {
		return fmt.Sprint(r.median().connections)
	}},
	{"moved", func(s sample) int64 { return s.bytes }, 1 << 20, func(r row) string {
		return fmt.Sprintf("%.1f MiB", float64(r.median().bytes)/(1<<20))
	}},
}

// table returns a Markdown table with a line for each copier. The ratios of the wall times come
// first.
func (b block) table() string {
	var out strings.Builder
	line := func(cells ...string) { fmt.Fprintf(&out, "| %s |\n", strings.Join(cells, " | ")) }
	titles := []string{"copier", "× raw", "× peer"}
	for _, c := range columns {
		titles = append(titles, c.title)
	}
	line(titles...)
	line(strings.Split(strings.Repeat("--- ", len(titles)-1)+"---", " ")...)
	for _, r := range b.rows {
		if why := r.failure(); why != "" {
			line(append([]string{r.name, "failed", "", cell(why)}, make([]string, len(columns)-1)...)...)
			continue
		}
		cells := []string{r.name, b.ratio(r, b.byName(baseline)), b.ratio(r, b.peers())}
		for _, c := range columns {
			cells = append(cells, b.emphasize(r, c, c.text(r)))
		}
		line(cells...)
	}
	return out.String()
}

// ratio returns the row's wall time as a multiple of the fastest of others, or a dash if others
// is empty.
func (b block) ratio(r row, others []row) string {
	wall := columns[0]
	best, ok := wall.best(others)
	if !ok || best == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", float64(wall.of(r.median()))/float64(best))
}

// emphasize returns text in bold if it is a figure of ours and one of the peers has a better
// one.
func (b block) emphasize(r row, c column, text string) string {
	if best, ok := c.best(b.peers()); r.ours && ok && c.of(r.median())-best >= c.unit {
		return "**" + text + "**"
	}
	return text
}

// best returns the lowest figure of rows, and false if rows is empty.
func (c column) best(rows []row) (least int64, ok bool) {
	for _, r := range rows {
		if figure := c.of(r.median()); !ok || figure < least {
			least, ok = figure, true
		}
	}
	return least, ok
}

// peers returns the rows of the peers that succeeded.
func (b block) peers() []row { return b.succeeded(row.peer) }

func (b block) byName(name string) []row {
	return b.succeeded(func(r row) bool { return r.name == name })
}

func (b block) succeeded(want func(row) bool) []row {
	var rows []row
	for _, r := range b.rows {
		if want(r) && r.failure() == "" {
			rows = append(rows, r)
		}
	}
	return rows
}
