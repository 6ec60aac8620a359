package provider_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// allDataSources returns one block of each data source, for the tag 1 of the repository app.
func allDataSources(reg *registrytest.Registry, arguments ...string) []string {
	more := strings.Join(arguments, "\n  ")
	return []string{
		fmt.Sprintf("data \"registry_manifest\" \"app\" {\n  reference = %q\n  %s\n}", reg.Ref("app", "1"), more),
		fmt.Sprintf("data \"registry_image_config\" \"app\" {\n  reference = %q\n  %s\n}", reg.Ref("app", "1"), more),
		fmt.Sprintf("data \"registry_tags\" \"app\" {\n  repository = %q\n  %s\n}", reg.Addr+"/app", more),
	}
}

// TestDataSources_Diagnostics checks that each diagnostic names the registry, the problem and a
// remedy, and refers to the line with the registry.
func TestDataSources_Diagnostics(t *testing.T) {
	t.Parallel()
	const unauthorized, missing = "Registry Denied Access", "Image Not Found"
	front := func(rule func(*registrytest.Rule)) *registrytest.Registry {
		p := registrytest.Front(t, registrytest.Behaviour{})
		p.Push(t, "app", "1", registrytest.Image{Seed: "app"})
		rule(p.On("GET", "/v2/app/.*"))
		return p.Registry
	}
	dead := registrytest.Front(t, registrytest.Behaviour{})
	dead.Stop()
	for name, test := range map[string]struct {
		reg      *registrytest.Registry
		summary  string // "" for the data source's own
		contains []string
	}{
		"no_login":     {registrytest.V3(t, registrytest.BasicAuth("ci", "secret")), unauthorized, []string{"HTTP 401", "there was none", "registries"}},
		"no_login_v2":  {registrytest.V2(t, registrytest.BasicAuth("ci", "secret")), unauthorized, []string{"HTTP 401", "there was none", "registries"}},
		"not_found":    {registrytest.V3(t), missing, []string{"HTTP 404", "_UNKNOWN"}},
		"not_found_v2": {registrytest.V2(t), missing, []string{"HTTP 404"}},
		"denied": {front(func(r *registrytest.Rule) { r.Reply(403, nil, `{"errors":[{"code":"DENIED","message":"not you"}]}`) }),
			unauthorized, []string{"HTTP 403", "DENIED", "not you"}},
		"rate_limited": {front(func(r *registrytest.Rule) { r.Reply(429, nil, "") }), "Registry Limits Requests", []string{"HTTP 429", "max_concurrent_requests"}},
		"web_page": {front(func(r *registrytest.Rule) {
			r.Reply(200, http.Header{"Content-Type": {"text/html"}}, "<html>Log in here</html>")
		}), "", []string{"text/html", "does not seem to be a registry"}},
		"web_page_404": {front(func(r *registrytest.Rule) {
			r.Reply(404, http.Header{"Content-Type": {"text/html"}}, "<html>Nothing here</html>")
		}), "", []string{"HTTP 404", "does not seem to be a registry"}},
		"invalid_manifest": {front(func(r *registrytest.Rule) {
			r.Reply(200, http.Header{"Content-Type": {"application/vnd.oci.image.manifest.v1+json"}}, "<html>Log in here</html>")
		}), "", []string{"application/vnd.oci.image.manifest.v1+json"}},
		"unreachable": {dead.Registry, "Registry Is Unavailable", []string{"Nothing listens there"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ws := newWorkspace(t)
			ws.configure(allDataSources(test.reg)...)
			result := ws.planFails()
			own := map[string]string{"registry_manifest": "Unable to Read Manifest", "registry_image_config": "Unable to Read Image Configuration", "registry_tags": "Unable to List Tags"}
			for source, summary := range own {
				switch {
				case test.summary == missing && source == "registry_tags":
					summary = "Repository Not Found"
				case test.summary != "":
					summary = test.summary
				}
				found := false
				for _, d := range result.diagnostics {
					if d.Snippet == nil || d.Snippet.Context == nil || !strings.Contains(*d.Snippet.Context, source) {
						continue
					}
					found = true
					if !strings.Contains(d.Summary, summary) || !strings.Contains(d.Detail, test.reg.Addr) {
						t.Errorf("%s: %s\n%s", source, d.Summary, d.Detail)
					}
					for _, part := range test.contains {
						if !strings.Contains(d.Detail, part) {
							t.Errorf("%s: detail does not contain %q: %s", source, part, d.Detail)
						}
					}
					d.assertAt(result, test.reg.Addr)
				}
				if !found {
					t.Errorf("%s has no error:\n%s", source, result.text)
				}
			}
		})
	}
}

