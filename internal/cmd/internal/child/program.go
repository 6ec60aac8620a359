// Package child runs other programs for the maintainer commands. It ensures that no program
// outlives the command, however the command ends.
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

// waitDelay is how long a process may take to exit after an interrupt before it is killed. It
// is short because a user waits for the prompt, and nothing of an interrupted program is kept.
const waitDelay = 3 * time.Second

// Program is a program to run.
type Program struct {
	Path string
	Dir  string   // "" for that of the parent
	Env  []string // nil for that of the parent
}

// Name returns the file name of the program.
func (p Program) Name() string { return filepath.Base(p.Path) }

// command returns a command that is interrupted when ctx ends, so that it can clean up:
// terraform stops its providers, and go its compilers. The command runs in its own process
// group, so that it does not receive Ctrl-C a second time from the terminal.
func (p Program) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.Path, args...)
	cmd.Dir, cmd.Env = p.Dir, p.Env
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = waitDelay
	ownGroup(cmd)
	return cmd
}

// Run runs the program and returns its standard output. The error includes the whole output.
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
