package provider_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// TestRestore_AnotherResourceMoved checks that a tag is restored. Terraform removes the old
// tags of one resource before it plans another resource that keeps one of them, and the copy of
// that resource fails.
func TestRestore_AnotherResourceMoved(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"untag", "delete"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			src, dst := registrytest.V3(t), registrytest.V3(t)
			pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
			failing := registrytest.Intercept(t, src)
			configured := func(destination, more string) []string {
				return []string{
					imageCopy("app", pushed.Ref, destination, `on_destroy = "`+policy+`"`, `additional_tags = ["stable"]`),
					imageCopy("other", failing.Ref("app", "1"), dst.Ref("app", "stable"), more, "depends_on = [registry_image_copy.app]"),
				}
			}
			ws := newWorkspace(t)
			ws.converge(configured(dst.Ref("app", "1"), "")...)
			ws.configure(configured(dst.Ref("moved", "1"), "deep_check = true")...)
			plan := ws.plan()
			failing.On("GET", ".*").Reply(403, nil, "")
			ws.apply(plan).wantWarning("Tags Restored From Destination", dst.Addr+"/app", "because this resource lists them: stable.")
			failing.Clear()
			ws.wantNoChanges()
			registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "stable"))
			assertTags(t, dst, "app", "stable")
		})
	}
}

// TestRestore_PlanFailsDuringApply checks that a tag is restored if a plan fails during apply.
// Terraform plans the resource again before it creates it.
func TestRestore_PlanFailsDuringApply(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		body   string
	}{
		"source_is_gone": {404, `{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`},
		"source_is_down": {503, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, dst := registrytest.V3(t), registrytest.V3(t)
			pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
			failing := registrytest.Intercept(t, src)
			moving := func(destination, tags string) string {
				return imageCopy("app", pushed.Ref, destination, `on_destroy = "delete"`, "additional_tags = "+tags)
			}
			ws := newWorkspace(t)
			ws.converge(moving(dst.Ref("app", "1"), `["stable"]`))
			ws.configure(moving(dst.Ref("moved", "1"), `[]`),
				imageCopy("other", failing.Ref("app", "1"), dst.Ref("app", "stable"), `on_destroy = "untag"`, "depends_on = [registry_image_copy.app]"))
			plan := ws.plan()
			failing.On(".*", ".*").Reply(c.status, nil, c.body)
			ws.applyFails(plan)
			registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "stable"))

			failing.Clear()
			ws.apply(ws.plan())
			ws.wantNoChanges()
		})
	}
}

// TestRestore_Ownership checks that a tag that was restored during apply counts as written by
// the resource that needs it.
func TestRestore_Ownership(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", pushed.Ref, dst.Ref("app", "1"), `on_destroy = "delete"`, `additional_tags = ["stable"]`))
	ws.converge(imageCopy("app", pushed.Ref, dst.Ref("moved", "1"), `on_destroy = "delete"`),
		imageCopy("other", pushed.Ref, dst.Ref("app", "stable"), `on_destroy = "untag"`, "depends_on = [registry_image_copy.app]"))
	assertTags(t, dst, "app", "stable")
	ws.destroy().wantNoWarnings()
	assertTags(t, dst, "app")
}

// TestRestore_DeletedChild restores an index with a child that was deleted in the same run.
func TestRestore_DeletedChild(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	failing := registrytest.Intercept(t, src)
	configured := func(repository, more string) []string {
		return []string{
			imageCopy("app", pushed.Ref, dst.Ref(repository, "1"), `on_destroy = "delete"`, `additional_tags = ["stable"]`),
			imageCopy("child", pushed.Ref, dst.Ref(repository, "amd64"), `on_destroy = "delete"`, `platforms = ["linux/amd64"]`, "depends_on = [registry_image_copy.app]"),
			imageCopy("other", failing.Ref("app", "1"), dst.Ref("app", "stable"), more, "depends_on = [registry_image_copy.child]"),
		}
	}
	ws := newWorkspace(t)
	ws.converge(configured("app", "")...)
	ws.configure(configured("moved", "deep_check = true")...)
	plan := ws.plan()
	failing.On("GET", ".*").Reply(403, nil, "")
	ws.apply(plan).wantWarning("Tags Restored From Destination", "because this resource lists them: stable.")
	registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "stable"))
}

// TestRestore_TagMovedByAnotherClient checks that a tag that another client moved is neither
// removed nor restored.
func TestRestore_TagMovedByAnotherClient(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	failing := registrytest.Intercept(t, src)
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", failing.Addr+"/app@"+string(pushed.Digest), dst.Ref("app", "1"), `on_destroy = "delete"`))
	theirs := dst.Push(t, "app", "1", registrytest.MultiArch("theirs"))
	ws.configure(imageCopy("renamed", failing.Addr+"/app@"+string(pushed.Digest), dst.Ref("app", "1"), `on_destroy = "delete"`))
	plan := ws.plan()
	failing.On("GET", ".*").Reply(403, nil, "")
	ws.applyFails(plan)
	registrytest.Same(t, theirs.Tree, dst.Read(t, "app", "1"))
}

