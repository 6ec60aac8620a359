package provider_test

import (
	"fmt"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

func TestImport_PlansNoChanges(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	dst.Push(t, "app", "1", registrytest.MultiArch("app"))
	ws := newWorkspace(t)
	ws.configure(imageCopy("app", pushed.Ref, dst.Ref("app", "1")))
	ws.importResource(app, dst.Ref("app", "1"))

	plan := ws.plan()
	plan.wantAction(app, tfjson.ActionUpdate).wantChange(app, "source", nil, pushed.Ref)
	for _, attribute := range []string{"destination", "additional_tags", "overwrite", "on_destroy", "referrers", "referrer_types", "deep_check", "digest", "source_digest", "media_type", "pinned_reference", "promoted_reference", "timeouts"} {
		before := valueOf(plan.change(app).Before, attribute)
		plan.wantChange(app, attribute, before, before)
	}
	ws.apply(plan)
	ws.wantNoChanges()
}

func TestImport_NotFound(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	ws := newWorkspace(t)
	ws.configure(imageCopy("app", src.Ref("app", "1"), dst.Ref("app", "1")))
	for id, contains := range map[string]string{
		dst.Ref("app", "1"): "non-existent remote object",
		dst.Addr + "/app":   "has no tag",
		"app:1":             "names no registry",
	} {
		stdout, stderr, err := ws.command("import", "-no-color", "-input=false", app, id)
		if err == nil || !strings.Contains(stdout+stderr, contains) {
			t.Errorf("import of %s: %v, want %q\n%s%s", id, err, contains, stdout, stderr)
		}
	}
}

func TestImport_Denied(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	proxy := registrytest.Intercept(t, dst)
	proxy.On(".*", ".*").Reply(403, nil, `{"errors":[{"code":"DENIED","message":"not yours"}]}`)
	ws := newWorkspace(t)
	ws.configure(imageCopy("app", src.Ref("app", "1"), proxy.Ref("app", "1")))
	stdout, stderr, err := ws.command("import", "-no-color", "-input=false", app, proxy.Ref("app", "1"))
	if text := stdout + stderr; err == nil || !strings.Contains(text, "Destination Registry Denied Access") || strings.Contains(text, "The state is kept") {
		t.Errorf("import: %v\n%s", err, text)
	}
}

// TestImport_AllowsMoveWithoutOverwrite checks that an import takes ownership: the imported
// content counts as written by the resource, which may then move the tag.
func TestImport_AllowsMoveWithoutOverwrite(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("ours"))
	theirs := dst.Push(t, "app", "1", registrytest.DockerList("theirs"))
	ws := newWorkspace(t)
	copied := imageCopy("app", pushed.Ref, dst.Ref("app", "1"), noOverwrite)
	ws.configure(copied)
	ws.planFails().wantError(string(theirs.Digest), "import "+dst.Ref("app", "1"), "counts as written by this resource")

	ws.configure(copied, fmt.Sprintf("import {\n  to = %s\n  id = %q\n}", app, dst.Ref("app", "1")))
	plan := ws.plan()
	plan.wantAction(app, tfjson.ActionUpdate).wantChange(app, "digest", theirs.Digest, pushed.Digest)
	ws.apply(plan)
	ws.wantNoChanges()
	registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "1"))
}
