package provider_test

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// faultCase is a copy between a source and a destination of its own. One of them fails later.
type faultCase struct {
	cause           func(p *registrytest.Proxy)
	title, contains string

	proxy  *registrytest.Proxy // the faulty registry
	other  *registrytest.Registry
	pushed registrytest.Pushed // at the source
}

// start starts both registries. The source is the faulty one if atSource is set.
func (f *faultCase) start(t *testing.T, name string, atSource bool) (copied string) {
	t.Helper()
	f.proxy, f.other = registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{})), registrytest.Scripted(t, registrytest.Behaviour{})
	if atSource {
		f.pushed = f.proxy.Push(t, "app", "1", registrytest.MultiArch("app"))
		return imageCopy(name, f.pushed.Ref, f.other.Ref("app", "1"))
	}
	f.pushed = f.other.Push(t, "app", "1", registrytest.MultiArch("app"))
	return imageCopy(name, f.pushed.Ref, f.proxy.Ref("app", "1"))
}

func replyWith(status int, contentType, body string) func(*registrytest.Proxy) {
	return func(p *registrytest.Proxy) {
		p.On("GET|HEAD", ".*").Reply(status, http.Header{"Content-Type": {contentType}}, body)
	}
}

// replyError returns responses of a registry, and replyPage those of a proxy in front of it.
func replyError(status int, code string) func(*registrytest.Proxy) {
	return replyWith(status, "application/json", string(registrytest.ErrorBody(code, "no, said the registry")))
}

func replyPage(status int) func(*registrytest.Proxy) {
	return replyWith(status, "text/html", "<html>not the registry</html>")
}

func resetConnections(p *registrytest.Proxy) { p.On(".*", ".*").Reset() }

// truncateResponse cuts off a response before it names the missing manifest.
func truncateResponse(p *registrytest.Proxy) {
	p.On("HEAD", ".*").Reply(404, nil, "")
	p.On("GET", ".*").Do(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		document := registrytest.ErrorBody("MANIFEST_UNKNOWN", "no, said the registry")
		w.Header().Set("Content-Length", strconv.Itoa(len(document)))
		w.WriteHeader(404)
		_, _ = w.Write(document[:len(document)/2])
	})
}

func redirectEndlessly(p *registrytest.Proxy) {
	p.On("GET|HEAD", ".*").Reply(307, http.Header{"Location": {"/elsewhere"}}, "")
}

func stopServer(p *registrytest.Proxy) { p.Stop() }

// stateFile returns the content of the state file.
func (w *workspace) stateFile() string {
	w.t.Helper()
	content, err := os.ReadFile(filepath.Join(w.dir, "terraform.tfstate"))
	if err != nil {
		w.t.Fatal(err)
	}
	return string(content)
}

