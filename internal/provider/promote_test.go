package provider_test

import (
	"testing"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

func TestPromoteIndex(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V2(t)
	pushed := src.Push(t, "acme/app", "1.4", registrytest.MultiArch("app"))

	ws := newWorkspace(t)
	ws.configure(
		imageCopy("app", pushed.Ref, dst.Ref("prod/app", "1.4")),
		output("pinned", "registry_image_copy.app.pinned_reference"))
	plan := ws.plan()
	plan.wantAction("registry_image_copy.app", tfjson.ActionCreate).
		wantChange("registry_image_copy.app", "digest", nil, pushed.Digest).
		wantChange("registry_image_copy.app", "source_digest", nil, pushed.Digest).
		wantChange("registry_image_copy.app", "media_type", nil, pushed.MediaType).
		wantChange("registry_image_copy.app", "pinned_reference", nil, dst.Ref("prod/app", string(pushed.Digest)))

	applied := ws.apply(plan)
	if got, want := applied.outputs["pinned"], dst.Ref("prod/app", string(pushed.Digest)); got != want {
		t.Errorf("output pinned: %v, want %v", got, want)
	}
	registrytest.Same(t, pushed.Tree, dst.Read(t, "prod/app", "1.4"))
	ws.wantNoChanges().wantNoWarnings()
}
