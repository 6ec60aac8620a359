package provider_test

import (
	"fmt"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// tagsBlock returns a registry_tags block, with additional arguments as HCL.
func tagsBlock(name, repository string, arguments ...string) string {
	return fmt.Sprintf("data \"registry_tags\" %q {\n  repository = %q\n  %s\n}", name, repository, strings.Join(arguments, "\n  "))
}

// pushTags pushes one image with all tags.
func pushTags(t *testing.T, reg *registrytest.Registry, repo string, content registrytest.Content, tags ...string) {
	t.Helper()
	reg.Push(t, repo, tags[0], content)
	for _, tag := range tags[1:] {
		reg.Retag(t, repo, tags[0], tag)
	}
}

func TestTags_Selection(t *testing.T) {
	t.Parallel()
	for name, reg := range map[string]*registrytest.Registry{
		"v3":        registrytest.V3(t),
		"v2":        registrytest.V2(t),
		"paginated": registrytest.Scripted(t, registrytest.Behaviour{PageSize: 2}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pushTags(t, reg, "app", registrytest.DockerList("app"), "1.9", "1.10", "v2.0", "2.1-rc1", "1.10-alpine", "latest", "2026-03-01", "sha256-"+strings.Repeat("a", 64)+".sig")
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
				tagsBlock("all", all),
				tagsBlock("included", all, `include = "^1[.]\\d+$"`),
				tagsBlock("excluded", all, `exclude = "-|latest"`),
				tagsBlock("limited", all, `constraint = ">= 1.0, < 2026"`, `limit = 1`),
				tagsBlock("below", all, `constraint = "~> 1.4"`, `order = "version"`),
				tagsBlock("alpine", all, `include = "^(?P<version>.*)-alpine$"`, `constraint = "~> 1.4"`),
				tagsBlock("lexically", all, `exclude = "^v|^.[.]|^..[.]"`, `order = "lexical"`, `limit = 2`),
				tagsBlock("none", all, `include = "nothing"`),
			}
			for name := range want {
				blocks = append(blocks, output(name, fmt.Sprintf(`"${join(" ", data.registry_tags.%[1]s.tags)}, ${data.registry_tags.%[1]s.newest == null ? "null" : data.registry_tags.%[1]s.newest}"`, name)))
			}
			result := newWorkspace(t).converge(blocks...)
			for name, tags := range want {
				newest, _, _ := strings.Cut(tags, " ")
				if newest == "" {
					newest = "null"
				}
				if got := result.outputs[name]; got != tags+", "+newest {
					t.Errorf("%s: %v, want %s", name, got, tags)
				}
			}
		})
	}
}

func TestTags_PromotesNewest(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V2(t)
	first := src.Push(t, "app", "1.9.0", registrytest.MultiArch("first"))
	ws := newWorkspace(t)
	copied := []string{
		tagsBlock("app", src.Addr+"/app", `constraint = "~> 1.4"`),
		fmt.Sprintf("resource \"registry_image_copy\" \"app\" {\n  source = \"%s/app:${data.registry_tags.app.newest}\"\n  destination = %q\n}", src.Addr, dst.Ref("app", "1")),
	}
	ws.converge(copied...)
	second := src.Push(t, "app", "1.10.0", registrytest.MultiArch("second"))
	src.Push(t, "app", "2.0.0", registrytest.MultiArch("third"))
	plan := ws.plan()
	plan.wantAction(app, tfjson.ActionUpdate).wantChange(app, "digest", first.Digest, second.Digest)
	ws.apply(plan)
	registrytest.Same(t, second.Tree, dst.Read(t, "app", "1"))
	ws.wantNoChanges()
}

func TestTags_ForEach(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushTags(t, src, "app", registrytest.MultiArch("app"), "1.0", "1.1", "2.0")
	ws := newWorkspace(t)
	ws.converge(tagsBlock("app", src.Addr+"/app", `constraint = "~> 1.0"`), fmt.Sprintf(`resource "registry_image_copy" "app" {
  for_each    = toset(data.registry_tags.app.tags)
  source      = "%s/app:${each.key}"
  destination = "%s/app:${each.key}"
}`, src.Addr, dst.Addr))
	assertTags(t, dst, "app", "1.0", "1.1")
}