func TestRefresh_SourceFaultIsWarning(t *testing.T) {
	t.Parallel()
	const gone, refused, limited, notThere, unclear = "Source Image Not Found", "Source Registry Denied Access",
		"Source Registry Limits Requests", "Source Registry Is Unavailable", "Source Was Not Read"
	faults := map[string]*faultCase{
		"gone":                {cause: replyError(404, "MANIFEST_UNKNOWN"), title: gone, contains: "no, said the registry"},
		"no_repository":       {cause: replyError(404, "NAME_UNKNOWN"), title: gone, contains: "no, said the registry"},
		"unauthorized":        {cause: replyError(401, "UNAUTHORIZED"), title: refused, contains: "401"},
		"denied":              {cause: replyError(403, "DENIED"), title: refused, contains: "403"},
		"limited":             {cause: replyError(429, "TOOMANYREQUESTS"), title: limited, contains: "429"},
		"limited_for_minutes": {cause: func(p *registrytest.Proxy) { p.On(".*", ".*").Reply(429, http.Header{"Retry-After": {"120"}}, "") }, title: limited, contains: "asks to wait 2m0s, longer than this operation may take"},
		"broken":              {cause: replyPage(500), title: notThere, contains: "500"},
		"bad_gateway":         {cause: replyPage(502), title: notThere, contains: "502"},
		"resets":              {cause: resetConnections, title: notThere, contains: "connection reset"},
		"unreachable":         {cause: stopServer, title: notThere, contains: "connection refused"},
		"proxys_404":          {cause: replyPage(404), title: unclear, contains: "404"},
		"a_page":              {cause: replyPage(200), title: unclear, contains: "text/html"},
		"without_end":         {cause: redirectEndlessly, title: unclear, contains: "redirects without end"},
	}
	blocks := []string{}
	ws := newWorkspace(t)
	for name, f := range faults {
		blocks = append(blocks, f.start(t, name, true))
	}
	ws.converge(blocks...)
	before := ws.stateFile()
	for _, f := range faults {
		f.cause(f.proxy)
	}
	for _, result := range []outcome{ws.wantNoChanges(), ws.run("apply", "-refresh-only", "-auto-approve", "-json", "-input=false").mustSucceed()} {
		for _, f := range faults {
			result.wantWarning(f.title, "source "+f.proxy.Addr+"/app", f.contains, "just been changed").assertAt(result, "source")
		}
	}
	if after := ws.stateFile(); after != before {
		t.Errorf("state before =\n%s\nafter =\n%s", before, after)
	}

	// A moved tag is restored from the destination's own content.
	for _, f := range faults {
		f.other.Push(t, "app", "1", registrytest.DockerList("theirs"))
	}
	plan := ws.plan()
	for name := range faults {
		plan.wantAction("registry_image_copy."+name, tfjson.ActionUpdate)
	}
	ws.apply(plan)
	for _, f := range faults {
		registrytest.Same(t, f.pushed.Tree, f.other.Read(t, "app", "1"))
	}
}

func TestRefresh_SourceFaultAfterMove(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	first := src.Push(t, "app", "1", registrytest.MultiArch("first"))
	proxy := registrytest.Intercept(t, src)
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", proxy.Ref("app", "1"), dst.Ref("app", "1")))

	// The state has the new digest, but its content cannot be read.
	second := src.Push(t, "app", "1", registrytest.MultiArch("second"))
	ws.run("apply", "-json", "-refresh-only", "-auto-approve").mustSucceed()
	ws.plan("-refresh=false").wantChange(app, "digest", first.Digest, second.Digest)
	proxy.Stop()
	ws.wantNoChanges().wantWarning("Source Registry Is Unavailable")
}

func TestPlan_SourceFaultOnCreateIsError(t *testing.T) {
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
		"gone":          {reply(404, "MANIFEST_UNKNOWN"), "Source Image Not Found", true},
		"no_repository": {reply(404, "NAME_UNKNOWN"), "Source Image Not Found", true},
		"not_listening": {func(p *registrytest.Proxy) { p.Stop() }, "Source Registry Is Unavailable", false},
		"unauthorized":  {reply(401, "UNAUTHORIZED"), "Source Registry Denied Access", false},
		"denied":        {reply(403, "DENIED"), "Source Registry Denied Access", false},
		"rate_limited":  {reply(429, "TOOMANYREQUESTS"), "Source Registry Limits Requests", false},
		"broken":        {reply(500, "UNKNOWN"), "Source Registry Is Unavailable", false},
		"plain_http":    {nil, "Unable to Read Source", false},
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
			result := ws.planFails()
			result.wantError(fault.title, "source "+proxy.Addr+"/app").assertAt(result, "source")
			if advised := strings.Contains(result.text, toBeBuilt); advised != fault.mayBuild {
				t.Errorf("advice for a source that is built later: %t\n%s", advised, result.text)
			}
		})
	}
}