// TestDataSources_UnknownArguments checks that unknown arguments are read during apply.
func TestDataSources_UnknownArguments(t *testing.T) {
	t.Parallel()
	reg := registrytest.V3(t)
	ws := newWorkspace(t)
	ws.configure(
		unknownUntilApply("reference", reg.Ref("app", "1")), unknownUntilApply("repository", reg.Addr+"/app"), unknownUntilApply("platform", "linux/arm64"), unknownUntilApply("pattern", "^1$"),
		"data \"registry_manifest\" \"app\" {\n  reference = terraform_data.reference.output\n  platform = terraform_data.platform.output\n}",
		"data \"registry_image_config\" \"app\" {\n  reference = terraform_data.reference.output\n  platform = terraform_data.platform.output\n}",
		"data \"registry_tags\" \"app\" {\n  repository = terraform_data.repository.output\n  include = terraform_data.pattern.output\n  order = terraform_data.pattern.output == \"\" ? \"lexical\" : \"version\"\n  constraint = terraform_data.pattern.output == \"\" ? \"\" : \">= 0\"\n}",
		output("manifest", "data.registry_manifest.app.digest"), output("config", "data.registry_image_config.app.architecture"), output("tags", "data.registry_tags.app.newest"),
		output("pinned", `provider::registry::pin(terraform_data.reference.output, "sha256:`+strings.Repeat("0", 64)+`")`),
	)
	plan := ws.plan() // the registry is still empty
	plan.wantAction("data.registry_tags.app", tfjson.ActionRead).wantUnknown("data.registry_tags.app", "tags", "newest").
		wantUnknown("data.registry_manifest.app", "digest", "exists").wantUnknown("data.registry_image_config.app", "labels", "config_digest")
	pushed := reg.Push(t, "app", "1", registrytest.MultiArch("app"))
	result := ws.apply(plan)
	for name, want := range map[string]string{
		"manifest": string(pushed.Manifests[1].Digest), "config": "arm64", "tags": "1", "pinned": reg.Addr + "/app@sha256:" + strings.Repeat("0", 64),
	} {
		if got := result.outputs[name]; got != want {
			t.Errorf("%s: %v, want %s", name, got, want)
		}
	}
	ws.wantNoChanges()
}

func TestDataSources_UnknownCredentials(t *testing.T) {
	t.Parallel()
	reg := registrytest.V3(t, registrytest.BasicAuth("ci", "secret"))
	reg.Push(t, "app", "1", registrytest.Image{Seed: "app"})
	provider := fmt.Sprintf("provider \"registry\" {\n  registries = { %q = { username = \"ci\", password = terraform_data.password.output } }\n}", reg.Addr)
	ws := newWorkspace(t)
	for _, source := range allDataSources(reg) {
		ws.configure(provider, unknownUntilApply("password", "secret"), source)
		result := ws.planFails()
		result.wantError("Registry Configuration Not Known Yet", "registries", reg.Addr, "depends_on").assertAt(result, reg.Addr)
		if len(result.diagnostics) != 1 {
			t.Errorf("unexpected additional diagnostics:\n%s", result.text)
		}
	}
	ws.converge(append(allDataSources(reg, "depends_on = [terraform_data.password]"), provider, unknownUntilApply("password", "secret"))...)
}

func TestDataSources_NoSecretsInState(t *testing.T) {
	t.Parallel()
	s := newSecrets(t)
	reg := registrytest.V3(t, registrytest.BasicAuth(user, s["password"]))
	reg.Push(t, "app", "1", registrytest.Image{Seed: "app"})
	ws, log := newInstalledWorkspace(t)
	ws.env = append(ws.env, "TF_LOG=TRACE")
	blocks := append(allDataSources(reg), s.variable(ws), providerBlock(map[string]string{reg.Addr: basicLogin.hcl}))
	text := ws.converge(blocks...).text
	for _, source := range []string{"registry_manifest", "registry_image_config", "registry_tags"} {
		if ws.state("data."+source+".app") == nil {
			t.Errorf("the state has no %s", source)
		}
	}
	s["password"] += "-wrong"
	s.variable(ws)
	failed := ws.planFails()
	failed.wantError("401", fmt.Sprintf("the user %q", user))
	s.assertNoSecret(ws, text, failed.text)
	assertLogLine(t, log(), "request", reg.Addr) // the log includes that of the provider
}
