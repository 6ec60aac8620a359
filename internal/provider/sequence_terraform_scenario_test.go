package provider_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"
	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/provider"
)

// realTerraform runs sequences with the terraform program.
type realTerraform struct {
	*workspace
	w       *fixture
	baseEnv []string // the environment without the provider
	runs    int
}

func newRealTerraform(t *testing.T) func(*fixture, *rand.Rand) terraform {
	ws := newWorkspace(t)
	return func(w *fixture, _ *rand.Rand) terraform {
		return &realTerraform{workspace: ws, w: w, baseEnv: ws.env}
	}
}

// restartProvider serves a new provider for the next command, as if Terraform had started a
// process. The name of the process identifies the requests of a killed one.
func (r *realTerraform) restartProvider() {
	r.runs++
	server := providerserver.NewProtocol6(provider.New(fmt.Sprintf("process-%d", r.runs), isolateOptions)())
	r.env = slices.Concat(r.baseEnv, []string{"TF_REATTACH_PROVIDERS=" + serveProviders(r.t, map[string]func() tfprotov6.ProviderServer{providerAddress: server})})
}

func (r *realTerraform) plan(config settings, o planOptions) (plannedRun, error) {
	r.t.Helper()
	r.restartProvider()
	r.configure(config.blocks(r.w)...)
	file := filepath.Join(r.dir, fmt.Sprintf("%d.tfplan", r.runs))
	args := []string{"plan", "-input=false", "-no-color", "-out=" + file}
	if o.destroy {
		args = append(args, "-destroy")
	}
	if o.noRefresh {
		args = append(args, "-refresh=false")
	}
	if o.replace != "" {
		args = append(args, "-replace="+copyType+"."+o.replace)
	}
	if stdout, stderr, err := r.command(args...); err != nil {
		return plannedRun{}, fmt.Errorf("%w: %s%s", err, stderr, stdout)
	}
	var document tfjson.Plan
	r.show(&document, file)
	planned := plannedRun{copies: map[string]plannedCopy{}, empty: true, handle: file}
	for _, change := range document.ResourceChanges {
		planned.empty = planned.empty && change.Change.Actions.NoOp()
		if change.DeposedKey != "" {
			continue
		}
		text := func(attribute string) string {
			value, _ := valueOf(change.Change.After, attribute).(string)
			return value
		}
		planned.copies[change.Name] = plannedCopy{actionOf(change.Change.Actions), digest.Digest(text("digest")), text("promoted_reference")}
	}
	return planned, nil
}

func actionOf(actions tfjson.Actions) action {
	var names []string
	for _, one := range actions {
		names = append(names, string(one))
	}
	return action(strings.Join(names, ", "))
}

// apply applies a plan file. The fixture can interrupt or kill terraform. It cannot kill the
// provider alone, which runs in this process.
func (r *realTerraform) apply(planned plannedRun) error {
	r.t.Helper()
	if planned.empty {
		return nil
	}
	r.restartProvider()
	cmd := exec.CommandContext(r.t.Context(), r.terraform, "apply", "-input=false", "-no-color", planned.handle.(string))
	cmd.Dir, cmd.Env = r.dir, r.env
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	r.w.mu.Lock()
	if r.w.planned == providerKilled {
		r.w.planned = allKilled
	}
	signal := os.Interrupt
	if r.w.planned == allKilled {
		signal = os.Kill
	}
	r.w.stop = func() { _ = cmd.Process.Signal(signal) } // the process may have exited already
	err := cmd.Start()
	r.w.mu.Unlock()
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return fmt.Errorf("%w: %s", err, out.String())
	}
	return nil
}

func (r *realTerraform) stored() map[string][]storedCopy {
	r.t.Helper()
	content, err := os.ReadFile(filepath.Join(r.dir, "terraform.tfstate"))
	if errors.Is(err, os.ErrNotExist) || err == nil && len(content) == 0 {
		return nil // terraform creates the file before it writes it
	}
	var state struct {
		Resources []struct {
			Name      string
			Instances []struct {
				Status     string
				Attributes struct {
					Destination    string
					AdditionalTags []string      `json:"additional_tags"`
					OnDestroy      string        `json:"on_destroy"`
					Digest         digest.Digest `json:"digest"`
				}
			}
		}
	}
	if err = errors.Join(err, json.Unmarshal(content, &state)); err != nil {
		r.t.Fatal(err)
	}
	all := map[string][]storedCopy{}
	for _, one := range state.Resources {
		for _, object := range one.Instances {
			attributes := object.Attributes
			target := r.w.parseTag(attributes.Destination)
			stored := storedCopy{attributes.OnDestroy, attributes.Digest, []tagAt{target}, referenceFamily(attributes.Destination), object.Status == "tainted"}
			for _, tag := range attributes.AdditionalTags {
				stored.tags = append(stored.tags, tagAt{target.host, target.repo, tag})
			}
			all[one.Name] = append(all[one.Name], stored)
		}
	}
	return all
}

func (r *realTerraform) taint(name string) {
	r.t.Helper()
	if stdout, stderr, err := r.command("taint", "-allow-missing", copyType+"."+name); err != nil {
		r.t.Fatalf("taint: %v\n%s%s", err, stdout, stderr)
	}
}

func (r *realTerraform) importTag(config settings, name, id string) error {
	r.t.Helper()
	r.restartProvider()
	r.configure(config.blocks(r.w)...)
	r.importResource(copyType+"."+name, id)
	return nil
}

func TestSequences_Terraform(t *testing.T) {
	t.Parallel()
	for _, seed := range seeds(t, 20) {
		t.Run(fmt.Sprintf("seed_%d", seed), func(t *testing.T) {
			t.Parallel()
			newSequence(t, seed, newRealTerraform(t)).run(2)
		})
	}
}

// TestSequences_EmulationMatchesTerraform checks that the emulation and the terraform program
// plan and do the same in the same sequences.
func TestSequences_EmulationMatchesTerraform(t *testing.T) {
	t.Parallel()
	for _, seed := range []uint64{1, 2, 3} {
		t.Run(fmt.Sprintf("seed_%d", seed), func(t *testing.T) {
			t.Parallel()
			var logs [2][]string
			for i, run := range []func(*fixture, *rand.Rand) terraform{newRealTerraform(t), newEmulatedTerraform(t)} {
				s := newSequence(t, seed, run)
				s.faultless = true
				s.run(3)
				for _, line := range s.log {
					// Terraform formats errors differently.
					line, _, _ = strings.Cut(line, "refused: ")
					logs[i] = append(logs[i], line)
				}
			}
			if !slices.Equal(logs[0], logs[1]) {
				t.Errorf("terraform:\n%s\n\nemulation:\n%s", strings.Join(logs[0], "\n"), strings.Join(logs[1], "\n"))
			}
		})
	}
}
