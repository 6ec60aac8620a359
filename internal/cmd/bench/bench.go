package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/cmd/internal/child"
)

// bench is one run of the command.
type bench struct {
	options
	log        io.Writer
	dir        string // everything that it writes, but for the page
	bin        string // our programs
	tree       string // what they were built from, for people
	contenders []contender
	digests    map[string]string // of the source's images, by repository
}

// runBench measures what the options say, and writes the page.
func runBench(ctx context.Context, o options, log io.Writer) error {
	dir, err := os.MkdirTemp(memoryBacked(), "registry-bench-")
	if err != nil {
		return err
	}
	o.terraform = lookTerraform(o.terraform)
	b := &bench{options: o, log: log, dir: dir, bin: filepath.Join(dir, "bin"), digests: map[string]string{}}
	page, err := b.measureAll(ctx)
	if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
		return err
	}
	return os.WriteFile(o.out, []byte(page.markdown()), 0o644)
}

// memoryBacked is where files are kept in memory, so that no disk is measured;
// "", for the usual temporary directory, where there is no such place.
func memoryBacked() string {
	const shm = "/dev/shm"
	if info, err := os.Stat(shm); err == nil && info.IsDir() {
		return shm
	}
	return ""
}

func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.log, format+"\n", args...) }

func (b *bench) measureAll(ctx context.Context) (*page, error) {
	if err := b.build(ctx); err != nil {
		return nil, err
	}
	var missing []string
	if b.contenders, missing = b.find(ctx); len(missing) > 0 {
		b.say("not here, and left out: %s", strings.Join(missing, ", "))
	}
	if err := b.seed(ctx); err != nil {
		return nil, err
	}
	p := b.newPage()
	transports := []bool{false}
	if b.tls {
		transports = append(transports, true)
	}
	for _, tls := range transports {
		if err := b.measureTransport(ctx, tls, p); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// build builds all programs of ours, and this one again, so that it may be run
// with `go run` too.
func (b *bench) build(ctx context.Context) error {
	b.say("building")
	root, err := child.Program{Path: "go"}.Run(ctx, "list", "-m", "-f", "{{.Dir}}")
	if err != nil {
		return err
	}
	dir := strings.TrimSpace(root)
	b.tree = describeTree(ctx, dir)
	_, err = child.Program{Path: "go", Dir: dir}.Run(ctx, "build", "-o", b.bin+string(filepath.Separator),
		".", "./internal/cmd/imagecopy", "./internal/cmd/registry-v3", "./internal/cmd/bench")
	return err
}

// seed pushes what the scenarios copy.
func (b *bench) seed(ctx context.Context) (err error) {
	b.say("seeding")
	l, err := b.openLab(ctx, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	s := &seeder{registry: l.source, held: map[digest.Digest]string{}}
	for _, scenario := range b.scenarios() {
		for _, repository := range scenario.images {
			if b.digests[repository] != "" {
				continue
			}
			d, err := s.push(ctx, repository, tag, contents(repository))
			if err != nil {
				return err
			}
			b.digests[repository] = d.Digest.String()
		}
	}
	return nil
}

// measureTransport measures all scenarios at all distances over plain HTTP, or
// over TLS.
func (b *bench) measureTransport(ctx context.Context, tls bool, p *page) (err error) {
	l, err := b.openLab(ctx, tls)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	for _, rtt := range b.rtts {
		for _, s := range b.scenarios() {
			set := setting{tls: tls, rtt: rtt}
			rows, err := b.measureScenario(ctx, l, s, set)
			if err != nil {
				return err
			}
			p.add(s, set, rows)
		}
	}
	return nil
}

// measureScenario lets every copier do the scenario once, and then again, so
// that whatever else the machine does meets all alike.
func (b *bench) measureScenario(ctx context.Context, l *lab, s scenario, set setting) ([]row, error) {
	var rows []row
	for _, c := range b.contenders {
		if c.takesPart(s) {
			rows = append(rows, row{contender: c})
		}
	}
	for n := range b.runs {
		for i := range rows {
			r := &rows[i]
			taken, err := b.measureCopy(ctx, l, s, set, r.contender)
			if err = errors.Join(err, ctx.Err()); err != nil {
				return nil, fmt.Errorf("%s, %s: %w", s.name, r.name, err)
			}
			r.samples = append(r.samples, taken)
			b.say("%s, %s, run %d of %d: %s %s", set, s.name, n+1, b.runs, r.name, taken)
		}
	}
	return rows, nil
}

// patience is how long a copier may take for a scenario.
const patience = 5 * time.Minute

// measureCopy lets one copier do the scenario once. What goes wrong with the
// copier is in the sample; an error is one of the bench itself.
func (b *bench) measureCopy(ctx context.Context, l *lab, s scenario, set setting, c contender) (sample, error) {
	if err := s.prepare(ctx, l); err != nil {
		return sample{}, err
	}
	home, err := os.MkdirTemp(b.dir, "home-")
	if err != nil {
		return sample{}, err
	}
	defer func() { _ = os.RemoveAll(home) }() // all of it goes at the end
	before, err := l.requests(ctx)
	if err != nil {
		return sample{}, err
	}
	taken, pairs, err := b.throughProxies(ctx, l, s, set, c, home)
	if err != nil {
		return sample{}, err
	}
	after, err := l.requests(ctx)
	if err != nil {
		return sample{}, err
	}
	taken.requests = difference(after, before)
	if taken.failed == "" {
		taken.failed = l.check(ctx, pairs)
	}
	taken.failed = strings.ReplaceAll(taken.failed, b.dir, "…")
	return taken, nil
}

// throughProxies runs the copier's commands between two proxies.
func (b *bench) throughProxies(ctx context.Context, l *lab, s scenario, set setting, c contender, home string) (sample, []pair, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	source, err := listen(ctx, l.source.Address, line{rtt: set.rtt, cap: s.cap})
	if err != nil {
		return sample{}, nil, err
	}
	defer source.close()
	destination, err := listen(ctx, l.destination.Address, line{rtt: set.rtt})
	if err != nil {
		return sample{}, nil, err
	}
	defer destination.close()
	pairs := s.pairs(source.address, destination.address, b.digests)
	if err := writeInputs(home, b.bin, l.ca, pairs); err != nil {
		return sample{}, nil, err
	}
	values := b.values()
	values["ca"], values["home"], values["list"] = l.ca, home, filepath.Join(home, "list.txt")
	t := task{Commands: c.commandsFor(pairs, values), Home: home}
	measured, err := measureApart(ctx, filepath.Join(b.bin, "bench"), t)
	if err != nil {
		return sample{}, nil, err
	}
	source.close()
	destination.close()
	return sample{
		wall: measured.Wall, cpu: measured.CPU, memory: measured.Memory, failed: measured.Failed,
		connections: source.connections.Load() + destination.connections.Load(),
		bytes:       source.bytes.Load() + destination.bytes.Load(),
	}, pairs, nil
}
