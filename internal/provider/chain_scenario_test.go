package provider_test

import (
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// imageCopyFrom returns a registry_image_copy block whose source is an expression.
func imageCopyFrom(name, source, destination string, arguments ...string) string {
	return strings.Replace(imageCopy(name, "SOURCE", destination, arguments...), `"SOURCE"`, source, 1)
}

const (
	stage = "registry_image_copy.stage"
	prod  = "registry_image_copy.prod"
)

func TestChain_PlanAndUpdate(t *testing.T) {
	t.Parallel()
	build, staging, production := registrytest.V3(t), registrytest.V3(t), registrytest.V2(t)
	first := build.Push(t, "app", "1", registrytest.MultiArch("first"))
	ws := newWorkspace(t)
	ws.configure(
		imageCopy("stage", first.Ref, staging.Ref("app", "live")),
		imageCopyFrom("prod", stage+".pinned_reference", production.Ref("app", "live")),
		imageCopyFrom("edge", prod+".pinned_reference", production.Ref("edge", "live")))
	edge := "registry_image_copy.edge"
	plan := ws.plan()
	for _, copied := range []string{stage, prod, edge} {
		plan.wantAction(copied, tfjson.ActionCreate).
			wantChange(copied, "digest", nil, first.Digest).
			wantChange(copied, "media_type", nil, first.MediaType)
	}
	ws.apply(plan)
	registrytest.Same(t, first.Tree, production.Read(t, "edge", "live"))
	ws.wantNoChanges().wantNoWarnings()

	// When the first tag of the chain moves, one apply updates all stages.
	second := build.Push(t, "app", "1", registrytest.DockerList("second"))
	plan = ws.plan()
	for _, copied := range []string{stage, prod, edge} {
		plan.wantAction(copied, tfjson.ActionUpdate).
			wantChange(copied, "digest", first.Digest, second.Digest).
			wantChange(copied, "media_type", first.MediaType, second.MediaType)
	}
	ws.apply(plan)
	registrytest.Same(t, second.Tree, production.Read(t, "edge", "live"))
	ws.wantNoChanges().wantNoWarnings()

	// If another client moves a tag in the middle, only that stage changes.
	staging.Push(t, "app", "live", registrytest.MultiArch("theirs"))
	plan = ws.plan()
	plan.wantAction(stage, tfjson.ActionUpdate).wantAction(prod, tfjson.ActionNoop)
	ws.apply(plan)
	ws.wantNoChanges()
}

func TestChain_ReplacedStage(t *testing.T) {
	t.Parallel()
	build, staging, production := registrytest.V3(t), registrytest.V3(t), registrytest.V3(t)
	pushed := build.Push(t, "app", "1", registrytest.MultiArch("app"))
	chain := func(repository string) []string {
		return []string{
			imageCopy("stage", pushed.Ref, staging.Ref(repository, "live"), `on_destroy = "delete"`),
			imageCopyFrom("prod", stage+".pinned_reference", production.Ref("app", "live")),
		}
	}
	ws := newWorkspace(t)
	ws.converge(chain("app")...)
	ws.converge(chain("moved")...)
	registrytest.Same(t, pushed.Tree, production.Read(t, "app", "live"))
}

func TestChain_ReferencesDestination(t *testing.T) {
	t.Parallel()
	build, staging, production := registrytest.V3(t), registrytest.V3(t), registrytest.V3(t)
	first := build.Push(t, "app", "1", registrytest.MultiArch("first"))
	ws := newWorkspace(t)
	chain := []string{
		imageCopy("stage", first.Ref, staging.Ref("app", "live"), `additional_tags = ["stable"]`),
		imageCopyFrom("prod", stage+".destination", production.Ref("app", "live")),
		imageCopyFrom("stable", `replace(`+stage+`.destination, ":live", ":stable")`, production.Ref("app", "stable")),
	}
	ws.converge(chain...)
	registrytest.Same(t, first.Tree, production.Read(t, "app", "live"))

	// The plan uses the current content of the tag, which is still the old image.
	second := build.Push(t, "app", "1", registrytest.MultiArch("second"))
	plan := ws.plan()
	plan.wantAction(stage, tfjson.ActionUpdate).wantAction(prod, tfjson.ActionNoop)
	ws.apply(plan)
	ws.converge(chain...)
	registrytest.Same(t, second.Tree, production.Read(t, "app", "live"))
}

func TestChain_SourceNotPlanned(t *testing.T) {
	t.Parallel()
	build, staging, production := registrytest.V3(t), registrytest.V3(t), registrytest.V3(t)
	pushed := build.Push(t, "app", "1", registrytest.MultiArch("app"))
	ws := newWorkspace(t)
	staged := imageCopy("stage", pushed.Ref, staging.Ref("app", "live"))
	for name, source := range map[string]string{
		"another_tag":    `replace(` + stage + `.destination, ":live", ":other")`,
		"another_digest": `replace(` + stage + `.pinned_reference, "/[0-9a-f]{64}$/", "` + strings.Repeat("0", 64) + `")`,
	} {
		ws.configure(staged, imageCopyFrom("prod", source, production.Ref("app", "live")))
		result := ws.planFails()
		if at := result.wantError("Source Image Not Found", staging.Addr, "pinned_reference of that copy"); at.Snippet == nil {
			t.Errorf("%s: diagnostic has no snippet", name)
		}
	}
}

func TestChain_ProviderAlias(t *testing.T) {
	t.Parallel()
	build, staging, production := registrytest.V3(t), registrytest.V3(t), registrytest.V3(t)
	first := build.Push(t, "app", "1", registrytest.MultiArch("first"))
	alias := "provider \"registry\" {\n  alias = \"build\"\n}"
	staged := imageCopy("stage", first.Ref, staging.Ref("app", "live"), "provider = registry.build")
	ws, _ := newInstalledWorkspace(t) // each alias is a process of its own
	ws.configure(alias, staged, imageCopyFrom("prod", stage+".pinned_reference", production.Ref("app", "live")))
	diagnostic := ws.planFails().wantError("Source Image Not Found", "another provider alias", `data "registry_manifest"`)

	// Apply the advice of the error.
	_, between, _ := strings.Cut(diagnostic.Detail, "put data ")
	between, _, _ = strings.Cut(between, " between the two")
	between = "data " + strings.ReplaceAll(strings.ReplaceAll(between, "\n", " "), "registry_image_copy.NAME", stage)
	ws.converge(alias, staged, between, imageCopyFrom("prod", `data.registry_manifest.between.pinned_reference`, production.Ref("app", "live")))
	second := build.Push(t, "app", "1", registrytest.MultiArch("second"))
	ws.apply(ws.plan())
	ws.wantNoChanges()
	registrytest.Same(t, second.Tree, production.Read(t, "app", "live"))
}
