package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// patience is how long a process may take to end after it was told to. Somebody
// waits for the prompt then, and nothing of what is ended is kept.
const patience = 3 * time.Second

// program is a program to run.
type program struct {
	path string
	dir  string   // "" for the demo's own
	env  []string // nil for the demo's own
}

// name is what a person calls the program.
func (p program) name() string { return filepath.Base(p.path) }

// command makes a command that is interrupted when ctx ends, and so has the time
// to clean up after itself: terraform ends its providers, go its compilers. It
// does not hear of a Ctrl-C otherwise, as it would hear of it twice.
func (p program) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.path, args...)
	cmd.Dir, cmd.Env = p.dir, p.env
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = patience
	ownGroup(cmd)
	return cmd
}

// run runs the program and returns its standard output. The error has all that
// it printed.
func (p program) run(ctx context.Context, args ...string) (string, error) {
	cmd := p.command(ctx, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	killGroup(cmd)
	if err != nil {
		err = fmt.Errorf("%s %s: %w\n%s%s", p.name(), args[0], err, &stdout, &stderr)
	}
	return stdout.String(), err
}

// process is a registry that runs until it is stopped, or standard input is
// closed because the demo ended in another way.
type process struct {
	address string
	cmd     *exec.Cmd
	end     func()
	stdin   io.Closer
}

// startRegistry starts one of the registry commands and waits until it says
// where it listens. It outlives ctx, because a terraform that is interrupted
// goes on asking it for a moment, and would try for seconds to reach one that is
// gone.
func startRegistry(ctx context.Context, path string) (*process, error) {
	ctx, end := context.WithCancel(context.WithoutCancel(ctx))
	p := &process{cmd: program{path: path}.command(ctx, "-stdin"), end: end}
	p.cmd.Stderr = os.Stderr
	stdout, err := p.cmd.StdoutPipe()
	if err == nil {
		p.stdin, err = p.cmd.StdinPipe()
	}
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		end()
		return nil, err
	}
	// It prints one line, or ends.
	address, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s did not start: %w", filepath.Base(path), err), p.stop())
	}
	p.address = strings.TrimSpace(address)
	return p, nil
}

// stop ends the registry and waits for it.
func (p *process) stop() error {
	p.end()
	err := p.cmd.Wait()
	if errors.Is(err, context.Canceled) {
		return nil // it was told to
	}
	return err
}
