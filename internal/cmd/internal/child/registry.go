package child

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// Registry is a registry command that runs until it is stopped, or its standard
// input is closed because its parent ended in another way.
type Registry struct {
	// Address is the host:port that it listens on.
	Address string

	cmd   *exec.Cmd
	end   func()
	stdin io.Closer
}

// StartRegistry starts the registry command at path with these flags and waits
// until it says where it listens. It outlives ctx, because a program that is
// interrupted goes on asking it for a moment, and may try for seconds to reach
// one that is gone. Stop it.
func StartRegistry(ctx context.Context, path string, flags ...string) (*Registry, error) {
	ctx, end := context.WithCancel(context.WithoutCancel(ctx))
	p := Program{Path: path}
	r := &Registry{cmd: p.command(ctx, append(flags, "-stdin")...), end: end}
	r.cmd.Stderr = os.Stderr
	stdout, err := r.cmd.StdoutPipe()
	if err == nil {
		r.stdin, err = r.cmd.StdinPipe()
	}
	if err == nil {
		err = r.cmd.Start()
	}
	if err != nil {
		end()
		return nil, err
	}
	// It prints one line, or ends.
	address, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s did not start: %w", p.Name(), err), r.Stop())
	}
	r.Address = strings.TrimSpace(address)
	return r, nil
}

// Stop ends the registry and waits for it.
func (r *Registry) Stop() error {
	r.end()
	err := r.cmd.Wait()
	if errors.Is(err, context.Canceled) {
		return nil // it was told to
	}
	return err
}
