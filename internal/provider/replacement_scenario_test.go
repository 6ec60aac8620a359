package provider_test

import (
	"os"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

const createBeforeDestroyHCL = "lifecycle {\n    create_before_destroy = true\n  }"

// replaceMethods are the user actions that make Terraform replace a copy.
var replaceMethods = map[string]struct {
	arguments []string
	more      func(revision string) string
	prepare   func(ws *workspace)
	plan      []string
}{
	"replace": {plan: []string{"-replace=" + app}},
	"taint": {prepare: func(ws *workspace) {
		if _, stderr, err := ws.command("taint", app); err != nil {
			ws.t.Fatal(stderr)
		}
	}},
	"replace_triggered_by": {
		arguments: []string{"lifecycle {\n    replace_triggered_by = [terraform_data.revision]\n  }"},
		more: func(revision string) string {
			return "resource \"terraform_data\" \"revision\" {\n  input = \"" + revision + "\"\n}"
		},
	},
}

func TestReplacement_KeepsOwnership(t *testing.T) {
	t.Parallel()
	for name, way := range replaceMethods {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, dst := registrytest.V3(t), registrytest.V3(t)
			src.Push(t, "app", "1", registrytest.MultiArch("first"))
			proxy := registrytest.Intercept(t, dst)
			configure := func(ws *workspace, revision, tags string) {
				blocks := []string{imageCopy("app", src.Ref("app", "1"), proxy.Ref("app", "1"), append(way.arguments, noOverwrite, `on_destroy = "delete"`, "additional_tags = "+tags)...)}
				if way.more != nil {
					blocks = append(blocks, way.more(revision))
				}
				ws.configure(blocks...)
			}
			ws := newWorkspace(t)
			configure(ws, "a", `["stable", "old"]`)
			ws.apply(ws.plan())

			// The source has moved, and one tag is removed from the list.
			second := src.Push(t, "app", "1", registrytest.MultiArch("second"))
			if way.prepare != nil {
				way.prepare(ws)
			}
			configure(ws, "b", `["stable"]`)
			plan := ws.plan(way.plan...)
			plan.wantAction(app, tfjson.ActionDelete, tfjson.ActionCreate).wantWarning("Tags No Longer Listed", ": old.", `on_destroy = "delete" removes them`, "unless the resource is replaced with create_before_destroy")
			proxy.Forget()
			ws.apply(plan)
			ws.wantNoChanges()
			for _, tag := range []string{"1", "stable"} {
				registrytest.Same(t, second.Tree, dst.Read(t, "app", tag))
			}
			assertTags(t, dst, "app", "1", "stable")
			puts, deletes := 0, 0
			for _, r := range proxy.Requests() {
				if r.Method == "PUT" && strings.Contains(r.Path, "/manifests/") {
					puts++
				}
				if r.Method == "DELETE" {
					deletes++
					if puts == 0 {
						t.Error("a tag was removed before the image was complete")
					}
				}
			}
			if deletes != 1 {
				t.Errorf("%d tags were removed, want 1", deletes)
			}

			// The resource keeps ownership of the tags.
			ws.destroy().wantNoWarnings()
			assertTags(t, dst, "app")
		})
	}
}

func TestReplacement_RemovesNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		taint  bool
		plan   []string
		warned bool
	}{
		"replace":               {plan: []string{"-replace=" + app}},
		"replace_unrefreshed":   {plan: []string{"-replace=" + app, "-refresh=false"}},
		"taint":                 {taint: true},
		"taint_unrefreshed":     {taint: true, plan: []string{"-refresh=false"}, warned: true},
		"replace_and_then_fail": {plan: []string{"-replace=" + app}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, dst := registrytest.V3(t), registrytest.V3(t)
			pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
			proxy := registrytest.Intercept(t, dst)
			ws := newWorkspace(t)
			ws.converge(imageCopy("app", pushed.Ref, proxy.Ref("app", "1"), `on_destroy = "delete"`, `additional_tags = ["stable"]`))
			if c.taint {
				replaceMethods["taint"].prepare(ws)
			}
			plan := ws.plan(c.plan...)
			plan.wantAction(app, tfjson.ActionDelete, tfjson.ActionCreate)
			proxy.Forget()
			if strings.HasSuffix(name, "fail") {
				proxy.On(".*", ".*").Reply(403, nil, "")
				ws.applyFails(plan)
				proxy.Clear()
			} else if result := ws.apply(plan); c.warned {
				result.wantWarning("Tags Retained After Replacement", "tainted", "-refresh=false", proxy.Addr+"/app")
			} else {
				result.wantNoWarnings()
			}
			if n := proxy.Count("DELETE|PUT", ".*"); n != 0 {
				t.Errorf("%d requests changed something", n)
			}
			registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "1"))
			assertTags(t, dst, "app", "1", "stable")
		})
	}
}

