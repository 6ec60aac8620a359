package provider_test

import (
	"fmt"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// tagsOf is a data source registry_tags, with further arguments as HCL.
func tagsOf(name, repository string, arguments ...string) string {
	return fmt.Sprintf("data \"registry_tags\" %q {\n  repository = %q\n  %s\n}", name, repository, strings.Join(arguments, "\n  "))
}

// tagged pushes one image under all of the tags.
func tagged(t *testing.T, reg *registrytest.Registry, repo string, content registrytest.Content, tags ...string) {
	t.Helper()
	reg.Push(t, repo, tags[0], content)
	for _, tag := range tags[1:] {
		reg.Retag(t, repo, tags[0], tag)
	}
}

func TestTags(t *testing.T) {
	t.Parallel()
	for name, reg := range map[string]*registrytest.Registry{
		"v3":              registrytest.V3(t),
		"v2":              registrytest.V2(t),
		"in pages of two": registrytest.Scripted(t, registrytest.Behaviour{PageSize: 2}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tagged(t, reg, "app", registrytest.DockerList("app"), "1.9", "1.10", "v2.0", "2.1-rc1", "1.10-alpine", "latest", "2026-03-01", "sha256-"+strings.Repeat("a", 64)+".sig")
			all := reg.Addr + "/app"
			want := map[string]string{
				// A year is a high version.
				"all":       "2026-03-01 2.1-rc1 v2.0 1.10 1.10-alpine 1.9 latest",
				"included":  "1.10 1.9",
				"excluded":  "v2.0 1.10 1.9",
				"limited":   "v2.0",
				"below":     "1.10 1.9",
				"alpine":    "1.10-alpine",
				"lexically": "latest 2026-03-01",
				"none":      "",
			}
			blocks := []string{
				tagsOf("all", all),
				tagsOf("included", all, `include = "^1[.]\\d+$"`),
				tagsOf("excluded", all, `exclude = "-|latest"`),
				tagsOf("limited", all, `constraint = ">= 1.0, < 2026"`, `limit = 1`),
				tagsOf("below", all, `constraint = "~> 1.4"`, `order = "version"`),
				tagsOf("alpine", all, `include = "^(?P<version>.*)-alpine$"`, `constraint = "~> 1.4"`),
				tagsOf("lexically", all, `exclude = "^v|^.[.]|^..[.]"`, `order = "lexical"`, `limit = 2`),
				tagsOf("none", all, `include = "nothing"`),
			}
			for name := range want {
				blocks = append(blocks, output(name, fmt.Sprintf(`"${join(" ", data.registry_tags.%[1]s.tags)}, ${data.registry_tags.%[1]s.newest == null ? "null" : data.registry_tags.%[1]s.newest}"`, name)))
			}
			said := newWorkspace(t).up(blocks...)
			for name, tags := range want {
				newest, _, _ := strings.Cut(tags, " ")
				if newest == "" {
					newest = "null"
				}
				if got := said.outputs[name]; got != tags+", "+newest {
					t.Errorf("%s: %v, want %s", name, got, tags)
				}
			}
		})
	}
}

func TestTheNewestTagIsPromoted(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V2(t)
	first := src.Push(t, "app", "1.9.0", registrytest.MultiArch("first"))
	ws := newWorkspace(t)
	copied := []string{
		tagsOf("app", src.Addr+"/app", `constraint = "~> 1.4"`),
		fmt.Sprintf("resource \"registry_image_copy\" \"app\" {\n  source = \"%s/app:${data.registry_tags.app.newest}\"\n  destination = %q\n}", src.Addr, dst.Ref("app", "1")),
	}
	ws.up(copied...)
	second := src.Push(t, "app", "1.10.0", registrytest.MultiArch("second"))
	src.Push(t, "app", "2.0.0", registrytest.MultiArch("third"))
	plan := ws.plan()
	plan.wantAction(app, tfjson.ActionUpdate).wantChange(app, "digest", first.Digest, second.Digest)
	ws.apply(plan)
	registrytest.Same(t, second.Tree, dst.Read(t, "app", "1"))
	ws.wantNoChanges()
}

func TestTagsForEach(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	tagged(t, src, "app", registrytest.MultiArch("app"), "1.0", "1.1", "2.0")
	ws := newWorkspace(t)
	ws.up(tagsOf("app", src.Addr+"/app", `constraint = "~> 1.0"`), fmt.Sprintf(`resource "registry_image_copy" "app" {
  for_each    = toset(data.registry_tags.app.tags)
  source      = "%s/app:${each.key}"
  destination = "%s/app:${each.key}"
}`, src.Addr, dst.Addr))
	wantTags(t, dst, "app", "1.0", "1.1")
}

