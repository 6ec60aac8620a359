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

// bench is a run of the command.
type bench struct {
	options
	log        io.Writer
	dir        string // all files of the run except the page
	bin        string // programs built from this tree
	tree       string // description of the tree that they were built from
	contenders []contender
	digests    map[string]string // digests of the images at the source, by repository
}

// runBench runs the measurements of o and writes the page.
func runBench(ctx context.Context, o options, log io.Writer) error {
	dir, err := os.MkdirTemp(memoryBacked(), "registry-bench-")
	if err != nil {
		return err
	}
	o.terraform = findTerraform(o.terraform)
	b := &bench{options: o, log: log, dir: dir, bin: filepath.Join(dir, "bin"), digests: map[string]string{}}
	page, err := b.measureAll(ctx)
	if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
		return err
	}
	return os.WriteFile(o.out, []byte(page.markdown()), 0o644)
}

// memoryBacked returns a directory in memory, so that the measurements do not depend on a disk.
// If the system has none, it returns "", which selects the default temporary directory.
func memoryBacked() string {
	const shm = "/dev/shm"
	if info, err := os.Stat(shm); err == nil && info.IsDir() {
		return shm
	}
	return ""
}

func (b *bench) logf(format string, args ...any) { fmt.Fprintf(b.log, format+"\n", args...) }

func (b *bench) measureAll(ctx context.Context) (*page, error) {
	if err := b.build(ctx); err != nil {
		return nil, err
	}
	var missing []string
	if b.contenders, missing = b.find(ctx); len(missing) > 0 {
		b.logf("not on PATH and omitted: %s", strings.Join(missing, ", "))
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

// build builds all programs of this tree. It builds this command too, because the running one
// may have been started with `go run`.
func (b *bench) build(ctx context.Context) error {
	b.logf("building")
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

// seed pushes the images that the scenarios copy.
func (b *bench) seed(ctx context.Context) (err error) {
	b.logf("seeding")
	l, err := b.startRegistries(ctx, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	s := &seeder{registry: l.source, uploaded: map[digest.Digest]string{}}
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

// measureTransport measures all scenarios with all round-trip times, over plain HTTP or TLS.
func (b *bench) measureTransport(ctx context.Context, tls bool, p *page) (err error) {
	l, err := b.startRegistries(ctx, tls)
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

// measureScenario runs the scenario once with every copier, and repeats that for each run, so
// that other load on the machine affects all copiers alike.
func (b *bench) measureScenario(ctx context.Context, l *registryPair, s scenario, set setting) ([]row, error) {
	var rows []row
	for _, c := range b.contenders {
		if c.supports(s) {
			rows = append(rows, row{contender: c})
		}
	}
	for n := range b.runs {
		for i := range rows {
			r := &rows[i]
			result, err := b.measureCopy(ctx, l, s, set, r.contender)
			if err = errors.Join(err, ctx.Err()); err != nil {
				return nil, fmt.Errorf("%s, %s: %w", s.name, r.name, err)
			}
			r.samples = append(r.samples, result)
			b.logf("%s, %s, run %d of %d: %s %s", set, s.name, n+1, b.runs, r.name, result)
		}
	}
	return rows, nil
}

// copyTimeout limits how long a copier may take for a scenario.
const copyTimeout = 5 * time.Minute

// measureCopy runs the scenario once with one copier. The sample reports failures of the
// copier. The error reports failures of the benchmark itself.
func (b *bench) measureCopy(ctx context.Context, l *registryPair, s scenario, set setting, c contender) (sample, error) {
	if err := s.prepare(ctx, l); err != nil {
		return sample{}, err
	}
	home, err := os.MkdirTemp(b.dir, "home-")
	if err != nil {
		return sample{}, err
	}
	defer func() { _ = os.RemoveAll(home) }() // the parent directory is removed at the end in any case
	before, err := l.requests(ctx)
	if err != nil {
		return sample{}, err
	}
	result, pairs, err := b.runThroughProxies(ctx, l, s, set, c, home)
	if err != nil {
		return sample{}, err
	}
	after, err := l.requests(ctx)
	if err != nil {
		return sample{}, err
	}
	result.requests = difference(after, before)
	if result.failed == "" {
		result.failed = l.check(ctx, pairs)
	}
	result.failed = strings.ReplaceAll(result.failed, b.dir, "…")
	return result, nil
}

// runThroughProxies runs the copier's commands between two proxies.
func (b *bench) runThroughProxies(ctx context.Context, l *registryPair, s scenario, set setting, c contender, home string) (sample, []pair, error) {
	ctx, cancel := context.WithTimeout(ctx, copyTimeout)
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
	measured, err := measureInChild(ctx, filepath.Join(b.bin, "bench"), t)
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
