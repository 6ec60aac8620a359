package provider_test

import (
	"strings"
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

func TestImportOfWhatIsNotThere(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	ws := newWorkspace(t)
	ws.configure(imageCopy("app", src.Ref("app", "1"), dst.Ref("app", "1")))
	for id, says := range map[string]string{
		dst.Ref("app", "1"): "non-existent remote object",
		dst.Addr + "/app":   "has no tag",
		"app:1":             "names no registry",
	} {
		stdout, stderr, err := ws.command("import", "-no-color", "-input=false", app, id)
		if err == nil || !strings.Contains(stdout+stderr, says) {
			t.Errorf("import of %s: %v, want %q\n%s%s", id, err, says, stdout, stderr)
		}
	}
}