// TestRestore_ReferrersNotRestored checks that referrers are not restored with a tag. The apply
// fails, and the tags exist.
func TestRestore_ReferrersNotRestored(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	failing := registrytest.Intercept(t, src)
	configured := func(destination, more string) []string {
		return []string{
			imageCopy("app", pushed.Ref, destination, `on_destroy = "delete"`, `additional_tags = ["stable"]`),
			imageCopy("other", failing.Ref("app", "1"), dst.Ref("app", "stable"), more, "depends_on = [registry_image_copy.app]"),
		}
	}
	ws := newWorkspace(t)
	ws.converge(configured(dst.Ref("app", "1"), "")...)
	ws.configure(configured(dst.Ref("moved", "1"), "referrers = true")...)
	plan := ws.plan()
	failing.On("GET", ".*").Reply(403, nil, "")
	ws.applyFails(plan).wantWarning("Tags Restored From Destination", "stable")
	registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "stable"))
}

// TestRestore_TagDroppedByAnotherResource checks that a tag keeps its old digest if a copy to
// another digest fails, even if another resource removed the tag in the same run.
func TestRestore_TagDroppedByAnotherResource(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	next := src.Push(t, "next", "1", registrytest.MultiArch("next"))
	failing := registrytest.Intercept(t, src)
	configured := func(tags, source string) []string {
		return []string{
			imageCopy("app", pushed.Ref, dst.Ref("app", "1"), `on_destroy = "untag"`, "additional_tags = "+tags),
			imageCopy("other", source, dst.Ref("app", "stable"), "depends_on = [registry_image_copy.app]"),
		}
	}
	ws := newWorkspace(t)
	ws.converge(configured(`["stable"]`, failing.Ref("app", "1"))...)
	ws.configure(configured(`[]`, failing.Ref("next", "1"))...)
	plan := ws.plan()
	failing.On("GET", ".*/next/blobs/.*").Reply(404, nil, "")
	ws.applyFails(plan).wantError("Unable to Copy Image", failing.Addr+"/next")
	registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "stable"))

	failing.Clear()
	ws.apply(ws.plan())
	ws.wantNoChanges()
	registrytest.Same(t, next.Tree, dst.Read(t, "app", "stable"))
}

// TestRestore_RenamedResource renames a resource without a moved block. Terraform then destroys
// the old resource and creates the new one in no particular order.
func TestRestore_RenamedResource(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	failing := registrytest.Intercept(t, src)
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", failing.Ref("app", "1"), dst.Ref("app", "1"), `on_destroy = "delete"`))
	ws.configure(imageCopy("renamed", failing.Ref("app", "1"), dst.Ref("app", "1"), `on_destroy = "delete"`))
	plan := ws.plan()
	failing.On("GET", ".*").Reply(403, nil, "")
	ws.run("apply", "-json", "-input=false", plan.file) // fails if the create comes first
	registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "1"))
}

// TestAdditionalTags_DroppedWhileUnknown checks that a tag that is no longer listed is planned
// as removed even if the digest or on_destroy is unknown. The plan then detects another
// resource that uses the tag.
func TestAdditionalTags_DroppedWhileUnknown(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ source, onDestroy string }{
		"source":     {`"${terraform_data.known_later.output}"`, `"untag"`},
		"on_destroy": {"", "terraform_data.known_later.output"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, dst := registrytest.V3(t), registrytest.V3(t)
			pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
			src.Push(t, "app", "2", registrytest.MultiArch("app"))
			source := c.source
			if source == "" {
				source = fmt.Sprintf("%q", pushed.Ref)
			}
			values := map[string][2]string{"source": {pushed.Ref, src.Ref("app", "2")}, "on_destroy": {"untag", "delete"}}[name]
			configured := func(value, tags string) []string {
				return []string{
					fmt.Sprintf("resource \"terraform_data\" \"known_later\" {\n  input = %q\n}", value),
					fmt.Sprintf("resource \"registry_image_copy\" \"app\" {\n  source = %s\n  destination = %q\n  additional_tags = %s\n  on_destroy = %s\n}", source, dst.Ref("app", "1"), tags, c.onDestroy),
				}
			}
			other := imageCopy("other", pushed.Ref, dst.Ref("app", "stable"))
			ws := newWorkspace(t)
			ws.converge(configured(values[0], `["stable"]`)...)
			ws.converge(append(configured(values[0], `["stable"]`), other)...)
			ws.configure(append(configured(values[1], `[]`), other)...)
			ws.planFails().wantError("Conflicting Tag Ownership", dst.Addr+"/app", `"stable"`)
			registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "stable"))

			ws.configure(configured(values[1], `[]`)...)
			ws.plan().wantWarning("Tags No Longer Listed", "stable")
		})
	}
}