// TestApply_MediaTypeMismatch checks that an image is not copied if the HEAD and GET responses
// have different media types. The plan has the first one, and the copy would have the second
// one.
func TestApply_MediaTypeMismatch(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{Unchecked: true})), registrytest.Scripted(t, registrytest.Behaviour{})
	untyped := registrytest.Raw{MediaType: ocispec.MediaTypeImageManifest, Bytes: []byte(`{"schemaVersion":2,"layers":[]}`)}
	pushed := src.Push(t, "app", "1", untyped)
	src.On("HEAD", ".*").Alter(func(answer *http.Response) { answer.Header.Set("Content-Type", registry.MediaTypeDockerManifest) })
	ws := newWorkspace(t)
	ws.configure(imageCopy("app", pushed.Ref, dst.Ref("app", "1")))
	planned := ws.plan().wantChange(app, "media_type", nil, registry.MediaTypeDockerManifest)
	ws.applyFails(planned).wantError("source", registry.MediaTypeDockerManifest, ocispec.MediaTypeImageManifest)
	if tags := dst.Tags(t, "app"); len(tags) > 0 {
		t.Errorf("the destination has the tags %v", tags)
	}
}

// TestApply_TaggedDigestMissing checks the advice if the HEAD response has a digest that the
// registry does not have. The next plan would get the same response.
func TestApply_TaggedDigestMissing(t *testing.T) {
	t.Parallel()
	source, dst := registrytest.Intercept(t, registrytest.V3(t)), registrytest.V3(t)
	pushed := source.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	source.On("HEAD", ".*/manifests/1").Reply(200, http.Header{
		"Content-Type":          {pushed.MediaType},
		"Docker-Content-Digest": {"sha256:" + strings.Repeat("0", 64)},
	}, "")
	ws := newWorkspace(t)
	ws.configure(imageCopy("app", source.Ref("app", "1"), dst.Ref("app", "1")))
	ws.applyFails(ws.plan()).wantError("Unable to Copy Image", "404", `the registry said that the tag "1" names this digest. Plan again`, "names what it does not have")
}

func TestPlan_ReferenceWithoutTag(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	src.Push(t, "app", "1", registrytest.MultiArch("app"))
	untagged := src.Addr + "/app"
	ws := newWorkspace(t)
	for _, block := range []string{imageCopy("app", untagged, dst.Ref("app", "1")), manifest(untagged)} {
		ws.configure(block)
		ws.planFails().wantError("Image Not Found", fmt.Sprintf("%q gives no tag", untagged), `"latest" was assumed`)
	}
	ws.configure(imageCopy("app", src.Ref("app", "2"), dst.Ref("app", "1")))
	if result := ws.planFails(); strings.Contains(result.text, "assumed") {
		t.Errorf("unexpected advice:\n%s", result.text)
	}
}

