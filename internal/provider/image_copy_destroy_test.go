package provider_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// assertTags checks that a repository has exactly the given tags.
func assertTags(t *testing.T, r *registrytest.Registry, repo string, want ...string) {
	t.Helper()
	got := r.Tags(t, repo)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("tags of %s: %v, want %v", repo, got, want)
	}
}

func TestDestroy_Retain(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", pushed.Ref, dst.Ref("app", "1")))
	ws.destroy().wantNoWarnings()
	registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "1"))
}

func TestDestroy_PolicyFromState(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", pushed.Ref, dst.Ref("app", "1")))
	ws.configure(imageCopy("app", pushed.Ref, dst.Ref("app", "1"), `on_destroy = "delete"`))
	ws.destroy()
	registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "1"))
}

func TestDestroy_Untag(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", pushed.Ref, dst.Ref("app", "1"), `on_destroy = "untag"`, `additional_tags = ["a", "b"]`))
	theirs := dst.Push(t, "app", "b", registrytest.DockerList("theirs"))

	ws.destroy().wantWarning("Tag Was Retained", dst.Addr+"/app:b", string(theirs.Digest))
	assertTags(t, dst, "app", "b")
	if !dst.HasManifest(t, "app", string(pushed.Digest)) {
		t.Error("the manifest is gone")
	}
}

func TestDestroy_Delete(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V2(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", pushed.Ref, dst.Ref("app", "1"), `on_destroy = "delete"`, `additional_tags = ["a"]`))
	dst.Push(t, "app", "other", registrytest.DockerList("theirs"))

	ws.destroy().wantNoWarnings()
	if dst.HasManifest(t, "app", string(pushed.Digest)) {
		t.Error("the manifest is still there")
	}
	if dst.HasManifest(t, "app", "1") || !dst.HasManifest(t, "app", "other") {
		t.Error("the wrong tags were removed")
	}
}

func TestDestroy_ManifestWithOtherTag(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", pushed.Ref, dst.Ref("app", "1"), `on_destroy = "delete"`))
	dst.Retag(t, "app", "1", "theirs")

	ws.destroy().wantWarning("not deleted", "also named by other tags: theirs", "Only the tags of this resource were removed: 1")
	assertTags(t, dst, "app", "theirs")
	registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "theirs"))
}

func TestDestroy_UnsupportedByRegistry(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		registry func(*testing.T) *registrytest.Registry
		policy   string
	}{
		"v2_untag":                    {func(t *testing.T) *registrytest.Registry { return registrytest.V2(t) }, "untag"},
		"v3_untag_deletion_disabled":  {func(t *testing.T) *registrytest.Registry { return registrytest.V3(t, registrytest.NoDelete()) }, "untag"},
		"v3_delete_deletion_disabled": {func(t *testing.T) *registrytest.Registry { return registrytest.V3(t, registrytest.NoDelete()) }, "delete"},
		"v2_delete_deletion_disabled": {func(t *testing.T) *registrytest.Registry { return registrytest.V2(t, registrytest.NoDelete()) }, "delete"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, dst := registrytest.V3(t), test.registry(t)
			pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
			ws := newWorkspace(t)
			ws.converge(imageCopy("app", pushed.Ref, dst.Ref("app", "1"), `on_destroy = "`+test.policy+`"`))

			result := ws.run("destroy", "-json", "-auto-approve")
			result.wantError(dst.Addr+"/app", "Some registries cannot remove a tag", `Set on_destroy = "retain" to leave at the registry what is there`,
				"Where the resource is being destroyed, apply that first", "terraform state rm")
			if !result.failed || ws.state(app) == nil {
				t.Error("the resource is gone")
			}
			ws.converge(imageCopy("app", pushed.Ref, dst.Ref("app", "1")))
			ws.destroy()
			registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "1"))
		})
	}
}

func TestDestroy_UnreachableRegistry(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]struct {
		cause    func(*registrytest.Proxy)
		contains string
	}{
		"down":                       {func(p *registrytest.Proxy) { p.Stop() }, "Nothing was removed. Apply again"},
		"logged_out":                 {func(p *registrytest.Proxy) { p.On(".*", ".*").Reply(401, nil, "") }, "Nothing was removed. Apply again"},
		"unavailable_during_removal": {func(p *registrytest.Proxy) { p.On("DELETE", ".*").Reply(503, nil, "") }, "Apply again"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, dst := registrytest.V3(t), registrytest.V3(t)
			pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
			proxy := registrytest.Intercept(t, dst)
			ws := newWorkspace(t)
			ws.converge(imageCopy("app", pushed.Ref, proxy.Ref("app", "1"), `on_destroy = "untag"`))
			plan := ws.plan("-destroy")
			fault.cause(proxy)
			result := ws.applyFails(plan)
			result.wantError("Unable to Clean Up Destination", fault.contains, "terraform state rm")
			if strings.Contains(result.text, "cannot remove a tag") || name == "unavailable_during_removal" && strings.Contains(result.text, "Nothing was removed") {
				t.Errorf("the wrong advice:\n%s", result.text)
			}
			if ws.state(app) == nil {
				t.Error("the state is gone")
			}
		})
	}
}

