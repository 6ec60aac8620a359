package provider_test

import (
	"fmt"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

func TestPromote_Index(t *testing.T) {
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

func TestPromote_UserAgent(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	src.Push(t, "app", "1", registrytest.MultiArch("app"))
	proxies := []*registrytest.Proxy{registrytest.Intercept(t, src), registrytest.Intercept(t, dst)}
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", proxies[0].Ref("app", "1"), proxies[1].Ref("app", "1")))
	for _, p := range proxies {
		if len(p.Requests()) == 0 {
			t.Error("a registry received no requests")
		}
		for _, r := range p.Requests() {
			if got := r.Header.Get("User-Agent"); got != "terraform-provider-registry/test" {
				t.Errorf("%s %s: User-Agent %q", r.Method, r.Path, got)
			}
		}
	}
}

func TestPromote_ReferenceSpelling(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	src.Push(t, "app", "latest", registrytest.MultiArch("app"))
	lower := strings.NewReplacer("127.0.0.1", "localhost")
	upper := strings.NewReplacer("127.0.0.1", "LocalHost", ":latest", "")
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", lower.Replace(src.Ref("app", "latest")), lower.Replace(dst.Ref("app", "1"))))
	ws.configure(imageCopy("app", upper.Replace(src.Ref("app", "latest")), upper.Replace(dst.Ref("app", "1"))))
	ws.wantNoChanges()
}

func TestDestination_UpdateInPlace(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", pushed.Ref, dst.Ref("app", "1"), `on_destroy = "untag"`))
	ws.configure(imageCopy("app", pushed.Ref, dst.Ref("app", "2"), `on_destroy = "untag"`))
	plan := ws.plan()
	plan.wantAction(app, tfjson.ActionUpdate).wantChange(app, "digest", pushed.Digest, pushed.Digest).
		wantChange(app, "pinned_reference", dst.Ref("app", string(pushed.Digest)), dst.Ref("app", string(pushed.Digest)))
	plan.wantWarning("will be removed", dst.Ref("app", "1"), dst.Ref("app", "2"), `on_destroy = "untag"`)
	ws.apply(plan)
	ws.wantNoChanges()
	assertTags(t, dst, "app", "2")
}

func TestPromote_SourceChange(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	first := src.Push(t, "app", "1", registrytest.MultiArch("first"))
	second := src.Push(t, "app", "2", registrytest.MultiArch("second"))
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", first.Ref, dst.Ref("app", "live")))
	ws.configure(imageCopy("app", second.Ref, dst.Ref("app", "live")))
	plan := ws.plan()
	plan.wantAction(app, tfjson.ActionUpdate).wantChange(app, "digest", first.Digest, second.Digest)

	// The new source is resolved again during apply. An unplanned digest is not copied.
	src.Push(t, "app", "2", registrytest.MultiArch("third"))
	ws.applyFails(plan).wantError("inconsistent final plan")
	registrytest.Same(t, first.Tree, dst.Read(t, "app", "live"))
}

func TestRefresh_PinnedSourceOffline(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	proxy := registrytest.Intercept(t, src)
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", proxy.Ref("app", "1")+"@"+string(pushed.Digest), dst.Ref("app", "1")))

	src.Push(t, "app", "1", registrytest.MultiArch("second"))
	proxy.Forget()
	ws.wantNoChanges()
	if n := len(proxy.Requests()); n != 0 {
		t.Errorf("%d requests to the source, want 0", n)
	}
}

func TestPromote_SettingsChangeOffline(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	proxies := []*registrytest.Proxy{registrytest.Intercept(t, src), registrytest.Intercept(t, dst)}
	copied := func(arguments ...string) string {
		return imageCopy("app", proxies[0].Ref("app", "1"), proxies[1].Ref("app", "1"), arguments...)
	}
	ws := newWorkspace(t)
	ws.converge(copied(`on_destroy = "untag"`))

	ws.configure(copied(`on_destroy = "retain"`, `timeouts = { create = "2h" }`))
	for _, p := range proxies {
		p.Forget()
	}
	plan := ws.plan("-refresh=false")
	plan.wantAction(app, tfjson.ActionUpdate).wantChange(app, "digest", pushed.Digest, pushed.Digest)
	ws.apply(plan)
	for _, p := range proxies {
		if requests := p.Requests(); len(requests) != 0 {
			t.Errorf("unexpected requests: %v", requests)
		}
	}
	ws.wantNoChanges()
}

func TestPromote_ConcurrentCopies(t *testing.T) {
	t.Parallel()
	const copies = 20
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	proxy := registrytest.Intercept(t, dst)
	blocks := []string{}
	for i := range copies {
		blocks = append(blocks, imageCopy(fmt.Sprintf("app%d", i), pushed.Ref, proxy.Ref(fmt.Sprintf("prod/app%d", i), "1")))
	}
	ws := newWorkspace(t)
	ws.converge(blocks...)
	for i := range copies {
		registrytest.Same(t, pushed.Tree, dst.Read(t, fmt.Sprintf("prod/app%d", i), "1"))
	}
	// A blob is uploaded to the host once and mounted in the other repositories.
	if uploaded, blobs := proxy.Count("PUT", ".*/blobs/uploads/.*"), len(pushed.Tree.Blobs); uploaded != blobs {
		t.Errorf("%d uploads for %d blobs", uploaded, blobs)
	}
}
