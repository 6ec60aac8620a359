//go:build unix

package provider_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// newWrappedWorkspace is like newInstalledWorkspace, but installs a shell script as the
// provider. The script runs the provider as $provider and may write to the directory $dir.
func newWrappedWorkspace(t *testing.T, script string) (w *workspace, log func() string) {
	t.Helper()
	w, _ = newInstalledWorkspace(t)
	dir, err := buildProvider()
	if err != nil {
		t.Fatal(err)
	}
	const name = "terraform-provider-registry"
	in := t.TempDir()
	script = fmt.Sprintf("#!/bin/sh\nprovider='%s'\ndir='%s'\n%s\n", filepath.Join(dir, name), in, script)
	if err := os.WriteFile(filepath.Join(in, name), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	w.env = append(w.env, "TF_LOG=TRACE")
	log = w.useProviderBinary(in)
	return w, log
}

func TestProcess_StandardOutput(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	written := filepath.Join(t.TempDir(), "stdout")
	ws, log := newWrappedWorkspace(t, `"$provider" | tee -a '`+written+`'`)
	ws.converge(imageCopy("app", pushed.Ref, dst.Ref("app", "1")), manifest(pushed.Ref))
	ws.configure(imageCopy("app", src.Ref("app", "2"), dst.Ref("app", "1")))
	ws.planFails()

	content, err := os.ReadFile(written)
	if err != nil {
		t.Fatal(err)
	}
	handshakes := 0
	for line := range strings.Lines(string(content)) {
		if handshakes++; !regexp.MustCompile(`^1\|6\|unix\|.*\|grpc\|.*\n$`).MatchString(line) {
			t.Errorf("the provider wrote %q", line)
		}
	}
	if handshakes < 3 { // plan, apply, plan
		t.Errorf("%d providers were started", handshakes)
	}
	// Terraform logs output that follows the handshake.
	assertNoCrash(t, log(), "unexpected data")
}

func TestProcess_KilledDuringApply(t *testing.T) {
	t.Parallel()
	for name, kill := range map[string]func(terraform, provider int) error{
		"terraform_and_provider": func(terraform, _ int) error { return syscall.Kill(-terraform, syscall.SIGKILL) },
		"provider":               func(_, provider int) error { return syscall.Kill(provider, syscall.SIGKILL) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, upstream := registrytest.V3(t), registrytest.V3(t)
			dst := registrytest.Intercept(t, upstream)
			first := src.Push(t, "app", "1", registrytest.MultiArch("first"))
			pid := filepath.Join(t.TempDir(), "pid")
			ws, _ := newWrappedWorkspace(t, "echo $$ > '"+pid+"'\nexec \"$provider\"")
			updated := imageCopy("app", first.Ref, dst.Ref("app", "1"))
			ws.converge(updated)
			second := src.Push(t, "app", "1", registrytest.MultiArch("second"))
			ws.configure(updated, imageCopy("created", second.Ref, dst.Ref("created", "1")))
			plan := ws.plan()

			// One blob is uploaded, and others are in progress or waiting.
			dst.Forget()
			dst.On("PUT", ".*/blobs/uploads/.*").After(1).Stall()
			cmd := exec.CommandContext(t.Context(), ws.terraform, "apply", "-json", "-input=false", plan.file)
			cmd.Dir, cmd.Env, cmd.SysProcAttr = ws.dir, ws.env, &syscall.SysProcAttr{Setpgid: true}
			cmd.WaitDelay = time.Minute
			var out bytes.Buffer
			cmd.Stdout = &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			dst.Wait(t, func() bool { return dst.Count("PUT", ".*/blobs/uploads/.*") > 1 })
			started, err := os.ReadFile(pid)
			if err != nil {
				t.Fatal(err)
			}
			provider, err := strconv.Atoi(strings.TrimSpace(string(started)))
			if err != nil {
				t.Fatal(err)
			}
			if err := kill(cmd.Process.Pid, provider); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err == nil {
				t.Errorf("the apply succeeded:\n%s", out.String())
			}
			dst.Clear()
			if created := ws.addresses(); !created[app] || created["registry_image_copy.created"] {
				t.Errorf("the state has %v", created)
			}
			registrytest.Same(t, first.Tree, upstream.Read(t, "app", "1"))
			if upstream.HasManifest(t, "created", "1") {
				t.Error("a tag was written")
			}

			plan = ws.plan()
			plan.wantAction(app, tfjson.ActionUpdate).wantAction("registry_image_copy.created", tfjson.ActionCreate)
			ws.apply(plan)
			ws.wantNoChanges()
			registrytest.Same(t, second.Tree, upstream.Read(t, "app", "1"))
			registrytest.Same(t, second.Tree, upstream.Read(t, "created", "1"))
		})
	}
}