func TestDestroy_AlreadyGone(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"untag", "delete"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			src, dst := registrytest.V3(t), registrytest.V3(t)
			pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
			ws := newWorkspace(t)
			ws.converge(imageCopy("app", pushed.Ref, dst.Ref("app", "1"), `on_destroy = "`+policy+`"`))
			plan := ws.plan("-destroy")
			dst.DeleteManifest(t, "app", pushed.Digest)
			ws.apply(plan).wantNoWarnings()
		})
		t.Run(policy+"_concurrently", func(t *testing.T) {
			t.Parallel()
			src, dst := registrytest.V3(t), registrytest.V3(t)
			pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
			proxy := registrytest.Intercept(t, dst)
			proxy.On("DELETE", ".*").Reply(404, nil, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no such manifest"}]}`)
			ws := newWorkspace(t)
			ws.converge(imageCopy("app", pushed.Ref, proxy.Ref("app", "1"), `on_destroy = "`+policy+`"`))
			ws.destroy().wantNoWarnings()
		})
	}
}

func TestDestroy_UnreadableSibling(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	proxy := registrytest.Intercept(t, dst)
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", pushed.Ref, proxy.Ref("app", "1"), `on_destroy = "delete"`))
	dst.Push(t, "app", "other", registrytest.DockerList("theirs"))
	plan := ws.plan("-destroy")

	// If the content of another tag cannot be read, nothing is deleted.
	proxy.On("GET|HEAD", ".*/manifests/other").Reply(403, nil, `{"errors":[{"code":"DENIED","message":"not yours"}]}`)
	ws.applyFails(plan).wantError("403", "other")
	registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "1"))
	if ws.state(app) == nil {
		t.Error("the state is gone")
	}
}

// TestDestroy_CreateBeforeDestroy checks that no tags are removed with create_before_destroy.
// The destroy does not know which tags the replacement uses.
func TestDestroy_CreateBeforeDestroy(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"untag", "delete"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			src, dst := registrytest.V3(t), registrytest.V3(t)
			pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
			ws := newWorkspace(t)
			replaced := func(tags string) string {
				return imageCopy("app", pushed.Ref, dst.Ref("app", "1.4"), `on_destroy = "`+policy+`"`, "additional_tags = "+tags, "lifecycle {\n    create_before_destroy = true\n  }")
			}
			ws.converge(replaced(`["stable", "old"]`))

			ws.configure(replaced(`["stable"]`))
			ws.apply(ws.plan("-replace="+app)).wantWarning("Tags Retained After Replacement", "create_before_destroy", ": old in "+dst.Addr+"/app")
			ws.wantNoChanges()
			assertTags(t, dst, "app", "1.4", "stable", "old")
			registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "1.4"))

			// The replacement has found the tags, so it does not own them.
			ws.destroy().wantWarning("Tags Not Written Are Retained", "1.4 and stable in "+dst.Addr+"/app")
			assertTags(t, dst, "app", "1.4", "stable", "old")
		})
	}
}

func TestDestroy_RenamedResource(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"untag", "delete"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			src, dst := registrytest.V3(t), registrytest.V3(t)
			pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
			// Terraform destroys one resource and creates the other in no particular order,
			// unless something depends on both. Then the new one is created first, its
			// dependent is updated, and the old one is destroyed last.
			renamed := func(name string) []string {
				return []string{
					imageCopy(name, pushed.Ref, dst.Ref("app", "1"), `on_destroy = "`+policy+`"`, "lifecycle {\n    create_before_destroy = true\n  }"),
					fmt.Sprintf("resource \"terraform_data\" \"user\" {\n  input = \"%s ${registry_image_copy.%s.digest}\"\n}", name, name),
				}
			}
			ws := newWorkspace(t)
			ws.converge(renamed("app")...)
			ws.converge(renamed("renamed")...).wantWarning("Tag Was Retained", dst.Addr+"/app:1", "in the same run")
			registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "1"))
		})
	}
}

