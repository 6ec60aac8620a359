package provider_test

import (
	"fmt"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

func TestAdditionalTags_AddAndRemove(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1.4", registrytest.MultiArch("app"))
	copied := func(tags string) string {
		return imageCopy("app", pushed.Ref, dst.Ref("app", "1.4"), "additional_tags = "+tags, `on_destroy = "untag"`)
	}
	ws := newWorkspace(t)
	ws.converge(copied(`["1"]`))
	assertTags(t, dst, "app", "1", "1.4")

	ws.configure(copied(`["1", "stable"]`))
	plan := ws.plan()
	plan.wantAction(app, tfjson.ActionUpdate).wantChange(app, "digest", pushed.Digest, pushed.Digest)
	ws.apply(plan)
	ws.wantNoChanges()
	assertTags(t, dst, "app", "1", "1.4", "stable")

	ws.converge(copied(`["stable"]`))
	assertTags(t, dst, "app", "1.4", "stable")

	// A deleted tag is written again, and a moved tag is moved back.
	dst.DeleteTag(t, "app", "stable")
	plan = ws.plan()
	plan.wantAction(app, tfjson.ActionUpdate).wantChange(app, "additional_tags", []any{}, []any{"stable"})
	ws.apply(plan)
	ws.wantNoChanges()
	dst.Push(t, "app", "stable", registrytest.DockerList("theirs"))
	ws.apply(ws.plan().wantAction(app, tfjson.ActionUpdate))
	ws.wantNoChanges()
	registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "stable"))

	// No tags at all, in both spellings.
	ws.converge(copied(`[]`))
	ws.converge(copied(`null`))
	assertTags(t, dst, "app", "1.4")
}

func TestAdditionalTags_Retain(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1.4", registrytest.MultiArch("app"))
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", pushed.Ref, dst.Ref("app", "1.4"), `additional_tags = ["1"]`))
	ws.converge(imageCopy("app", pushed.Ref, dst.Ref("app", "1.4")))
	assertTags(t, dst, "app", "1", "1.4")
}

// TestAdditionalTags_OnDestroyChange checks that the value that removes less applies if
// on_destroy changes in the same plan.
func TestAdditionalTags_OnDestroyChange(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		before, after string
		removed       bool
	}{{"delete", "retain", false}, {"retain", "delete", false}, {"delete", "untag", true}} {
		t.Run(c.before+"_"+c.after, func(t *testing.T) {
			t.Parallel()
			src, dst := registrytest.V3(t), registrytest.V3(t)
			pushed := src.Push(t, "app", "1.4", registrytest.MultiArch("app"))
			ws := newWorkspace(t)
			ws.converge(imageCopy("app", pushed.Ref, dst.Ref("app", "1.4"), `additional_tags = ["1"]`, `on_destroy = "`+c.before+`"`))
			ws.configure(imageCopy("app", pushed.Ref, dst.Ref("app", "1.4"), `on_destroy = "`+c.after+`"`))
			plan := ws.plan()
			ws.apply(plan)
			ws.wantNoChanges()
			if c.removed {
				plan.wantWarning("Tags No Longer Listed", dst.Addr+"/app", "no longer lists them: 1.", `on_destroy = "`+c.after+`" removes them`)
				assertTags(t, dst, "app", "1.4")
			} else {
				plan.wantNoWarnings()
				assertTags(t, dst, "app", "1", "1.4")
			}
		})
	}
}

func TestAdditionalTags_RemovalUnsupported(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V2(t)
	pushed := src.Push(t, "app", "1.4", registrytest.MultiArch("app"))
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", pushed.Ref, dst.Ref("app", "1.4"), `additional_tags = ["1"]`, `on_destroy = "untag"`))
	ws.configure(imageCopy("app", pushed.Ref, dst.Ref("app", "1.4"), `on_destroy = "untag"`))
	ws.applyFails(ws.plan()).wantError(dst.Addr+"/app", `"1"`, `on_destroy = "retain"`)

	// The resource still owns the tag, and plans to remove it.
	ws.plan().wantChange(app, "additional_tags", []any{"1"}, nil)
	ws.converge(imageCopy("app", pushed.Ref, dst.Ref("app", "1.4")))
	assertTags(t, dst, "app", "1", "1.4")
}

