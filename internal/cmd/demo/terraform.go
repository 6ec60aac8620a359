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

// planFile is the file of the plan that show and apply use.
const planFile = "demo.tfplan"

// terraform runs terraform or tofu on one configuration, independent of the CLI configuration
// of this machine.
type terraform struct{ child.Program }

// findTerraform returns the absolute form of path. If path is "", it returns the path of
// terraform on PATH or, if that is missing, of tofu.
func findTerraform(path string) (string, error) {
	candidates := []string{path}
	if path == "" {
		candidates = []string{"terraform", "tofu"}
	}
	for _, name := range candidates {
		if found, err := exec.LookPath(name); err == nil {
			return filepath.Abs(found)
		}
	}
	return "", fmt.Errorf("found no program %s", strings.Join(candidates, " or "))
}

// configure makes later commands use the provider in bin and the given variables. No init is
// needed, because the only provider has a development override.
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

// plan makes a plan and reports whether it contains changes.
func (t *terraform) plan(ctx context.Context) (changes bool, err error) {
	_, err = t.Run(ctx, "plan", "-input=false", "-no-color", "-detailed-exitcode", "-out="+planFile)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 2 {
		return true, nil
	}
	return false, err
}

// show returns the text of the last plan.
func (t *terraform) show(ctx context.Context) (string, error) {
	text, err := t.Run(ctx, "show", "-no-color", planFile)
	return strings.Trim(text, "\n"), err
}

// apply applies the last plan and returns its output about resources, without the warning about
// the development override.
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

// outputs returns the values of all outputs, which must be strings.
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

// plansUpdate checks that the last plan updates the resource in place from one digest to the
// other, and does not change other resources.
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
