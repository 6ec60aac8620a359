package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/cmd/internal/child"
)

// task is a set of commands that a measuring process runs, some of them concurrently. Each
// command runs in an environment without the credentials and settings of this machine.
type task struct {
	Commands []command
	Home     string // used as the home directory
}

// measurement is the result of a task.
type measurement struct {
	Wall   time.Duration
	CPU    time.Duration // user and system time of all processes
	Memory int64         // peak of the largest process, in bytes
	Failed string        // the first error; "" if no command failed
}

// measureInChild runs a task in a separate child process. The peak memory of a process starts
// with the memory of its parent, which may be large for this process.
func measureInChild(ctx context.Context, bench string, t task) (measurement, error) {
	printed, err := child.Program{Path: bench}.Run(ctx, "measure", string(encode(t)))
	if late := ctx.Err(); late != nil {
		return measurement{Failed: "it did not end: " + late.Error()}, nil //nolint:nilerr // a copier that takes too long is a result
	}
	if err != nil {
		return measurement{}, err
	}
	var result measurement
	err = json.Unmarshal([]byte(printed), &result)
	return result, err
}

// runMeasure implements the measure subcommand. It runs a task and prints the measurement.
func runMeasure(ctx context.Context, args []string, stdout io.Writer) error {
	if len(args) != 1 {
		return errors.New("usage: bench measure TASK")
	}
	var t task
	if err := json.Unmarshal([]byte(args[0]), &t); err != nil {
		return err
	}
	return json.NewEncoder(stdout).Encode(t.run(ctx))
}

func (t task) run(ctx context.Context) measurement {
	states := make([]*os.ProcessState, len(t.Commands))
	environment := t.environment(os.Environ())
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(concurrency)
	began := time.Now()
	for i, c := range t.Commands {
		group.Go(func() (err error) {
			states[i], err = c.run(ctx, environment)
			return err
		})
	}
	err := group.Wait()
	result := measurement{Wall: time.Since(began)}
	for _, state := range states {
		if state != nil {
			result.CPU += state.UserTime() + state.SystemTime()
			result.Memory = max(result.Memory, peakMemory(state))
		}
	}
	if err != nil {
		result.Failed = err.Error()
	}
	return result
}

// run runs a command until it exits. The error includes the end of its output.
func (c command) run(ctx context.Context, environment []string) (*os.ProcessState, error) {
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...)
	cmd.Env = slices.Concat(environment, c.Env)
	printed, err := cmd.CombinedOutput()
	if err != nil {
		end := strings.Join(strings.Fields(string(printed)), " ")
		err = fmt.Errorf("%w: %s", err, end[max(0, len(end)-300):])
	}
	return cmd.ProcessState, err
}

// environment returns the given environment with the task's home directory, and without
// variables that change how a program connects to a registry.
func (t task) environment(given []string) []string {
	var kept []string
	for _, variable := range given {
		name, _, _ := strings.Cut(variable, "=")
		switch {
		case strings.HasPrefix(name, "TF_"), strings.HasPrefix(name, "SSL_CERT_"),
			strings.HasSuffix(strings.ToLower(name), "_proxy"), name == "REGISTRY_AUTH_FILE":
		default:
			kept = append(kept, variable)
		}
	}
	for _, name := range []string{"HOME", "DOCKER_CONFIG", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"} {
		kept = append(kept, name+"="+t.Home)
	}
	return kept
}
