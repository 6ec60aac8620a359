package provider_test

import (
	"fmt"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// unknownUntilApply returns a resource whose output is known only after apply if its input
// changes.
func unknownUntilApply(name, value string) string {
	return fmt.Sprintf("resource \"terraform_data\" %q {\n  input = %q\n}", name, value)
}

func TestUnknown_Source(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	ws := newWorkspace(t)
	copied := fmt.Sprintf("resource \"registry_image_copy\" \"app\" {\n  source = terraform_data.source.output\n  destination = %q\n}", dst.Ref("app", "1"))
	ws.configure(unknownUntilApply("source", src.Ref("app", "1")), copied)
	plan := ws.plan()
	plan.wantAction(app, tfjson.ActionCreate).wantUnknown(app, "source", "digest", "source_digest", "media_type", "pinned_reference")

	// Push the image after the plan.
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	ws.apply(plan)
	registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "1"))
	ws.wantNoChanges()
}

// TestUnknown_PlannedOffline checks that unknown values are planned without any request.
func TestUnknown_PlannedOffline(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{})), registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{}))
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	unknown := func(name, source, destination string, arguments ...string) string {
		return fmt.Sprintf("resource \"registry_image_copy\" %q {\n  source = %s\n  destination = %s\n  %s\n}", name, source, destination, strings.Join(arguments, "\n  "))
	}
	quoted := func(s string) string { return fmt.Sprintf("%q", s) }
	ws := newWorkspace(t)
	ws.configure(
		fmt.Sprintf(`provider "registry" { registries = { for host in [%q, %q] : host => { username = "ci", password = terraform_data.password.output } } }`, src.Addr, dst.Addr),
		unknownUntilApply("password", "secret"), unknownUntilApply("source", pushed.Ref), unknownUntilApply("destination", dst.Ref("app", "1")), unknownUntilApply("tag", "late"),
		unknown("source", "terraform_data.source.output", quoted(dst.Ref("source", "1"))),
		unknown("destination", quoted(pushed.Ref), "terraform_data.destination.output"),
		unknown("both", "terraform_data.source.output", quoted(dst.Ref("both", "1")), `additional_tags = [terraform_data.tag.output]`, noOverwrite),
		unknown("credentials", quoted(pushed.Pinned), quoted(dst.Ref("credentials", "1")), noOverwrite),
		unknown("chain", "registry_image_copy.source.pinned_reference", quoted(dst.Ref("chain", "1"))),
	)
	plan := ws.plan()
	for _, name := range []string{"source", "destination", "both", "chain"} {
		plan.wantUnknown("registry_image_copy."+name, "digest", "source_digest", "media_type", "pinned_reference")
	}
	plan.wantChange("registry_image_copy.credentials", "digest", nil, pushed.Digest)
	if asked := append(dst.Requests(), src.Requests()...); len(asked) > 0 {
		t.Errorf("unexpected requests: %v", asked)
	}
	ws.apply(plan)
	ws.wantNoChanges()
}

func TestUnknown_Credentials(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t, registrytest.BasicAuth("ci", "secret"))
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	provider := func(password string) string {
		return fmt.Sprintf("provider \"registry\" {\n  registries = {\n    %q = { username = \"ci\", password = %s }\n  }\n}", dst.Addr, password)
	}
	copied := imageCopy("app", pushed.Ref, dst.Ref("app", "1"))
	ws := newWorkspace(t)

	ws.configure(provider("terraform_data.password.output"), unknownUntilApply("password", "secret"), copied)
	plan := ws.plan()
	plan.wantAction(app, tfjson.ActionCreate).wantChange(app, "digest", nil, pushed.Digest)
	ws.apply(plan)
	registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "1"))
	ws.wantNoChanges().wantNoWarnings()

	// Changed credentials keep the state as it is.
	ws.configure(provider("terraform_data.other.output"), unknownUntilApply("password", "secret"), unknownUntilApply("other", "secret"), copied)
	plan = ws.plan()
	plan.wantAction(app, tfjson.ActionNoop)
	plan.wantWarning(fmt.Sprintf("registries[%q]", dst.Addr), dst.Addr+"/app").assertAt(plan.outcome, "destination")
	ws.apply(plan)
	ws.wantNoChanges().wantNoWarnings()
}