// TestRefresh_DefiniteNotFound checks that a failed read changes nothing. A resource is removed
// from state only if the registry definitely does not have the tag.
func TestRefresh_DefiniteNotFound(t *testing.T) {
	t.Parallel()
	const refused, limited, notThere, unclear = "Destination Registry Denied Access", "Destination Registry Limits Requests",
		"Destination Registry Is Unavailable", "Unable to Read Destination"
	faults := map[string]*faultCase{
		"unauthorized":    {cause: replyError(401, "UNAUTHORIZED"), title: refused},
		"denied":          {cause: replyError(403, "DENIED"), title: refused},
		"limited":         {cause: replyError(429, "TOOMANYREQUESTS"), title: limited},
		"broken":          {cause: replyPage(500), title: notThere},
		"bad_gateway":     {cause: replyPage(502), title: notThere},
		"not_available":   {cause: replyError(503, "UNAVAILABLE"), title: notThere},
		"resets":          {cause: resetConnections, title: notThere},
		"unreachable":     {cause: stopServer, title: notThere},
		"does_not_answer": {cause: func(p *registrytest.Proxy) { p.On(".*", ".*").Stall() }, title: unclear},
		"proxys_404":      {cause: replyPage(404), title: unclear},
		"silent_404":      {cause: replyWith(404, "", ""), title: unclear},
		"gateways_404":    {cause: replyError(404, "ROUTE_UNKNOWN"), title: unclear},
		"hiding_404":      {cause: replyError(404, "UNAUTHORIZED"), title: refused},
		"only_HEADs_404":  {cause: func(p *registrytest.Proxy) { p.On("HEAD", ".*").Reply(404, nil, "") }}, // not a fault
		"cut_404":         {cause: truncateResponse, title: notThere},
		"a_page":          {cause: replyPage(200), title: unclear},
		"without_end":     {cause: redirectEndlessly, title: unclear},
	}
	blocks, patient := []string{}, []string{}
	ws := newWorkspace(t)
	for name, f := range faults {
		copied := f.start(t, name, false)
		patient = append(patient, copied)
		if name == "does_not_answer" {
			copied = strings.Replace(copied, "  source ", "  timeouts = { read = \"100ms\" }\n  source ", 1)
		}
		blocks = append(blocks, copied)
	}
	ws.converge(patient...)
	ws.configure(blocks...)
	ws.apply(ws.plan("-refresh=false")) // without a refresh, which may exceed the short timeout
	before := ws.stateFile()
	errors := 0
	for _, f := range faults {
		if f.cause(f.proxy); f.title != "" {
			errors++
		}
	}
	for _, result := range []outcome{ws.planFails(), ws.run("apply", "-refresh-only", "-auto-approve", "-json", "-input=false")} {
		for _, f := range faults {
			if f.title != "" {
				result.wantError(f.title, "destination "+f.proxy.Addr+"/app", "-refresh=false", "terraform state rm").assertAt(result, "destination")
			}
		}
		if len(result.diagnostics) != errors {
			t.Errorf("%d diagnostics for %d faults:\n%s", len(result.diagnostics), errors, result.text)
		}
	}
	ws.wantNoChanges("-refresh=false")
	if after := ws.stateFile(); after != before {
		t.Errorf("state before =\n%s\nafter =\n%s", before, after)
	}

	// Forget a resource whose registry is gone, as advised. The others still exist.
	if _, stderr, err := ws.command("state", "rm", "registry_image_copy.unreachable"); err != nil {
		t.Fatalf("state rm: %v\n%s", err, stderr)
	}
	patient = slices.DeleteFunc(patient, func(block string) bool { return strings.Contains(block, faults["unreachable"].proxy.Addr) })
	delete(faults, "unreachable")
	for _, f := range faults {
		f.proxy.Clear()
	}
	ws.configure(patient...)
	ws.apply(ws.plan("-refresh=false"))
	ws.wantNoChanges().wantNoWarnings()

	want := ws.addresses()
	for name, code := range map[string]string{"denied": "MANIFEST_UNKNOWN", "broken": "NAME_UNKNOWN"} {
		replyError(404, code)(faults[name].proxy)
		delete(want, "registry_image_copy."+name)
	}
	ws.run("apply", "-refresh-only", "-auto-approve", "-json", "-input=false").mustSucceed()
	if got := ws.addresses(); !maps.Equal(got, want) {
		t.Errorf("the state has %v, want %v", got, want)
	}
}

func TestDestination_OldRegistryDown(t *testing.T) {
	t.Parallel()
	src, old, dst := registrytest.V3(t), registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	proxy := registrytest.Intercept(t, old)
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", pushed.Ref, proxy.Ref("app", "1")))
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
	result := ws.applyFails(ws.plan())
	result.wantError("Unable to Copy Image", "source "+source.Addr+"/app", "it was not done within 200ms, the create timeout", `timeouts = { create = "…" }`).assertAt(result, "source")
	if dst.HasManifest(t, "app", string(pushed.Digest)) || ws.state(app) != nil {
		t.Error("the failed create left content or state")
	}
	source.Clear()
	ws.configure(strings.Replace(copied, "create = \"200ms\", ", "", 1))
	ws.apply(ws.plan())

	// A source that does not respond leaves time for the destination.
	source.On(".*", ".*").Stall()
	ws.wantNoChanges().wantWarning("Source Was Not Read", "the registry did not answer within 200ms, the read timeout", "timeouts = { read")
	destination.On(".*", ".*").Stall()
	ws.planFails().wantError("destination "+destination.Addr+"/app", "the registry did not answer within 200ms, the read timeout", "-refresh=false")
	if ws.state(app) == nil {
		t.Error("the state is gone")
	}
}

func TestWarnings_ShownAsDiagnostics(t *testing.T) {
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
