package provider_test

import (
	"fmt"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// foundTags creates a resource whose tags 1 and latest already existed with the same digest.
func foundTags(t *testing.T, arguments ...string) (ws *workspace, src, dst *registrytest.Registry, copied func(tags string) string) {
	t.Helper()
	src, dst = registrytest.V3(t), registrytest.V3(t)
	src.Push(t, "app", "1", registrytest.MultiArch("app"))
	dst.Push(t, "app", "1", registrytest.MultiArch("app"))
	dst.Retag(t, "app", "1", "latest")
	ws = newWorkspace(t)
	copied = func(tags string) string {
		return imageCopy("app", src.Ref("app", "1"), dst.Ref("app", "1"), append(arguments, "additional_tags = "+tags)...)
	}
	ws.converge(copied(`["latest", "ours"]`))
	return ws, src, dst, copied
}

func TestOwnership_FoundTagNotMoved(t *testing.T) {
	t.Parallel()
	ws, src, dst, _ := foundTags(t, noOverwrite)
	person := dst.Read(t, "app", "latest")
	second := src.Push(t, "app", "1", registrytest.MultiArch("second"))
	result := ws.planFails()
	result.wantError(`"latest"`, "which this resource has no record of writing", "Set overwrite = true for one apply").assertAt(result, "additional_tags")
	result.wantError(`"1"`, "which this resource has no record of writing").assertAt(result, "destination")
	for _, d := range result.diagnostics {
		if strings.Contains(d.Detail, `the tag "ours"`) {
			t.Errorf("the plan rejects a written tag: %s", d.Detail)
		}
	}
	registrytest.Same(t, person, dst.Read(t, "app", "latest"))

	// With overwrite = true, the resource takes ownership of it.
	ws.converge(imageCopy("app", src.Ref("app", "1"), dst.Ref("app", "1"), `additional_tags = ["latest", "ours"]`, `on_destroy = "untag"`))
	registrytest.Same(t, second.Tree, dst.Read(t, "app", "latest"))
	ws.destroy().wantNoWarnings()
	assertTags(t, dst, "app")
}

func TestOwnership_WrittenTagMoved(t *testing.T) {
	t.Parallel()
	ws, src, dst, _ := foundTags(t, noOverwrite)
	ws.converge(imageCopy("app", src.Ref("app", "1"), dst.Ref("app", "2"), noOverwrite, `additional_tags = ["ours"]`))
	second := src.Push(t, "app", "1", registrytest.MultiArch("second"))
	ws.apply(ws.plan().wantAction(app, tfjson.ActionUpdate))
	registrytest.Same(t, second.Tree, dst.Read(t, "app", "ours"))
}

func TestOwnership_FoundTagNotRemoved(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"untag", "delete"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			ws, _, dst, copied := foundTags(t, `on_destroy = "`+policy+`"`)
			person := dst.Read(t, "app", "latest")

			ws.configure(copied(`["ours"]`))
			plan := ws.plan()
			plan.wantWarning("Tags Not Written Are Retained", "latest in "+dst.Addr+"/app")
			ws.apply(plan)
			ws.wantNoChanges()
			assertTags(t, dst, "app", "1", "latest", "ours")

			plan = ws.plan("-destroy")
			plan.wantWarning("Tags Not Written Are Retained", ": 1 in "+dst.Addr+"/app")
			result := ws.apply(plan)
			if policy == "delete" {
				result.wantWarning("not deleted", "1 and latest", "removed: ours")
			}
			assertTags(t, dst, "app", "1", "latest")
			registrytest.Same(t, person, dst.Read(t, "app", "latest"))
		})
	}
}

func TestOwnership_Import(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	dst.Push(t, "app", "1", registrytest.MultiArch("app"))
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", pushed.Ref, dst.Ref("app", "1"), noOverwrite, `on_destroy = "untag"`),
		fmt.Sprintf("import {\n  to = %s\n  id = %q\n}", app, dst.Ref("app", "1")))
	src.Push(t, "app", "1", registrytest.MultiArch("second"))
	ws.apply(ws.plan().wantAction(app, tfjson.ActionUpdate))
	ws.destroy().wantNoWarnings()
	assertTags(t, dst, "app")
}
