// Package child is how commands for maintainers run other programs: so that
// none of them outlives the command, however that ends.
package child

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// patience is how long a process may take to end after it was told to. Somebody
// waits for the prompt then, and nothing of what is ended is kept.
const patience = 3 * time.Second

// Program is a program to run.
type Program struct {
	Path string
	Dir  string   // "" for the parent's own
	Env  []string // nil for the parent's own
}

// Name is what a person calls the program.
func (p Program) Name() string { return filepath.Base(p.Path) }

// command makes a command that is interrupted when ctx ends, and so has the time
// to clean up after itself: terraform ends its providers, go its compilers. It
// does not hear of a Ctrl-C otherwise, as it would hear of it twice.
func (p Program) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.Path, args...)
	cmd.Dir, cmd.Env = p.Dir, p.Env
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = patience
	ownGroup(cmd)
	return cmd
}

// Run runs the program and returns its standard output. The error has all that
// it printed.
func (p Program) Run(ctx context.Context, args ...string) (string, error) {
	cmd := p.command(ctx, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	killGroup(cmd)
	if err != nil {
		err = fmt.Errorf("%s %s: %w\n%s%s", p.Name(), args[0], err, &stdout, &stderr)
	}
	return stdout.String(), err
}
