package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/cmd/internal/child"
)

// planFile is where a plan is kept between plan, show and apply.
const planFile = "demo.tfplan"

// terraform is terraform or tofu, which it runs on one configuration, with nothing of this
// machine's own configuration.
type terraform struct{ child.Program }

// find is path made absolute, or the terraform or else the tofu on PATH where
// path is "".
func find(path string) (string, error) {
	candidates := []string{path}
	if path == "" {
		candidates = []string{"terraform", "tofu"}
	}
	for _, candidate := range candidates {
		if found, err := exec.LookPath(candidate); err == nil {
			return filepath.Abs(found)
		}
	}
	return "", fmt.Errorf("found no program %s", strings.Join(candidates, " or "))
}

// configure makes the commands that follow use the provider in bin, and these
// variables. Because the only provider is overridden, there is no init.
func (t *terraform) configure(bin string, variables map[string]string) error {
	rc := filepath.Join(t.Dir, "terraform.rc")
	config := fmt.Sprintf(`provider_installation {
  dev_overrides {
    "terraform-provider-registry/registry" = %q
  }
  direct {}
}
`, bin)
	if err := os.WriteFile(rc, []byte(config), 0o600); err != nil {
		return err
	}
	t.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "TF_") })
	t.Env = append(t.Env, "TF_CLI_CONFIG_FILE="+rc, "TF_IN_AUTOMATION=1", "CHECKPOINT_DISABLE=1")
	for name, value := range variables {
		t.Env = append(t.Env, "TF_VAR_"+name+"="+value)
	}
	return nil
}

// plan makes a plan and says whether it changes anything.
func (t *terraform) plan(ctx context.Context) (changes bool, err error) {
	_, err = t.Run(ctx, "plan", "-input=false", "-no-color", "-detailed-exitcode", "-out="+planFile)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 2 {
		return true, nil
	}
	return false, err
}

// show is the last plan in words.
func (t *terraform) show(ctx context.Context) (string, error) {
	text, err := t.Run(ctx, "show", "-no-color", planFile)
	return strings.Trim(text, "\n"), err
}

// apply applies the last plan and returns what was done, without the warning
// that a provider is overridden.
func (t *terraform) apply(ctx context.Context) (string, error) {
	text, err := t.Run(ctx, "apply", "-input=false", "-no-color", planFile)
	var done strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "registry_image_copy.") || strings.HasPrefix(line, "Apply complete!") {
			done.WriteString(line)
		}
	}
	return done.String(), err
}

// outputs are the values of the outputs that are strings.
func (t *terraform) outputs(ctx context.Context) (map[string]string, error) {
	text, err := t.Run(ctx, "output", "-json")
	if err != nil {
		return nil, err
	}
	var outputs map[string]struct {
		Value string `json:"value"`
	}
	if err := json.Unmarshal([]byte(text), &outputs); err != nil {
		return nil, err
	}
	values := map[string]string{}
	for name, output := range outputs {
		values[name] = output.Value
	}
	return values, nil
}

// plansUpdate checks that the last plan updates the resource in place, from one
// digest to the other, and changes no other resource.
func (t *terraform) plansUpdate(ctx context.Context, address, from, to string) error {
	text, err := t.Run(ctx, "show", "-json", planFile)
	if err != nil {
		return err
	}
	var plan struct {
		Changes []struct {
			Address string `json:"address"`
			Change  struct {
				Actions []string `json:"actions"`
				Before  struct {
					Digest string `json:"digest"`
				} `json:"before"`
				After struct {
					Digest string `json:"digest"`
				} `json:"after"`
			} `json:"change"`
		} `json:"resource_changes"`
	}
	if err := json.Unmarshal([]byte(text), &plan); err != nil {
		return err
	}
	found := false
	for _, c := range plan.Changes {
		want := []string{"no-op"}
		if c.Address == address {
			want, found = []string{"update"}, true
			if c.Change.Before.Digest != from || c.Change.After.Digest != to {
				return fmt.Errorf("the plan changes %s from %s to %s and not from %s to %s",
					address, c.Change.Before.Digest, c.Change.After.Digest, from, to)
			}
		}
		if !slices.Equal(c.Change.Actions, want) {
			return fmt.Errorf("the plan is to %v %s and not to %v it", c.Change.Actions, c.Address, want)
		}
	}
	if !found {
		return fmt.Errorf("the plan does not know %s", address)
	}
	return nil
}