// TestDestroy_TagOfAnotherResource destroys a resource after only half of a rename was applied.
func TestDestroy_TagOfAnotherResource(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"untag", "delete"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			src, dst := registrytest.V3(t), registrytest.V3(t)
			pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
			copied := func(name string) string {
				return imageCopy(name, pushed.Ref, dst.Ref("app", "1"), `on_destroy = "`+policy+`"`)
			}
			ws := newWorkspace(t)
			ws.converge(copied("app"))
			ws.configure(copied("renamed"))
			ws.apply(ws.plan("-target=registry_image_copy.renamed"))

			// Terraform plans both in no particular order. If the destroy is planned last, it
			// spares the tag. If it is planned first, the other resource is updated.
			ws.apply(ws.plan())
			ws.wantNoChanges()
			if ws.state(app) != nil {
				t.Error("the destroyed resource is still in the state")
			}
			registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "1"))
		})
	}
}

// TestDestroy_DeposedObject checks the destroy of a deposed object. If a dependent resource
// fails, Terraform keeps the replaced object as deposed. A later apply destroys it, without
// planning a change of the current object.
func TestDestroy_DeposedObject(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"untag", "delete"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			src, dst := registrytest.V3(t), registrytest.V3(t)
			pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
			deployed := func(works string) []string {
				return []string{
					imageCopy("app", pushed.Ref, dst.Ref("app", "1.4"), `on_destroy = "`+policy+`"`, `additional_tags = ["stable"]`, "lifecycle {\n    create_before_destroy = true\n  }"),
					"resource \"terraform_data\" \"deployment\" {\n  input = \"${registry_image_copy.app.destination} " + works + "\"\n  lifecycle {\n    postcondition {\n      condition = strcontains(self.output, \"works\")\n      error_message = \"It does not start.\"\n    }\n  }\n}",
				}
			}
			ws := newWorkspace(t)
			ws.converge(deployed("works")...)
			ws.configure(deployed("fails")...)
			ws.applyFails(ws.plan("-replace=" + app))

			ws.configure(deployed("works")...)
			ws.apply(ws.plan())
			ws.wantNoChanges()
			assertTags(t, dst, "app", "1.4", "stable")
			registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "stable"))
		})
	}
}

func TestDestination_TagOfAnotherResource(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	both := func(tag, policy string) []string {
		return []string{
			imageCopy("app", pushed.Ref, dst.Ref("app", tag), `on_destroy = "`+policy+`"`),
			imageCopy("other", pushed.Ref, dst.Ref("app", "other"), `additional_tags = ["1"]`),
		}
	}
	ws := newWorkspace(t)
	ws.converge(both("1", "delete")[0]) // this one writes the tag
	ws.converge(both("1", "delete")...)
	ws.configure(both("2", "delete")...)
	// If the other resource is planned last, it reports the error.
	ws.planFails().wantError("Conflicting Tag Ownership", dst.Addr+"/app", `"1"`, "has it in place", `on_destroy = "retain"`)

	ws.converge(both("1", "retain")...)
	ws.converge(both("2", "retain")...)
	registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "1"))
}

func TestDestroy_SharedManifest(t *testing.T) {
	t.Parallel()
	const copies = 8
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	blocks := []string{}
	for i := range copies {
		blocks = append(blocks, imageCopy(fmt.Sprintf("app%d", i), pushed.Ref, dst.Ref("app", fmt.Sprint(i)), `on_destroy = "delete"`))
	}
	ws := newWorkspace(t)
	ws.converge(blocks...)
	ws.destroy().wantWarning("not deleted", "also named by other tags")
	assertTags(t, dst, "app")
	if dst.HasManifest(t, "app", string(pushed.Digest)) {
		t.Error("the last destroy did not delete the manifest")
	}
}

func TestDestroy_FailureHasNoWarnings(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V2(t) // docker/distribution 2 cannot untag
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", pushed.Ref, dst.Ref("app", "1"), `on_destroy = "delete"`))
	dst.Retag(t, "app", "1", "theirs")

	result := ws.run("destroy", "-json", "-auto-approve")
	result.wantError("Unable to Clean Up Destination", dst.Addr+"/app")
	result.wantNoWarnings()
	registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "1"))
}

func TestDestroy_IncompleteTagList(t *testing.T) {
	t.Parallel()
	for name, list := range map[string]string{
		"no_tags":         `{"name":"app","tags":null}`,
		"own_tag_missing": `{"name":"app","tags":["other"]}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, dst := registrytest.V3(t), registrytest.V3(t)
			pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
			proxy := registrytest.Intercept(t, dst)
			ws := newWorkspace(t)
			ws.converge(imageCopy("app", pushed.Ref, proxy.Ref("app", "1"), `on_destroy = "delete"`))
			dst.Push(t, "app", "other", registrytest.DockerList("theirs"))
			dst.Retag(t, "app", "1", "theirs")
			plan := ws.plan("-destroy")

			proxy.On("GET", ".*/tags/list").Reply(200, nil, list)
			ws.applyFails(plan).wantError("does not have the tag 1", `on_destroy = "retain"`)
			assertTags(t, dst, "app", "1", "other", "theirs")
			registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "1"))
		})
	}
}