func TestTagsThatCannotBeAskedFor(t *testing.T) {
	t.Parallel()
	reg := registrytest.Scripted(t, registrytest.Behaviour{})
	pinned := reg.Addr + "/app@sha256:" + strings.Repeat("0", 64)
	ws := newWorkspace(t)
	ws.configure(
		tagsOf("tag", reg.Addr+"/app:1"), tagsOf("digest", pinned), tagsOf("host", reg.Addr), tagsOf("scheme", "https://ghcr.io/app"),
		tagsOf("include", reg.Addr+"/app", `include = "("`), tagsOf("exclude", reg.Addr+"/app", `exclude = "^(?!1)"`),
		tagsOf("constraint", reg.Addr+"/app", `constraint = "^1.4"`), tagsOf("empty", reg.Addr+"/app", `constraint = ""`),
		tagsOf("order", reg.Addr+"/app", `order = "newest"`), tagsOf("limit", reg.Addr+"/app", `limit = 0`),
		tagsOf("half", reg.Addr+"/app", `limit = 1.5`), tagsOf("group", reg.Addr+"/app", `include = "^(?P<ver>.*)-alpine$"`, `constraint = "~> 1.4"`),
		tagsOf("everything", reg.Addr+"/app", `include = ""`), tagsOf("nothing", reg.Addr+"/app", `exclude = ""`), tagsOf("layout", "oci:./app"),
	)
	said := ws.planFails()
	said.wantError("Invalid repository", `it has the tag "1"`, fmt.Sprintf("%q", reg.Addr+"/app")).at(said, "repository")
	said.wantError("Invalid repository", "it has a digest").at(said, "repository")
	said.wantError("Invalid repository", "it has no repository").at(said, "repository")
	said.wantError("Invalid repository", "scheme").at(said, "repository")
	said.wantError("Invalid regular expression", "missing closing )").at(said, "include")
	said.wantError("Invalid regular expression", `"^(?!1)" cannot be read`, "neither lookaheads").at(said, "exclude")
	said.wantError("Invalid version constraint", `"^1.4" cannot be read`, "~> 1.4").at(said, "constraint")
	said.wantError("Invalid version constraint", `"" cannot be read`).at(said, "constraint")
	said.wantError("Invalid order", `"newest" is no order`, `"version" or "lexical"`).at(said, "order")
	said.wantError("Invalid limit", "0 is not how many tags", "a whole number is wanted, and at least 1").at(said, "limit = 0")
	said.wantError("Invalid limit", "1.5 is not how many tags").at(said, "limit = 1.5")
	said.wantError("Invalid regular expression", `a group named "ver"`, `"version" is the only name`).at(said, "include")
	said.wantError("Invalid regular expression", "`include` is empty, and an empty expression matches every tag").at(said, "include")
	said.wantError("Invalid regular expression", "`exclude` is empty, and an empty expression matches every tag").at(said, "exclude")
	said.wantError("Invalid repository", "it names an image layout on this machine").at(said, "repository")
}

func TestTooManyTags(t *testing.T) {
	t.Parallel()
	reg := registrytest.Front(t, registrytest.Behaviour{})
	reg.On("GET", ".*/tags/list").Reply(200, nil, `{"name":"app","tags":["1"`+strings.Repeat(`,"1"`, 100_000)+`]}`)
	ws := newWorkspace(t)
	ws.configure(tagsOf("app", reg.Addr+"/app"))
	said := ws.planFails()
	said.wantError("The tags could not be listed", reg.Addr+"/app", "cannot list the tags", "it has more than 100000", "No ordinary image or list").at(said, "repository")
}

func TestTagsOfNoRepository(t *testing.T) {
	t.Parallel()
	reg := registrytest.V3(t)
	ws := newWorkspace(t)
	ws.configure(tagsOf("app", reg.Addr+"/none"))
	said := ws.planFails()
	d := said.wantError("The repository does not exist", reg.Addr+"/none", "Look at the repository's name. Some registries")
	d.at(said, "repository")
	if strings.Contains(d.Detail, "tag or digest") {
		t.Errorf("none was given: %s", d.Detail)
	}
}

func TestARepositoryWithoutTags(t *testing.T) {
	t.Parallel()
	reg := registrytest.V3(t)
	reg.Push(t, "app", "1", registrytest.Image{Seed: "app"})
	reg.DeleteTag(t, "app", "1")
	said := newWorkspace(t).up(tagsOf("app", reg.Addr+"/app"), output("state", `jsonencode([data.registry_tags.app.tags, data.registry_tags.app.newest])`))
	if got := said.outputs["state"]; got != "[[],null]" {
		t.Errorf("it is %v", got)
	}
}
