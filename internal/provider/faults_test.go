package provider_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

func TestSourceFaultIsWarning(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]struct {
		cause       func(*registrytest.Proxy)
		title, says string
	}{
		"gone": {func(p *registrytest.Proxy) {
			p.On("GET|HEAD", ".*/manifests/.*").Reply(404, nil, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no such manifest"}]}`)
		}, "The source image does not exist", "no such manifest"},
		"rate limited": {func(p *registrytest.Proxy) { p.On(".*", ".*").Reply(429, nil, "") }, "The source registry limits requests", "429"},
		"rate limited for minutes": {func(p *registrytest.Proxy) {
			p.On(".*", ".*").Reply(429, http.Header{"Retry-After": {"120"}}, "")
		}, "The source registry limits requests", "asks to wait 2m0s, longer than this operation may take"},
		"broken":      {func(p *registrytest.Proxy) { p.On(".*", ".*").Reply(500, nil, "") }, "The source registry is not available", "500"},
		"unreachable": {func(p *registrytest.Proxy) { p.Stop() }, "The source registry is not available", "connection refused"},
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
			said.wantWarning(fault.title, proxy.Addr+"/app", fault.says, "just been changed").at(said, "source")

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
	ws.wantNoChanges().wantWarning("source registry is not available")
}

func TestSourceFaultOnCreateIsError(t *testing.T) {
	t.Parallel()
	const toBeBuilt = "refer to an attribute"
	reply := func(status int, code string) func(*registrytest.Proxy) {
		return func(p *registrytest.Proxy) {
			p.On(".*", ".*").Reply(status, nil, `{"errors":[{"code":"`+code+`","message":"no"}]}`)
		}
	}
	for name, fault := range map[string]struct {
		cause    func(*registrytest.Proxy)
		title    string
		mayBuild bool
	}{
		"gone":          {reply(404, "MANIFEST_UNKNOWN"), "The source image does not exist", true},
		"no repository": {reply(404, "NAME_UNKNOWN"), "The source image does not exist", true},
		"not listening": {func(p *registrytest.Proxy) { p.Stop() }, "The source registry is not available", true},
		"unauthorized":  {reply(401, "UNAUTHORIZED"), "The source registry refused the request", false},
		"denied":        {reply(403, "DENIED"), "The source registry refused the request", false},
		"rate limited":  {reply(429, "TOOMANYREQUESTS"), "The source registry limits requests", false},
		"broken":        {reply(500, "UNKNOWN"), "The source registry is not available", false},
		"speaks HTTP":   {nil, "Cannot find out what the source holds", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, dst := registrytest.V3(t), registrytest.V3(t)
			proxy := registrytest.Intercept(t, src)
			blocks := []string{imageCopy("app", proxy.Ref("app", "1"), dst.Ref("app", "1"))}
			if fault.cause != nil {
				fault.cause(proxy)
			} else {
				blocks = append(blocks, fmt.Sprintf(`provider "registry" { registries = { %q = { plain_http = false } } }`, proxy.Addr))
			}
			ws := newWorkspace(t)
			ws.configure(blocks...)
			said := ws.planFails()
			said.wantError(fault.title, "source "+proxy.Addr+"/app").at(said, "source")
			if advised := strings.Contains(said.text, toBeBuilt); advised != fault.mayBuild {
				t.Errorf("advice for a source that is still to be built: %t\n%s", advised, said.text)
			}
		})
	}
}

func TestReferenceWithoutATag(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	src.Push(t, "app", "1", registrytest.MultiArch("app"))
	untagged := src.Addr + "/app"
	ws := newWorkspace(t)
	for _, block := range []string{imageCopy("app", untagged, dst.Ref("app", "1")), manifest(untagged)} {
		ws.configure(block)
		ws.planFails().wantError("image does not exist", fmt.Sprintf("%q gives no tag", untagged), `"latest" was assumed`)
	}
	ws.configure(imageCopy("app", src.Ref("app", "2"), dst.Ref("app", "1")))
	if said := ws.planFails(); strings.Contains(said.text, "assumed") {
		t.Errorf("a tag was given:\n%s", said.text)
	}
}

func TestDestinationFaultKeepsState(t *testing.T) {
	t.Parallel()
	html := http.Header{"Content-Type": {"text/html"}}
	for name, fault := range map[string]struct {
		status int
		header http.Header
		body   string
		title  string
	}{
		"unauthorized": {401, nil, `{"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]}`, "The destination registry refused the request"},
		"denied":       {403, nil, `{"errors":[{"code":"DENIED","message":"not yours"}]}`, "The destination registry refused the request"},
		"rate limited": {429, nil, "", "The destination registry limits requests"},
		"broken":       {500, nil, "", "The destination registry is not available"},
		"proxy's 404":  {404, html, "<html>not found</html>", "Cannot find out what the destination holds"},
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
			said.wantError(fault.title, "destination "+proxy.Addr+"/app", "-refresh=false", "terraform state rm").at(said, "destination")
			ws.wantNoChanges("-refresh=false")

			proxy.Clear()
			ws.wantNoChanges().wantNoWarnings()
		})
	}
}

func TestDestinationMovesAwayFromARegistryThatIsDown(t *testing.T) {
	t.Parallel()
	src, old, dst := registrytest.V3(t), registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	proxy := registrytest.Intercept(t, old)
	ws := newWorkspace(t)
	ws.up(imageCopy("app", pushed.Ref, proxy.Ref("app", "1")))
	proxy.Stop()
	ws.configure(imageCopy("app", pushed.Ref, dst.Ref("app", "1")))
	ws.planFails().wantError("This is about "+proxy.Ref("app", "1")+", where the state has the image", "that is the old place", "-refresh=false")
	ws.apply(ws.plan("-refresh=false"))
	ws.wantNoChanges()
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
	said.wantError("could not be copied", "source "+source.Addr+"/app", "it was not done within 200ms, the create timeout", `timeouts = { create = "…" }`).at(said, "source")
	if dst.HasManifest(t, "app", string(pushed.Digest)) || ws.state(app) != nil {
		t.Error("a create that failed left something behind")
	}
	source.Clear()
	ws.configure(strings.Replace(copied, "create = \"200ms\", ", "", 1))
	ws.apply(ws.plan())

	// A source that does not answer leaves the destination its time.
	source.On(".*", ".*").Stall()
	ws.wantNoChanges().wantWarning("source could not be asked", "the registry did not answer within 200ms, the read timeout", "timeouts = { read")
	destination.On(".*", ".*").Stall()
	ws.planFails().wantError("destination "+destination.Addr+"/app", "the registry did not answer within 200ms, the read timeout", "-refresh=false")
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
