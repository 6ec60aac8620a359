package provider_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// TestLayoutFolder_LinkChanged checks that a resource removes nothing from a folder that it did
// not write to, if its path leads there because a symbolic link was changed.
func TestLayoutFolder_LinkChanged(t *testing.T) {
	t.Parallel()
	changes := map[string]func(c *core, own coreResource, dir string) coreConfig{
		"destroyed": func(*core, coreResource, string) coreConfig { return coreConfig{} },
		"dropped": func(_ *core, own coreResource, _ string) coreConfig {
			own.value["additional_tags"] = textSet()
			return coreConfig{"app": own}
		},
		"other_layout": func(_ *core, own coreResource, dir string) coreConfig {
			own.value["destination"] = text("oci:" + dir + "/other:1")
			return coreConfig{"app": own}
		},
		"other_tag": func(_ *core, own coreResource, dir string) coreConfig {
			own.value["destination"], own.value["additional_tags"] = text("oci:"+dir+"/current:2"), textSet()
			return coreConfig{"app": own}
		},
		"real_path": func(_ *core, own coreResource, dir string) coreConfig {
			own.value["destination"] = text("oci:" + dir + "/blue:1")
			return coreConfig{"app": own}
		},
	}
	for name, change := range changes {
		for _, policy := range []string{"untag", "delete"} {
			for _, when := range []string{"before_plan", "before_unrefreshed_plan", "before_apply"} {
				t.Run(fmt.Sprintf("%s/%s/%s", name, policy, when), func(t *testing.T) {
					t.Parallel()
					src, dir := registrytest.V3(t), t.TempDir()
					pushed := src.Push(t, "app", "1", registrytest.Image{Seed: "app"})
					c, order := newCore(t), inOrder("app")
					layout := func(name string) coreResource {
						return c.copyOf(pushed.Ref, "oci:"+dir+"/"+name+":1", object{"on_destroy": text(policy), "additional_tags": textSet("stable")})
					}
					link := filepath.Join(dir, "current")
					must(t, os.Symlink("blue", link), nil)
					state := c.converge(t, coreState{}, coreConfig{"app": layout("current")}, order)
					c.converge(t, coreState{}, coreConfig{"app": layout("green")}, order)
					relink := func() {
						must(t, os.Remove(link), nil)
						must(t, os.Symlink("green", link), nil)
					}
					if when != "before_apply" {
						relink()
					}
					planned, err := c.plan(t.Context(), state, change(c, layout("current"), dir), planOptions{noRefresh: when == "before_unrefreshed_plan"}, order)
					if err != nil {
						t.Fatal(err)
					}
					if when == "before_apply" {
						relink()
					}
					// Terraform rejects a change that another folder makes to the plan.
					if _, err := c.applyPlan(t, planned, order); err != nil && when != "before_apply" {
						t.Fatal(err)
					}
					for _, tag := range []string{"1", "stable"} {
						registrytest.Same(t, pushed.Tree, registrytest.ReadLayout(t, filepath.Join(dir, "green"), tag))
						registrytest.Same(t, pushed.Tree, registrytest.ReadLayout(t, filepath.Join(dir, "blue"), tag))
					}
				})
			}
		}
	}
}

// TestLayoutFolder_Terraform changes a symbolic link to an image layout and back.
func TestLayoutFolder_Terraform(t *testing.T) {
	t.Parallel()
	src, dir := registrytest.V3(t), t.TempDir()
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	link := filepath.Join(dir, "current")
	linkTo := func(folder string) {
		must(t, os.RemoveAll(link), nil)
		must(t, os.Symlink(folder, link), nil)
	}
	block := func(folder string) string {
		return imageCopy("app", pushed.Ref, "oci:"+filepath.Join(dir, folder)+":1", `on_destroy = "untag"`)
	}
	linkTo("blue")
	ws, other := newWorkspace(t), newWorkspace(t)
	ws.converge(block("current"))
	other.converge(block("green"))
	ws.wantNoChanges().wantNoWarnings()
	linkTo("green")
	ws.wantNoChanges().wantWarning("Image Layout Is Another Folder", "oci:"+link+":1", "these tags: 1.")
	ws.destroy().wantWarning("Tags Not Written Are Retained", "1 in oci:")
	assertLayoutTags(t, filepath.Join(dir, "green"), "1")
	assertLayoutTags(t, filepath.Join(dir, "blue"), "1")

	// A link that stays does not affect ownership.
	must(t, os.RemoveAll(filepath.Join(dir, "blue")), nil)
	linkTo("blue")
	ws.converge(block("current"))
	ws.destroy().wantNoWarnings()
	assertLayoutTags(t, filepath.Join(dir, "blue"))
}
