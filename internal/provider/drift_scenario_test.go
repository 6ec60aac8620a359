package provider_test

import (
	"net/http"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

const app = "registry_image_copy.app"

func TestDrift_SourceTagMoved(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	first := src.Push(t, "app", "1", registrytest.MultiArch("first"))
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", src.Ref("app", "1"), dst.Ref("app", "1")))

	second := src.Push(t, "app", "1", registrytest.MultiArch("second"))
	plan := ws.plan()
	plan.wantAction(app, tfjson.ActionUpdate).
		wantChange(app, "digest", first.Digest, second.Digest).
		wantChange(app, "source_digest", first.Digest, second.Digest).
		wantChange(app, "pinned_reference", dst.Ref("app", string(first.Digest)), dst.Ref("app", string(second.Digest)))

	// The planned digest is copied, although the tag moves again.
	third := src.Push(t, "app", "1", registrytest.MultiArch("third"))
	ws.apply(plan)
	registrytest.Same(t, second.Tree, dst.Read(t, "app", "1"))

	ws.plan().wantChange(app, "digest", second.Digest, third.Digest)
}

func TestDrift_SourceTagMovedBeforeCreate(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	src.Push(t, "app", "1", registrytest.MultiArch("first"))
	ws := newWorkspace(t)
	ws.configure(imageCopy("app", src.Ref("app", "1"), dst.Ref("app", "1")))
	plan := ws.plan()

	src.Push(t, "app", "1", registrytest.MultiArch("second"))
	ws.applyFails(plan).wantError("Provider produced inconsistent final plan", ".digest")
	if dst.HasManifest(t, "app", "1") {
		t.Error("the image was copied")
	}
	if state := ws.state(app); state != nil {
		t.Errorf("state = %v, want none", state)
	}
}

func TestDrift_DestinationTagMoved(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	ours := src.Push(t, "app", "1", registrytest.MultiArch("ours"))
	theirs := dst.Push(t, "app", "other", registrytest.DockerList("theirs"))
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", ours.Ref, dst.Ref("app", "1")))

	dst.Retag(t, "app", "other", "1")
	plan := ws.plan()
	plan.wantAction(app, tfjson.ActionUpdate).
		wantChange(app, "digest", theirs.Digest, ours.Digest).
		wantChange(app, "media_type", theirs.MediaType, ours.MediaType).
		wantChange(app, "source_digest", ours.Digest, ours.Digest)
	ws.apply(plan)
	registrytest.Same(t, ours.Tree, dst.Read(t, "app", "1"))
	ws.wantNoChanges()
}

func TestDrift_DestinationTagDeleted(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", pushed.Ref, dst.Ref("app", "1")))

	dst.DeleteTag(t, "app", "1")
	plan := ws.plan()
	plan.wantAction(app, tfjson.ActionCreate)
	ws.apply(plan)
	registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "1"))
	ws.wantNoChanges()
}

func TestDrift_DestinationManifestDeleted(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	proxy := registrytest.Intercept(t, dst)
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", pushed.Ref, proxy.Ref("app", "1")))

	// The registry returns the manifest to HEAD requests although it was deleted: to the
	// refresh, which resolves promoted_reference, and to the copy.
	dst.DeleteManifest(t, "app", pushed.Digest)
	dst.Push(t, "app", "1", registrytest.DockerList("theirs"))
	proxy.On("HEAD", ".*/manifests/"+string(pushed.Digest)).Times(2).Reply(200, http.Header{
		"Content-Type": {pushed.MediaType}, "Docker-Content-Digest": {string(pushed.Digest)},
	}, "")
	ws.apply(ws.plan())
	ws.wantNoChanges()
	registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "1"))
}
