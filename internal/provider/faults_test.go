package provider_test

import (
	"net/http"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

func TestSourceFaultIsWarning(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]struct {
		cause func(*registrytest.Proxy)
		says  string
	}{
		"gone": {func(p *registrytest.Proxy) {
			p.On("GET|HEAD", ".*/manifests/.*").Reply(404, nil, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no such manifest"}]}`)
		}, "no such manifest"},
		"rate limited": {func(p *registrytest.Proxy) { p.On(".*", ".*").Reply(429, nil, "") }, "429"},
		"rate limited for minutes": {func(p *registrytest.Proxy) {
			p.On(".*", ".*").Reply(429, http.Header{"Retry-After": {"120"}}, "")
		}, "asks to wait 2m0s, longer than this operation may take"},
		"broken":      {func(p *registrytest.Proxy) { p.On(".*", ".*").Reply(500, nil, "") }, "500"},
		"unreachable": {func(p *registrytest.Proxy) { p.Stop() }, "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, dst := registrytest.V3(t), registrytest.V3(t)
			pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
			proxy := registrytest.Intercept(t, src)
			ws := newWorkspace(t)
			ws.up(imageCopy("app", proxy.Ref("app", "1"), dst.Ref("app", "1")))

			fault.cause(proxy)
			said := ws.wantNoChanges()
			said.wantWarning("source could not be asked", proxy.Addr+"/app", fault.says).at(said, "source")

			// A tag that was moved is put back from what the destination has.
			dst.Push(t, "app", "1", registrytest.DockerList("theirs"))
			plan := ws.plan()
			plan.wantAction(app, tfjson.ActionUpdate)
			ws.apply(plan)
			registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "1"))
		})
	}
}

func TestSourceFaultAfterTheSourceMoved(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	first := src.Push(t, "app", "1", registrytest.MultiArch("first"))
	proxy := registrytest.Intercept(t, src)
	ws := newWorkspace(t)
	ws.up(imageCopy("app", proxy.Ref("app", "1"), dst.Ref("app", "1")))

	// The move was seen and is in the state, but what it moved to cannot be had.
	second := src.Push(t, "app", "1", registrytest.MultiArch("second"))
	ws.run("apply", "-json", "-refresh-only", "-auto-approve").ok()
	ws.plan("-refresh=false").wantChange(app, "digest", first.Digest, second.Digest)
	proxy.Stop()
	ws.wantNoChanges().wantWarning("source could not be asked")
}

func TestSourceFaultOnCreateIsError(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	ws := newWorkspace(t)
	ws.configure(imageCopy("app", src.Ref("app", "1"), dst.Ref("app", "1")))
	said := ws.planFails()
	said.wantError("source "+src.Addr+"/app", "404", "refer to an attribute").at(said, "source")
}

func TestDestinationFaultKeepsState(t *testing.T) {
	t.Parallel()
	html := http.Header{"Content-Type": {"text/html"}}
	for name, fault := range map[string]struct {
		status int
		header http.Header
		body   string
	}{
		"unauthorized": {401, nil, `{"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]}`},
		"denied":       {403, nil, `{"errors":[{"code":"DENIED","message":"not yours"}]}`},
		"rate limited": {429, nil, ""},
		"broken":       {500, nil, ""},
		"proxy's 404":  {404, html, "<html>not found</html>"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, dst := registrytest.V3(t), registrytest.V3(t)
			pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
			proxy := registrytest.Intercept(t, dst)
			ws := newWorkspace(t)
			ws.up(imageCopy("app", pushed.Ref, proxy.Ref("app", "1")))

			proxy.On("GET|HEAD", ".*").Reply(fault.status, fault.header, fault.body)
			said := ws.planFails()
			said.wantError("destination "+proxy.Addr+"/app", "-refresh=false").at(said, "destination")
			ws.wantNoChanges("-refresh=false")

			proxy.Clear()
			ws.wantNoChanges().wantNoWarnings()
		})
	}
}

func TestTimeouts(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	source, destination := registrytest.Intercept(t, src), registrytest.Intercept(t, dst)
	copied := imageCopy("app", source.Ref("app", "1"), destination.Ref("app", "1"), `timeouts = { create = "200ms", read = "200ms" }`)
	ws := newWorkspace(t)
	ws.configure(copied)
	source.On("GET", ".*/blobs/.*").Stall()
	said := ws.applyFails(ws.plan())
	said.wantError("could not be copied", "source "+source.Addr+"/app", "`timeouts`").at(said, "source")
	if dst.HasManifest(t, "app", string(pushed.Digest)) || ws.state(app) != nil {
		t.Error("a create that failed left something behind")
	}
	source.Clear()
	ws.configure(strings.Replace(copied, "create = \"200ms\", ", "", 1))
	ws.apply(ws.plan())

	// A source that does not answer leaves the destination its time.
	source.On(".*", ".*").Stall()
	ws.wantNoChanges().wantWarning("source could not be asked", "`timeouts`")
	destination.On(".*", ".*").Stall()
	ws.planFails().wantError("destination "+destination.Addr+"/app", "`timeouts`", "-refresh=false")
	if ws.state(app) == nil {
		t.Error("the state is gone")
	}
}

func TestWarningsOfRegistriesAreShown(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	proxy := registrytest.Intercept(t, src)
	proxy.On(".*", ".*").Alter(func(r *http.Response) { r.Header.Set("Warning", `299 - "this registry closes in May"`) })
	ws := newWorkspace(t)
	ws.configure(imageCopy("app", proxy.Ref("app", "1"), dst.Ref("app", "1")), manifest(pushed.Ref))
	plan := ws.plan()
	plan.wantWarning(proxy.Addr, "this registry closes in May")
	ws.apply(plan).wantWarning("this registry closes in May")
}