func TestAdditionalTags_MovedByAnotherClient(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1.4", registrytest.MultiArch("app"))
	copied := func(tags string) string {
		return imageCopy("app", pushed.Ref, dst.Ref("app", "1.4"), "additional_tags = "+tags, `on_destroy = "delete"`)
	}
	ws := newWorkspace(t)
	ws.converge(copied(`["1", "stable"]`))
	ws.configure(copied(`[]`))
	plan := ws.plan()
	theirs := dst.Push(t, "app", "stable", registrytest.DockerList("theirs"))
	ws.apply(plan).wantWarning("Tag Was Retained", ":stable", string(theirs.Digest))
	assertTags(t, dst, "app", "1.4", "stable")
	registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "1.4"))
}

func TestUpdate_FailsMidway(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	first := src.Push(t, "app", "1.4", registrytest.MultiArch("first"))
	proxy := registrytest.Intercept(t, dst)
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", first.Ref, proxy.Ref("app", "1.4"), noOverwrite, `additional_tags = ["1", "stable"]`))

	src.Push(t, "app", "1.4", registrytest.MultiArch("second"))
	proxy.On("PUT", ".*/manifests/stable").Reply(403, nil, `{"errors":[{"code":"DENIED","message":"not today"}]}`)
	result := ws.applyFails(ws.plan())
	result.wantError("not today", "by now: 1.", "do not: stable and 1.4")
	registrytest.Same(t, first.Tree, dst.Read(t, "app", "1.4"))

	// Tags that were moved before the failure still count as written by the resource.
	proxy.Clear()
	third := src.Push(t, "app", "1.4", registrytest.MultiArch("third"))
	ws.apply(ws.plan().wantChange(app, "digest", first.Digest, third.Digest))
	ws.wantNoChanges()
	for _, tag := range []string{"1", "1.4", "stable"} {
		registrytest.Same(t, third.Tree, dst.Read(t, "app", tag))
	}
}

func TestUpdate_ResumesAfterFailure(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	first := src.Push(t, "app", "1.4", registrytest.MultiArch("first"))
	proxy := registrytest.Intercept(t, dst)
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", first.Ref, proxy.Ref("app", "1.4"), `additional_tags = ["1", "stable"]`))
	second := src.Push(t, "app", "1.4", registrytest.MultiArch("second"))
	proxy.On("PUT", ".*/manifests/stable").Reply(403, nil, `{"errors":[{"code":"DENIED","message":"not today"}]}`)
	ws.applyFails(ws.plan())

	proxy.Clear()
	proxy.Forget()
	ws.apply(ws.plan().wantAction(app, tfjson.ActionUpdate))
	ws.wantNoChanges()
	for _, tag := range []string{"1", "1.4", "stable"} {
		registrytest.Same(t, second.Tree, dst.Read(t, "app", tag))
	}
	if sent, tags := proxy.Count("PUT|PATCH|POST", ".*"), proxy.Count("PUT", ".*/manifests/(1\\.4|stable)"); sent != tags || tags != 2 {
		t.Errorf("%d write requests, of which %d for the two missing tags", sent, tags)
	}
}

// TestAdditionalTags_HandedOver checks that a tag that was handed over belongs to the other
// resource, even if removing the other tags fails and is repeated.
func TestAdditionalTags_HandedOver(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	proxy := registrytest.Intercept(t, dst)
	both := func(ofApp, ofOther string) []string {
		return []string{
			imageCopy("app", pushed.Ref, proxy.Ref("app", "1"), `on_destroy = "untag"`, "additional_tags = "+ofApp, "depends_on = [registry_image_copy.other]"),
			imageCopy("other", pushed.Ref, proxy.Ref("app", "2"), "additional_tags = "+ofOther),
		}
	}
	ws := newWorkspace(t)
	ws.converge(both(`["handed", "old"]`, `[]`)...)
	proxy.On("DELETE", ".*").Reply(403, nil, `{"errors":[{"code":"DENIED","message":"not today"}]}`)
	ws.configure(both(`[]`, `["handed"]`)...)
	ws.applyFails(ws.plan())

	proxy.Clear()
	ws.apply(ws.plan())
	ws.wantNoChanges()
	assertTags(t, dst, "app", "1", "2", "handed")
}

