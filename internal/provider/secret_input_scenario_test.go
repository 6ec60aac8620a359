package provider_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestSecretInput_Redacted checks that a secret that a user pasted as a part of a URL appears
// neither in diagnostics nor in the provider's log. The values are sensitive variables, because
// Terraform itself quotes the values of others.
func TestSecretInput_Redacted(t *testing.T) {
	t.Parallel()
	inputs := []string{
		"https://ci:" + canary + "@ghcr.io/acme/app", "ci:" + canary + "@ghcr.io/acme/app:1", canary + "@ghcr.io", "ghcr.io/acme/app:1?token=" + canary, "ghcr.io/acme/app#" + canary,
		"oci:./app?token=" + canary, "oci:https://ci:" + canary + "@ghcr.io/app:1", "docker-archive:app.tar?sig=" + canary,
	}
	ws, log := newInstalledWorkspace(t)
	ws.env = append(ws.env, "TF_LOG=TRACE")
	var variables, keys, blocks, calls []string
	for i, input := range inputs {
		name := fmt.Sprint("input", i)
		ws.env = append(ws.env, "TF_VAR_"+name+"="+input)
		variables = append(variables, fmt.Sprintf("variable %q {\n  type = string\n  sensitive = true\n}", name))
		keys = append(keys, fmt.Sprintf("(nonsensitive(var.%s)) = {}", name))
		calls = append(calls,
			fmt.Sprintf("output \"parsed_%s\" {\n  sensitive = true\n  value = provider::registry::parse_reference(var.%s)\n}", name, name),
			fmt.Sprintf("output \"pinned_%s\" {\n  sensitive = true\n  value = provider::registry::pin(var.%s, \"sha256:%s\")\n}", name, name, strings.Repeat("0", 64)))
		blocks = append(blocks,
			fmt.Sprintf("data \"registry_manifest\" %q {\n  reference = var.%s\n}", name, name),
			fmt.Sprintf("data \"registry_tags\" %q {\n  repository = var.%s\n}", name, name),
			fmt.Sprintf("resource \"registry_image_copy\" \"source_%s\" {\n  source = var.%s\n  destination = \"127.0.0.1:1/app:1\"\n}", name, name),
			fmt.Sprintf("resource \"registry_image_copy\" \"destination_%s\" {\n  source = \"127.0.0.1:1/app:1\"\n  destination = var.%s\n}", name, name),
		)
	}
	// Terraform stops at a provider with an invalid configuration.
	seen := map[string]int{}
	for _, configuration := range [][]string{
		append(slices.Clone(variables), "provider \"registry\" {\n  registries = {\n    "+strings.Join(keys, "\n    ")+"\n  }\n}", manifest("127.0.0.1:1/app:1")),
		append(slices.Clone(variables), blocks...),
		append(slices.Clone(variables), calls...),
	} {
		ws.configure(configuration...)
		for _, d := range ws.planFails().diagnostics {
			seen[d.Summary]++
			if strings.Contains(d.Summary+d.Detail, canary) {
				t.Errorf("%s shows a secret: %s", d.Summary, d.Detail)
			}
		}
	}
	n := len(inputs)
	for summary, want := range map[string]int{"Invalid key in registries": n, "Invalid Image Reference": 3 * n, "Invalid Repository": n, "Invalid function argument": 2 * n} {
		if seen[summary] != want {
			t.Errorf("%q appears %d times, want %d", summary, seen[summary], want)
		}
	}
	for line := range strings.Lines(log()) {
		// At TRACE, the framework logs the path of each attribute that it validates, including
		// map keys.
		own := strings.Contains(line, "provider.terraform-provider-registry") && !strings.Contains(line, "tf_attribute_path")
		if own && strings.Contains(line, canary) {
			t.Errorf("the provider's log shows a secret: %s", line)
		}
	}
	assertLogLine(t, log(), "provider.terraform-provider-registry", "Invalid key in registries")
}