// TestReplacement_WithoutPrivateState checks replacements for which Terraform does not pass the
// private state of the replaced object: with create_before_destroy, and for a tainted object
// without a refresh.
func TestReplacement_WithoutPrivateState(t *testing.T) {
	t.Parallel()
	const cause = "the record of that was not passed on"
	t.Run("create_before_destroy", func(t *testing.T) {
		t.Parallel()
		src, dst := registrytest.V3(t), registrytest.V3(t)
		first := src.Push(t, "app", "1", registrytest.MultiArch("first"))
		ws := newWorkspace(t)
		ws.converge(imageCopy("app", src.Ref("app", "1"), dst.Ref("app", "1"), noOverwrite, createBeforeDestroyHCL))
		second := src.Push(t, "app", "1", registrytest.MultiArch("second"))
		ws.applyFails(ws.plan("-replace="+app)).wantError(cause, "create_before_destroy", "Set overwrite = true for one apply")
		registrytest.Same(t, first.Tree, dst.Read(t, "app", "1"))
		if ws.state(app) == nil {
			t.Error("the replaced object is gone from the state")
		}

		// Apply the advice of the error.
		ws.configure(imageCopy("app", src.Ref("app", "1"), dst.Ref("app", "1"), createBeforeDestroyHCL))
		ws.apply(ws.plan("-replace=" + app))
		ws.converge(imageCopy("app", src.Ref("app", "1"), dst.Ref("app", "1"), noOverwrite, createBeforeDestroyHCL))
		registrytest.Same(t, second.Tree, dst.Read(t, "app", "1"))
	})
	t.Run("taint_unrefreshed", func(t *testing.T) {
		t.Parallel()
		src, dst := registrytest.V3(t), registrytest.V3(t)
		src.Push(t, "app", "1", registrytest.MultiArch("first"))
		ws := newWorkspace(t)
		ws.converge(imageCopy("app", src.Ref("app", "1"), dst.Ref("app", "1"), noOverwrite))
		second := src.Push(t, "app", "1", registrytest.MultiArch("second"))
		replaceMethods["taint"].prepare(ws)
		ws.planFails("-refresh=false").wantError(cause, "-refresh=false")

		ws.apply(ws.plan())
		registrytest.Same(t, second.Tree, dst.Read(t, "app", "1"))
	})
}

// TestDestroy_WithoutReplacement checks that a destroy that is not a part of a replacement
// applies on_destroy.
func TestDestroy_WithoutReplacement(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		prepare func(ws *workspace)
		plan    []string
		removed bool // from the configuration
		indexed bool
	}{
		"destroy":             {plan: []string{"-destroy"}},
		"destroy_unrefreshed": {plan: []string{"-destroy", "-refresh=false"}},
		"destroy_targeted":    {plan: []string{"-destroy", "-target=" + app}},
		"removed":             {removed: true},
		"removed_unrefreshed": {removed: true, plan: []string{"-refresh=false"}},
		"tainted_and_removed": {removed: true, prepare: replaceMethods["taint"].prepare},
		"tainted_and_removed_unrefreshed": {
			removed: true, prepare: replaceMethods["taint"].prepare, plan: []string{"-refresh=false"},
		},
		"count_reduced": {indexed: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, dst := registrytest.V3(t), registrytest.V3(t)
			pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
			ws := newWorkspace(t)
			arguments := []string{`on_destroy = "delete"`, `additional_tags = ["stable"]`}
			counted := func(n string) string {
				return imageCopy("app", pushed.Ref, dst.Ref("app", "1"), append(arguments, "count = "+n)...)
			}
			if c.indexed {
				ws.converge(counted("1"))
				ws.configure(counted("0"))
			} else {
				ws.converge(imageCopy("app", pushed.Ref, dst.Ref("app", "1"), arguments...))
			}
			if c.prepare != nil {
				c.prepare(ws)
			}
			if c.removed {
				ws.configure()
			}
			ws.apply(ws.plan(c.plan...))
			assertTags(t, dst, "app")
			if dst.HasManifest(t, "app", string(pushed.Digest)) {
				t.Error("the manifest is still there")
			}
		})
	}
}

// TestDestroy_FailedThenReplaced checks that a failed destroy leaves nothing in the state that
// makes a later replacement look like a destroy.
func TestDestroy_FailedThenReplaced(t *testing.T) {
	t.Parallel()
	src := registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	dir := newLayoutPath(t)
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", pushed.Pinned, "oci:"+dir+":1", `on_destroy = "delete"`))
	plan := ws.plan("-destroy")
	aside := dir + "-aside"
	must(t, os.Rename(dir, aside), nil)
	must(t, os.WriteFile(dir, nil, 0o600), nil) // in its place
	ws.applyFails(plan)
	must(t, os.Remove(dir), nil)
	must(t, os.Rename(aside, dir), nil)

	plan = ws.plan("-replace="+app, "-refresh=false")
	src.DeleteManifest(t, "app", pushed.Digest) // so that removed content is not restored
	ws.applyFails(plan)
	assertLayoutTags(t, dir, "1")
}
