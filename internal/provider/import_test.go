package provider_test

import (
	"testing"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

func TestImport(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	dst.Push(t, "app", "1", registrytest.MultiArch("app"))
	ws := newWorkspace(t)
	ws.configure(imageCopy("app", pushed.Ref, dst.Ref("app", "1")))
	ws.importAs(app, dst.Ref("app", "1"))

	plan := ws.plan()
	plan.wantAction(app, tfjson.ActionUpdate).wantChange(app, "source", nil, pushed.Ref)
	for _, attribute := range []string{"destination", "additional_tags", "overwrite", "on_destroy", "digest", "source_digest", "media_type", "pinned_reference", "timeouts"} {
		before := valueOf(plan.change(app).Before, attribute)
		plan.wantChange(app, attribute, before, before)
	}
	ws.apply(plan)
	ws.wantNoChanges()
}

func TestImportNothing(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	ws := newWorkspace(t)
	ws.configure(imageCopy("app", src.Ref("app", "1"), dst.Ref("app", "1")))
	if _, stderr, err := ws.command("import", "-no-color", app, dst.Ref("app", "1")); err == nil {
		t.Error("a tag that is not there was imported")
	} else {
		t.Log(stderr)
	}
}
