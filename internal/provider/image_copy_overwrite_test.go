package provider_test

import (
	"net/http"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

const noOverwrite = "overwrite = false"

func TestOverwriteFalse_Create(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	theirs := dst.Push(t, "app", "1", registrytest.DockerList("theirs"))
	ws := newWorkspace(t)
	ws.configure(imageCopy("app", pushed.Ref, dst.Ref("app", "1"), noOverwrite))
	result := ws.planFails()
	result.wantError(dst.Addr+"/app", string(theirs.Digest), noOverwrite).assertAt(result, "destination")

	// A tag that already points to the planned digest is accepted.
	dst.Push(t, "app", "1", registrytest.MultiArch("app"))
	ws.apply(ws.plan())
	ws.wantNoChanges()
}

func TestOverwriteFalse_AdditionalTag(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	dst.Push(t, "app", "stable", registrytest.DockerList("theirs"))
	ws := newWorkspace(t)
	ws.configure(imageCopy("app", pushed.Ref, dst.Ref("app", "1"), noOverwrite, `additional_tags = ["stable"]`))
	result := ws.planFails()
	result.wantError("stable", noOverwrite).assertAt(result, "additional_tags")

	ws.converge(imageCopy("app", pushed.Ref, dst.Ref("app", "1"), noOverwrite))
	ws.configure(imageCopy("app", pushed.Ref, dst.Ref("app", "1"), noOverwrite, `additional_tags = ["stable"]`))
	ws.planFails().wantError("stable", noOverwrite)
}

func TestOverwriteFalse_Update(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	src.Push(t, "app", "1", registrytest.MultiArch("first"))
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", src.Ref("app", "1"), dst.Ref("app", "1"), noOverwrite))

	// The resource may move its own tag.
	second := src.Push(t, "app", "1", registrytest.MultiArch("second"))
	ws.apply(ws.plan())
	registrytest.Same(t, second.Tree, dst.Read(t, "app", "1"))

	theirs := dst.Push(t, "app", "1", registrytest.DockerList("theirs"))
	ws.planFails().wantError(string(theirs.Digest), noOverwrite)
	registrytest.Same(t, theirs.Tree, dst.Read(t, "app", "1"))
}

// TestOverwriteFalse_MainTagDeleted removes the main tag as another client. The resource is
// then removed from state, and the record of what it wrote to other tags is lost.
func TestOverwriteFalse_MainTagDeleted(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	first := src.Push(t, "app", "1", registrytest.MultiArch("first"))
	copied := imageCopy("app", first.Ref, dst.Ref("app", "1"), noOverwrite, `additional_tags = ["stable"]`)
	ws := newWorkspace(t)
	ws.converge(copied)

	// A tag that still points to the planned digest is accepted.
	dst.DeleteTag(t, "app", "1")
	plan := ws.plan()
	plan.wantAction(app, tfjson.ActionCreate)
	ws.apply(plan)
	ws.wantNoChanges()

	dst.DeleteTag(t, "app", "1")
	src.Push(t, "app", "1", registrytest.MultiArch("second"))
	result := ws.planFails()
	result.wantError(`"stable"`, string(first.Digest), noOverwrite, "Promote to another tag, remove this one at the registry, or set overwrite = true").assertAt(result, "additional_tags")
	dst.DeleteTag(t, "app", "stable")
	ws.converge(copied)
}

func TestOverwriteFalse_CheckedBeforeWrite(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	src.Push(t, "app", "1", registrytest.MultiArch("first"))
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", src.Ref("app", "1"), dst.Ref("app", "1"), noOverwrite))

	second := src.Push(t, "app", "1", registrytest.MultiArch("second"))
	plan := ws.plan()
	theirs := dst.Push(t, "app", "1", registrytest.DockerList("theirs"))
	result := ws.applyFails(plan)
	result.wantError(string(theirs.Digest), noOverwrite).assertAt(result, "destination")
	registrytest.Same(t, theirs.Tree, dst.Read(t, "app", "1"))
	if dst.HasManifest(t, "app", string(second.Digest)) {
		t.Error("the image was copied")
	}
}

// TestCreate_ConcurrentWrite lets another client write the tag concurrently.
func TestCreate_ConcurrentWrite(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	theirs := dst.Push(t, "app", "theirs", registrytest.DockerList("theirs"))
	proxy := registrytest.Intercept(t, dst)
	proxy.On("PUT", ".*/manifests/1").Do(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(w, r)
		dst.PutManifest(t, "app", "1", theirs.Manifest)
	})
	ws := newWorkspace(t)
	ws.configure(imageCopy("app", pushed.Ref, proxy.Ref("app", "1")))
	ws.applyFails(ws.plan()).wantError(string(theirs.Digest), "Somebody else wrote the tag")
	if state := ws.state(app); state != nil {
		t.Errorf("state = %v, want none", state)
	}
	registrytest.Same(t, theirs.Tree, dst.Read(t, "app", "1"))
}

func TestCreate_AfterFailedCreate(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	proxy := registrytest.Intercept(t, dst)
	proxy.On("PUT", ".*/manifests/1").Reply(403, nil, `{"errors":[{"code":"DENIED","message":"not today"}]}`)
	ws := newWorkspace(t)
	ws.configure(imageCopy("app", pushed.Ref, proxy.Ref("app", "1"), noOverwrite, `additional_tags = ["stable"]`))
	result := ws.applyFails(ws.plan())
	result.wantError("not today", "hold "+string(pushed.Digest)+" by now: stable", "do not: 1")
	if state := ws.state(app); state != nil {
		t.Errorf("state = %v, want none", state)
	}

	proxy.Clear()
	proxy.Forget()
	plan := ws.plan()
	plan.wantAction(app, tfjson.ActionCreate)
	ws.apply(plan)
	ws.wantNoChanges()
	registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "1"))
	if n := proxy.Count("POST", ".*/blobs/uploads/"); n != 0 {
		t.Errorf("%d blobs were uploaded again", n)
	}
}

func TestOverwriteFalse_DestinationChange(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", pushed.Ref, dst.Ref("old", "1"), noOverwrite))

	// The content of the old repository does not matter in the new one.
	dst.Push(t, "old", "1", registrytest.DockerList("theirs"))
	ws.configure(imageCopy("app", pushed.Ref, dst.Ref("new", "1"), noOverwrite))
	ws.apply(ws.plan())
	registrytest.Same(t, pushed.Tree, dst.Read(t, "new", "1"))

	// The content of the new repository matters, whatever the resource wrote to the old one.
	dst.Push(t, "newer", "1", registrytest.DockerList("theirs"))
	ws.configure(imageCopy("app", pushed.Ref, dst.Ref("newer", "1"), noOverwrite))
	ws.planFails().wantError(dst.Addr+"/newer", noOverwrite)
}