// TestPrivateState_Lost checks a state without private state. Terraform drops private state if
// the provider is killed during an apply.
func TestPrivateState_Lost(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	proxy := registrytest.Intercept(t, src)
	arguments := []string{noOverwrite, "deep_check = true", `on_destroy = "delete"`, `additional_tags = ["stable"]`}
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", proxy.Ref("app", "1"), dst.Ref("app", "1"), arguments...))
	dropPrivateState(t, filepath.Join(ws.dir, "terraform.tfstate"))
	ws.wantNoChanges()

	// A source that cannot be read is a warning, and missing content is found.
	proxy.On(".*", ".*").Reply(503, nil, "")
	ws.wantNoChanges().wantWarning("source", proxy.Addr)
	proxy.Clear()
	for d := range pushed.Tree.Blobs {
		dst.DeleteBlob(t, "app", d)
		break
	}
	ws.apply(ws.plan().wantAction(app, tfjson.ActionUpdate))
	ws.wantNoChanges()

	// Which tags the resource wrote is unknown, so none is removed.
	ws.destroy().wantWarning("Tags Not Written Are Retained", "1 and stable in "+dst.Addr+"/app")
	registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "stable"))
}

// dropPrivateState removes the private state of all instances from a state file.
func dropPrivateState(t *testing.T, file string) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var state map[string]any
	if err := json.Unmarshal(content, &state); err != nil {
		t.Fatal(err)
	}
	dropped := 0
	for _, resource := range state["resources"].([]any) {
		for _, instance := range resource.(map[string]any)["instances"].([]any) {
			if _, has := instance.(map[string]any)["private"]; has {
				delete(instance.(map[string]any), "private")
				dropped++
			}
		}
	}
	if dropped == 0 {
		t.Fatal("the state has no private state")
	}
	if content, err = json.Marshal(state); err == nil {
		err = os.WriteFile(file, content, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestDestination_PossibleAlias checks a destination with the same path on another host, which is
// the same registry. The image stays, whatever happens to the tag and its referrers before the copy.
func TestDestination_PossibleAlias(t *testing.T) {
	t.Parallel()
	const signed = "signed"
	for name, test := range map[string]struct {
		before, planned func(t *testing.T, src, dst *registrytest.Registry, pushed registrytest.Pushed) // before the plan and after it
		retained        bool                                                                            // whether the apply warns
	}{
		"unchanged": {retained: true},
		signed: {retained: true, before: func(t *testing.T, src, _ *registrytest.Registry, pushed registrytest.Pushed) {
			t.Helper()
			src.Push(t, "app", strings.Replace(string(pushed.Digest), ":", "-", 1)+".sig", registrytest.Image{Seed: "signature"})
		}},
		"moved": {before: func(t *testing.T, _, dst *registrytest.Registry, _ registrytest.Pushed) {
			t.Helper()
			dst.Push(t, "app", "1", registrytest.Image{Seed: "other"})
		}},
		"moved_after_plan": {planned: func(t *testing.T, _, dst *registrytest.Registry, _ registrytest.Pushed) {
			t.Helper()
			dst.Push(t, "app", "1", registrytest.Image{Seed: "other"})
		}},
	} {
		for _, policy := range []string{"untag", "delete"} {
			t.Run(name+"/"+policy, func(t *testing.T) {
				t.Parallel()
				src, dst := registrytest.V3(t), registrytest.V3(t)
				pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
				renamed := registrytest.Intercept(t, dst)
				onDestroy := `on_destroy = "` + policy + `"`
				ws := newWorkspace(t)
				ws.converge(imageCopy("app", pushed.Ref, dst.Ref("app", "1"), onDestroy, "referrers = true"))
				if test.before != nil {
					test.before(t, src, dst, pushed)
				}
				ws.configure(imageCopy("app", pushed.Ref, renamed.Ref("app", "1"), onDestroy, "referrers = true"))
				plan := ws.plan()
				if test.planned != nil {
					test.planned(t, src, dst, pushed)
				}
				if result := ws.apply(plan); test.retained {
					result.wantWarning("Old Tags Are Retained", renamed.Ref("app", "1"), "1 in "+dst.Addr+"/app")
				}
				ws.wantNoChanges()
				registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "1"))
			})
		}
	}
}

// TestPromotedReference_TagMovedByAnotherClient checks a destination tag that already points to
// the next digest while the promoted manifest was deleted.
func TestPromotedReference_TagMovedByAnotherClient(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	first := src.Push(t, "app", "1", registrytest.MultiArch("first"))
	ws := newWorkspace(t)
	output := "output \"image\" {\n  value = registry_image_copy.app.promoted_reference\n}"
	ws.converge(imageCopy("app", src.Ref("app", "1"), dst.Ref("app", "1")), output)
	second := src.Push(t, "app", "1", registrytest.MultiArch("second"))
	dst.Push(t, "app", "1", registrytest.MultiArch("second"))
	dst.DeleteManifest(t, "app", first.Digest)
	plan := ws.plan()
	plan.wantUnknown(app, "promoted_reference")
	ws.apply(plan)
	ws.wantNoChanges()
	if got, want := ws.savedOutputs()["image"], dst.Addr+"/app@"+string(second.Digest); got != want {
		t.Errorf("output = %v, want %s", got, want)
	}
}
