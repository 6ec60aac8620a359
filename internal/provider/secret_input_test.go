package provider_test

import (
	"fmt"
	"strings"
	"testing"
)

// A secret that a user pasted as a part of a URL is in none of our messages, and in nothing that the provider
// writes to Terraform's log. The values are sensitive variables, because Terraform itself quotes others.
func TestSecretInput_IsNotShown(t *testing.T) {
	t.Parallel()
	inputs := []string{
		"https://ci:" + canary + "@ghcr.io/acme/app", "ci:" + canary + "@ghcr.io/acme/app:1", canary + "@ghcr.io", "ghcr.io/acme/app:1?token=" + canary, "ghcr.io/acme/app#" + canary,
		"oci:./app?token=" + canary, "oci:https://ci:" + canary + "@ghcr.io/app:1", "docker-archive:app.tar?sig=" + canary,
	}
	ws, log := installed(t)
	ws.env = append(ws.env, "TF_LOG=TRACE")
	var blocks []string
	for i, input := range inputs {
		name := fmt.Sprint("input", i)
		ws.env = append(ws.env, "TF_VAR_"+name+"="+input)
		blocks = append(blocks,
			fmt.Sprintf("variable %q {\n  type = string\n  sensitive = true\n}", name),
			fmt.Sprintf("data \"registry_manifest\" %q {\n  reference = var.%s\n}", name, name),
			fmt.Sprintf("data \"registry_tags\" %q {\n  repository = var.%s\n}", name, name),
			fmt.Sprintf("resource \"registry_image_copy\" \"source_%s\" {\n  source = var.%s\n  destination = \"127.0.0.1:1/app:1\"\n}", name, name),
			fmt.Sprintf("resource \"registry_image_copy\" \"destination_%s\" {\n  source = \"127.0.0.1:1/app:1\"\n  destination = var.%s\n}", name, name),
			fmt.Sprintf("provider \"registry\" {\n  alias = %q\n  registries = { (nonsensitive(var.%s)) = {} }\n}", name, name),
			fmt.Sprintf("data \"registry_manifest\" \"key_%s\" {\n  provider = registry.%s\n  reference = \"127.0.0.1:1/app:1\"\n}", name, name),
		)
	}
	ws.configure(blocks...)
	said := ws.planFails()
	seen := map[string]int{}
	for _, d := range said.diagnostics {
		seen[d.Summary]++
		if strings.Contains(d.Summary+d.Detail, canary) {
			t.Errorf("%s shows a secret: %s", d.Summary, d.Detail)
		}
	}
	if n := len(inputs); seen["Invalid image reference"] != 3*n || seen["Invalid repository"] != n || seen["Invalid key in registries"] != n {
		t.Errorf("the diagnostics are %v, want those of %d inputs", seen, n)
	}
	for line := range strings.Lines(log()) {
		// At TRACE the framework names each attribute that it validates, with the key of the map that it is in.
		own := strings.Contains(line, "provider.terraform-provider-registry") && !strings.Contains(line, "tf_attribute_path")
		if own && strings.Contains(line, canary) {
			t.Errorf("the provider's log shows a secret: %s", line)
		}
	}
	wantLine(t, log(), "provider.terraform-provider-registry", "Invalid key in registries")

	// Functions and imports.
	for i := range inputs {
		ws.configure(blocks[i*7], fmt.Sprintf("output \"x\" {\n  sensitive = true\n  value = provider::registry::parse_reference(var.input%d)\n}", i),
			fmt.Sprintf("output \"y\" {\n  sensitive = true\n  value = provider::registry::pin(var.input%d, \"sha256:%s\")\n}", i, strings.Repeat("0", 64)))
		for _, d := range ws.planFails().diagnostics {
			if strings.Contains(d.Summary+d.Detail, canary) {
				t.Errorf("%s shows a secret: %s", d.Summary, d.Detail)
			}
		}
	}
}
