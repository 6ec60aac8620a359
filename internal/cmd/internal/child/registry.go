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

// Registry is a running registry command. It runs until it is stopped, or until its standard
// input is closed because the parent process ended.
type Registry struct {
	// Address is the host:port on which the registry listens.
	Address string

	cmd   *exec.Cmd
	end   func()
	stdin io.Closer
}

// StartRegistry starts the registry command at path with the given flags and waits until it
// prints its address. The registry does not stop when ctx ends, because an interrupted program
// still sends requests for a moment and may retry for seconds if the registry is unreachable.
// The caller must stop it.
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
	// The command prints one line, or exits.
	address, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s did not start: %w", p.Name(), err), r.Stop())
	}
	r.Address = strings.TrimSpace(address)
	return r, nil
}

// Stop stops the registry and waits for it to exit.
func (r *Registry) Stop() error {
	r.end()
	err := r.cmd.Wait()
	if errors.Is(err, context.Canceled) {
		return nil // stopped by r.end
	}
	return err
}
