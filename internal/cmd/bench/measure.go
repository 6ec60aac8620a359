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

// task is what a measuring process runs: some at a time, each in an environment
// without the credentials and settings of this machine.
type task struct {
	Commands []command
	Home     string // what stands in for the home directory
}

// took is what a task took.
type took struct {
	Wall   time.Duration
	CPU    time.Duration // of all processes, in user and kernel mode
	Memory int64         // peak of the largest process, in bytes
	Failed string        // why, and "" where nothing did
}

// measureApart runs a task in a process between this one and the task: the peak
// memory of a process begins with its parent's, and this one may be large.
func measureApart(ctx context.Context, bench string, t task) (took, error) {
	printed, err := child.Program{Path: bench}.Run(ctx, "measure", string(encode(t)))
	if late := ctx.Err(); late != nil {
		return took{Failed: "it did not end: " + late.Error()}, nil //nolint:nilerr // a copier that takes too long is a result
	}
	if err != nil {
		return took{}, err
	}
	var result took
	err = json.Unmarshal([]byte(printed), &result)
	return result, err
}

// runMeasure is the subcommand: it takes a task and prints what it took.
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

func (t task) run(ctx context.Context) took {
	states := make([]*os.ProcessState, len(t.Commands))
	environment := t.environment(os.Environ())
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	began := time.Now()
	for i, c := range t.Commands {
		group.Go(func() (err error) {
			states[i], err = c.run(ctx, environment)
			return err
		})
	}
	err := group.Wait()
	result := took{Wall: time.Since(began)}
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

// run runs the command to its end; the error has the end of what it printed.
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

// environment is the given one with a home that is the task's own, and without
// what changes how a program reaches a registry.
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
