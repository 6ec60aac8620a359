package main

import (
	"strings"
	"testing"
	"time"
)

// timed returns a row with a run for each of the wall times.
func timed(name string, walls ...time.Duration) row {
	r := row{contender: contender{copier: copier{name: name}}}
	for i, wall := range walls {
		r.samples = append(r.samples, sample{wall: wall, cpu: 100 * time.Millisecond, memory: 20 << 20,
			requests: map[string]int{"GET": 2, "HEAD": i}, connections: 4, bytes: 10 << 20})
	}
	return r
}

func TestTable(t *testing.T) {
	ours := timed("imagecopy", 100*time.Millisecond, 150*time.Millisecond, 120*time.Millisecond)
	ours.ours = true
	for i := range ours.samples {
		ours.samples[i].cpu, ours.samples[i].connections = 50*time.Millisecond, 9
		ours.samples[i].bytes += 1000 // less than the unit of the column
	}
	broken := timed("oras", time.Millisecond, time.Millisecond)
	broken.samples[1].failed = "exit status 1:\nno | here"
	got := block{rows: []row{timed(baseline, 50*time.Millisecond), ours, timed("crane", 300*time.Millisecond), timed("regctl", 60*time.Millisecond), broken}}.table()
	want := `| copier | × raw | × peer | wall time | processor | memory | requests | connections | moved |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
| raw | 1.00 | 0.83 | 0.050 s (0.050–0.050) | 0.10 s | 20 MiB | 2 (GET 2, HEAD 0) | 4 | 10.0 MiB |
| imagecopy | 2.40 | 2.00 | **0.120 s (0.100–0.150)** | 0.05 s | 20 MiB | **4 (GET 2, HEAD 2)** | **9** | 10.0 MiB |
| crane | 6.00 | 5.00 | 0.300 s (0.300–0.300) | 0.10 s | 20 MiB | 2 (GET 2, HEAD 0) | 4 | 10.0 MiB |
| regctl | 1.20 | 1.00 | 0.060 s (0.060–0.060) | 0.10 s | 20 MiB | 2 (GET 2, HEAD 0) | 4 | 10.0 MiB |
| oras | failed |  | exit status 1: no \| here |  |  |  |  |  |
`
	if got != want {
		t.Errorf("table() =\n%s\nwant\n%s", got, want)
	}
}

func TestTable_WithoutPeers(t *testing.T) {
	ours := timed("imagecopy", time.Second)
	ours.ours = true
	got := block{rows: []row{ours}}.table()
	if !strings.Contains(got, "| imagecopy | – | – | 1.000 s") {
		t.Errorf("table() =\n%s\nwant no ratios", got)
	}
}
