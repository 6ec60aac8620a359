package provider_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

const base = "data.registry_manifest.base"

// manifest returns a registry_manifest block, with additional arguments as HCL.
func manifest(reference string, arguments ...string) string {
	block := fmt.Sprintf("data \"registry_manifest\" \"base\" {\n  reference = %q\n", reference)
	for _, argument := range arguments {
		block += "  " + argument + "\n"
	}
	return block + "}"
}

func TestManifest_Index(t *testing.T) {
	t.Parallel()
	reg := registrytest.V3(t)
	pushed := reg.Push(t, "base", "3", registrytest.MultiArch("base"))
	ws := newWorkspace(t)
	ws.converge(manifest(pushed.Ref))

	got := ws.state(base)
	for attribute, want := range map[string]any{
		"digest":           string(pushed.Digest),
		"media_type":       pushed.MediaType,
		"size":             len(pushed.Bytes),
		"manifest_json":    string(pushed.Bytes),
		"pinned_reference": pushed.Pinned,
		"config":           nil,
		"subject":          nil,
		"layers":           []any{},
	} {
		if fmt.Sprint(got[attribute]) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", attribute, got[attribute], want)
		}
	}
	children, _ := got["manifests"].([]any)
	if len(children) != len(pushed.Manifests) {
		t.Fatalf("%d manifests, want %d", len(children), len(pushed.Manifests))
	}
	for i, child := range children {
		if got, want := valueOf(child, "digest"), string(pushed.Manifests[i].Digest); got != want {
			t.Errorf("manifests[%d].digest: %v, want %v", i, got, want)
		}
	}
	if platform := valueOf(children[0], "platform"); valueOf(platform, "os") != "linux" || valueOf(platform, "architecture") != "amd64" {
		t.Errorf("manifests[0].platform: %v", platform)
	}
}

func TestManifest_Platform(t *testing.T) {
	t.Parallel()
	reg := registrytest.V3(t)
	pushed := reg.Push(t, "base", "3", registrytest.MultiArch("base"))
	ws := newWorkspace(t)
	ws.converge(manifest(pushed.Ref, `platform = "linux/arm64"`),
		output("layers", base+".layers[*].digest"), output("config", base+".config.media_type"))
	arm := pushed.Manifests[1]
	if got := ws.state(base)["digest"]; got != string(arm.Digest) {
		t.Errorf("digest: %v, want %v", got, arm.Digest)
	}
	if got := ws.state(base)["manifest_json"]; got != string(arm.Bytes) {
		t.Errorf("manifest_json: %v, want %s", got, arm.Bytes)
	}

	// The single image has this platform and no other.
	single := reg.Ref("base", string(arm.Digest))
	ws.converge(manifest(single, `platform = "linux/arm64/v8"`))
	ws.configure(manifest(single, `platform = "linux/amd64"`))
	ws.planFails().wantError("linux/amd64", "single image for linux/arm64")

	ws.configure(manifest(pushed.Ref, `platform = "linux/s390x"`))
	result := ws.planFails()
	result.wantError("linux/s390x", "the index has linux/amd64, linux/arm64/v8").assertAt(result, "platform")

	ws.configure(manifest(pushed.Ref, `platform = "arm64"`))
	result = ws.planFails()
	result.wantError(`"arm64"`, "os/architecture").assertAt(result, "platform")
}

func TestManifest_PinsSource(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	first := src.Push(t, "base", "3", registrytest.MultiArch("first"))
	ws := newWorkspace(t)
	ws.configure(manifest(first.Ref), fmt.Sprintf("resource \"registry_image_copy\" \"app\" {\n  source = %s.pinned_reference\n  destination = %q\n}", base, dst.Ref("base", "3")))
	plan := ws.plan()

	// A change of the tag between plan and apply has no effect, even for a create.
	src.Push(t, "base", "3", registrytest.MultiArch("second"))
	ws.apply(plan)
	registrytest.Same(t, first.Tree, dst.Read(t, "base", "3"))
}

func TestManifest_NotFound(t *testing.T) {
	t.Parallel()
	reg := registrytest.V3(t)
	ws := newWorkspace(t)
	ws.configure(manifest(reg.Ref("base", "3")))
	result := ws.planFails()
	result.wantError(reg.Addr+"/base", "404", "MANIFEST_UNKNOWN").assertAt(result, "reference")
}

func TestManifest_UnknownCredentials(t *testing.T) {
	t.Parallel()
	reg := registrytest.V3(t, registrytest.BasicAuth("ci", "secret"))
	pushed := reg.Push(t, "base", "3", registrytest.MultiArch("base"))
	provider := fmt.Sprintf("provider \"registry\" {\n  registries = { %q = { username = \"ci\", password = terraform_data.password.output } }\n}", reg.Addr)
	ws := newWorkspace(t)
	ws.configure(provider, unknownUntilApply("password", "secret"), manifest(pushed.Ref))
	result := ws.planFails()
	result.wantError("registries", reg.Addr, "depends_on").assertAt(result, "reference")

	ws.converge(provider, unknownUntilApply("password", "secret"), manifest(pushed.Ref, "depends_on = [terraform_data.password]"))
}

func TestManifest_RedactsEchoedCredential(t *testing.T) {
	t.Parallel()
	const canary = "canary-of-a-password"
	reg := registrytest.V3(t, registrytest.BasicAuth("ci", canary))
	pushed := reg.Push(t, "base", "3", registrytest.Image{Seed: "base", Platform: canary + "/amd64"})
	ws := newWorkspace(t)
	ws.configure(fmt.Sprintf("provider \"registry\" {\n  registries = { %q = { username = \"ci\", password = %q } }\n}", reg.Addr, canary),
		manifest(pushed.Ref, `platform = "linux/amd64"`))
	result := ws.planFails()
	if d := result.wantError("single image for ***/amd64"); strings.Contains(d.Detail, canary) {
		t.Errorf("the error shows the password: %s", d.Detail)
	}
}