func TestTags_InvalidArguments(t *testing.T) {
	t.Parallel()
	reg := registrytest.Scripted(t, registrytest.Behaviour{})
	pinned := reg.Addr + "/app@sha256:" + strings.Repeat("0", 64)
	ws := newWorkspace(t)
	ws.configure(
		tagsBlock("tag", reg.Addr+"/app:1"), tagsBlock("digest", pinned), tagsBlock("host", reg.Addr), tagsBlock("scheme", "https://ghcr.io/app"),
		tagsBlock("include", reg.Addr+"/app", `include = "("`), tagsBlock("exclude", reg.Addr+"/app", `exclude = "^(?!1)"`),
		tagsBlock("constraint", reg.Addr+"/app", `constraint = "^1.4"`), tagsBlock("empty", reg.Addr+"/app", `constraint = ""`),
		tagsBlock("order", reg.Addr+"/app", `order = "newest"`), tagsBlock("limit", reg.Addr+"/app", `limit = 0`),
		tagsBlock("half", reg.Addr+"/app", `limit = 1.5`), tagsBlock("group", reg.Addr+"/app", `include = "^(?P<ver>.*)-alpine$"`, `constraint = "~> 1.4"`),
		tagsBlock("everything", reg.Addr+"/app", `include = ""`), tagsBlock("nothing", reg.Addr+"/app", `exclude = ""`), tagsBlock("layout", "oci:./app"),
	)
	result := ws.planFails()
	result.wantError("Invalid Repository", `it has the tag "1"`, fmt.Sprintf("%q", reg.Addr+"/app")).assertAt(result, "repository")
	result.wantError("Invalid Repository", "it has a digest").assertAt(result, "repository")
	result.wantError("Invalid Repository", "it has no repository").assertAt(result, "repository")
	result.wantError("Invalid Repository", "scheme").assertAt(result, "repository")
	result.wantError("Invalid Regular Expression", "missing closing )").assertAt(result, "include")
	result.wantError("Invalid Regular Expression", `"^(?!1)" cannot be read`, "neither lookaheads").assertAt(result, "exclude")
	result.wantError("Invalid Version Constraint", `"^1.4" cannot be read`, "~> 1.4").assertAt(result, "constraint")
	result.wantError("Invalid Version Constraint", `"" cannot be read`).assertAt(result, "constraint")
	result.wantError("Invalid Order", `"newest" is no order`, `"version" or "lexical"`).assertAt(result, "order")
	result.wantError("Invalid Limit", "0 is not how many tags", "a whole number is wanted, and at least 1").assertAt(result, "limit = 0")
	result.wantError("Invalid Limit", "1.5 is not how many tags").assertAt(result, "limit = 1.5")
	result.wantError("Invalid Regular Expression", `a group named "ver"`, `"version" is the only name`).assertAt(result, "include")
	result.wantError("Invalid Regular Expression", "`include` is empty, and an empty expression matches every tag").assertAt(result, "include")
	result.wantError("Invalid Regular Expression", "`exclude` is empty, and an empty expression matches every tag").assertAt(result, "exclude")
	result.wantError("Invalid Repository", "it names an image layout on this machine").assertAt(result, "repository")
}

func TestTags_TooMany(t *testing.T) {
	t.Parallel()
	reg := registrytest.Front(t, registrytest.Behaviour{})
	reg.On("GET", ".*/tags/list").Reply(200, nil, `{"name":"app","tags":["1"`+strings.Repeat(`,"1"`, 100_000)+`]}`)
	ws := newWorkspace(t)
	ws.configure(tagsBlock("app", reg.Addr+"/app"))
	result := ws.planFails()
	result.wantError("Unable to List Tags", reg.Addr+"/app", "cannot list the tags", "it has more than 100000", "No ordinary image or list").assertAt(result, "repository")
}

func TestTags_RepositoryNotFound(t *testing.T) {
	t.Parallel()
	reg := registrytest.V3(t)
	ws := newWorkspace(t)
	ws.configure(tagsBlock("app", reg.Addr+"/none"))
	result := ws.planFails()
	d := result.wantError("Repository Not Found", reg.Addr+"/none", "Look at the repository's name. Some registries")
	d.assertAt(result, "repository")
	if strings.Contains(d.Detail, "tag or digest") {
		t.Errorf("unexpected advice: %s", d.Detail)
	}
}

func TestTags_EmptyRepository(t *testing.T) {
	t.Parallel()
	reg := registrytest.V3(t)
	reg.Push(t, "app", "1", registrytest.Image{Seed: "app"})
	reg.DeleteTag(t, "app", "1")
	result := newWorkspace(t).converge(tagsBlock("app", reg.Addr+"/app"), output("state", `jsonencode([data.registry_tags.app.tags, data.registry_tags.app.newest])`))
	if got := result.outputs["state"]; got != "[[],null]" {
		t.Errorf("state = %v", got)
	}
}