func TestUnknown_ConfigurationOfOtherRegistry(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	first := src.Push(t, "app", "1", registrytest.MultiArch("first"))
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", first.Ref, dst.Ref("app", "1")))

	second := src.Push(t, "app", "1", registrytest.MultiArch("second"))
	ws.configure(
		`provider "registry" { registries = { "elsewhere.example.com" = { username = "ci", password = terraform_data.password.output } } }`,
		unknownUntilApply("password", "secret"), imageCopy("app", first.Ref, dst.Ref("app", "1")))
	plan := ws.plan()
	plan.wantNoWarnings()
	plan.wantAction(app, tfjson.ActionUpdate).wantChange(app, "digest", first.Digest, second.Digest)
}

func TestUnknown_WholeConfiguration(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t, registrytest.BasicAuth("ci", "secret"))
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	all := fmt.Sprintf("resource \"terraform_data\" \"all\" {\n  input = { %q = { username = \"ci\", password = \"secret\" } }\n}", dst.Addr)
	copied := imageCopy("app", pushed.Ref, dst.Ref("app", "1"))
	ws := newWorkspace(t)
	ws.configure(`provider "registry" { registries = terraform_data.all.output }`, all, copied)
	plan := ws.plan()
	plan.wantAction(app, tfjson.ActionCreate).wantUnknown(app, "digest", "source_digest", "media_type", "pinned_reference")
	ws.apply(plan)
	registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "1"))
	ws.wantNoChanges().wantNoWarnings()
}

func TestCredentials_Change(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t, registrytest.BasicAuth("ci", "secret"))
	first := src.Push(t, "app", "1", registrytest.MultiArch("first"))
	provider := func(password string) string {
		return fmt.Sprintf("provider \"registry\" {\n  registries = { %q = { username = \"ci\", password = %q } }\n}", dst.Addr, password)
	}
	copied := imageCopy("app", first.Ref, dst.Ref("app", "1"))
	ws := newWorkspace(t)
	ws.configure(provider("wrong"), copied)
	result := ws.applyFails(ws.plan())
	result.wantError("destination "+dst.Addr+"/app", "401", `the user "ci"`, fmt.Sprintf("registries[%q]", dst.Addr)).assertAt(result, "destination")

	ws.converge(provider("secret"), copied)
	ws.configure(provider("expired"), copied)
	ws.planFails().wantError("401", "-refresh=false")
	second := src.Push(t, "app", "1", registrytest.MultiArch("second"))
	ws.configure(provider("secret"), copied)
	ws.apply(ws.plan())
	registrytest.Same(t, second.Tree, dst.Read(t, "app", "1"))
}

func TestUnknown_CredentialsOfPinnedSource(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t, registrytest.BasicAuth("ci", "secret")), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	provider := fmt.Sprintf("provider \"registry\" {\n  registries = { %q = { username = \"ci\", password = terraform_data.password.output } }\n}", src.Addr)
	ws := newWorkspace(t)
	ws.configure(provider, unknownUntilApply("password", "secret"), imageCopy("app", pushed.Pinned, dst.Ref("app", "1")))
	plan := ws.plan()
	plan.wantAction(app, tfjson.ActionCreate).
		wantChange(app, "digest", nil, pushed.Digest).
		wantChange(app, "pinned_reference", nil, dst.Ref("app", string(pushed.Digest))).
		wantUnknown(app, "media_type")
	ws.apply(plan)
	if got := ws.state(app)["media_type"]; got != pushed.MediaType {
		t.Errorf("media_type: %v, want %v", got, pushed.MediaType)
	}
	ws.wantNoChanges()
}

func TestUnknown_AdditionalTag(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	copied := imageCopy("app", pushed.Ref, dst.Ref("app", "1"), `additional_tags = ["stable", terraform_data.tag.output]`, noOverwrite)
	ws := newWorkspace(t)
	ws.configure(unknownUntilApply("tag", "late"), copied)
	plan := ws.plan()
	plan.wantChange(app, "digest", nil, pushed.Digest)
	ws.apply(plan)
	ws.wantNoChanges()
	assertTags(t, dst, "app", "1", "late", "stable")

	// The unknown tag is validated when it is known.
	ws.configure(unknownUntilApply("tag", "1"), copied)
	ws.applyFails(ws.plan()).wantError(`"1" is the tag of the destination already`)
}
