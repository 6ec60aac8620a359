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

// patience is how long a process may take to end after it was told to.
const patience = 10 * time.Second

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

// process is a registry that runs as long as its standard input is open, so
// that it ends with the demo however the demo ends.
type process struct {
	address string
	cmd     *exec.Cmd
	stdin   io.Closer
}

// startRegistry starts one of the registry commands and waits until it says
// where it listens.
func startRegistry(ctx context.Context, path string) (*process, error) {
	cmd := program{path: path}.command(ctx, "-stdin")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, stdin: stdin}
	// It prints one line, or ends.
	address, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s did not start: %w", filepath.Base(path), err), p.stop())
	}
	p.address = strings.TrimSpace(address)
	return p, nil
}

// stop ends the registry and waits for it. That it was interrupted already is
// no error.
func (p *process) stop() error {
	_ = p.stdin.Close()
	err := p.cmd.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