func TestUpdate_RollbackAfterFailure(t *testing.T) {
	t.Parallel()
	for _, overwrite := range []string{"true", "false"} {
		t.Run("overwrite_"+overwrite, func(t *testing.T) {
			t.Parallel()
			src, dst := registrytest.V3(t), registrytest.V3(t)
			first := src.Push(t, "app", "1.4", registrytest.MultiArch("first"))
			proxy := registrytest.Intercept(t, dst)
			stable := `additional_tags = ["stable"]`
			ws := newWorkspace(t)
			ws.converge(imageCopy("app", first.Ref, proxy.Ref("app", "1.4"), stable, "overwrite = "+overwrite))
			src.Push(t, "app", "1.4", registrytest.MultiArch("second"))
			proxy.On("PUT", ".*/manifests/1.4").Reply(403, nil, `{"errors":[{"code":"DENIED","message":"not today"}]}`)
			ws.applyFails(ws.plan())

			// The additional tag has moved, and the main tag has not.
			proxy.Clear()
			ws.converge(imageCopy("app", src.Ref("app", string(first.Digest)), proxy.Ref("app", "1.4"), stable, "overwrite = "+overwrite))
			for _, tag := range []string{"1.4", "stable"} {
				registrytest.Same(t, first.Tree, dst.Read(t, "app", tag))
			}
		})
	}
}

func TestTagConflict_Plan(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	one := src.Push(t, "app", "1", registrytest.MultiArch("one"))
	src.Push(t, "app", "2", registrytest.MultiArch("one"))
	stable := `additional_tags = ["stable"]`
	both := []string{imageCopy("app", src.Ref("app", "1"), dst.Ref("app", "1"), stable), imageCopy("other", src.Ref("app", "2"), dst.Ref("app", "2"), stable)}
	ws := newWorkspace(t)
	ws.converge(both...) // no conflict as long as both have the same digest

	two := src.Push(t, "app", "2", registrytest.MultiArch("two"))
	ws.planFails().wantError("Conflicting Tag Ownership", dst.Addr+"/app", `"stable"`,
		src.Ref("app", "1"), string(one.Digest), src.Ref("app", "2"), string(two.Digest), dst.Ref("app", "1"), dst.Ref("app", "2"))

	// Changing one after the other is not a conflict.
	ws.converge(imageCopy("app", src.Ref("app", "1"), dst.Ref("app", "1")), both[1])
	registrytest.Same(t, two.Tree, dst.Read(t, "app", "stable"))
	ws.converge(imageCopy("app", src.Ref("app", "1"), dst.Ref("app", "1"), stable), imageCopy("other", src.Ref("app", "2"), dst.Ref("app", "2")))
	registrytest.Same(t, one.Tree, dst.Read(t, "app", "stable"))
}

func TestTagConflict_UnknownUntilApply(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	one := src.Push(t, "app", "1", registrytest.MultiArch("one"))
	two := src.Push(t, "app", "2", registrytest.MultiArch("two"))
	ws := newWorkspace(t)
	ws.configure(unknownUntilApply("source", two.Ref), imageCopy("app", one.Ref, dst.Ref("app", "1")),
		fmt.Sprintf("resource \"registry_image_copy\" \"other\" {\n  source = terraform_data.source.output\n  destination = %q\n  depends_on = [%s]\n}", dst.Ref("app", "1"), app))
	result := ws.applyFails(ws.plan())
	result.wantError("Conflicting Tag Ownership", one.Ref, two.Ref)
	registrytest.Same(t, one.Tree, dst.Read(t, "app", "1"))
}
