package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/providerserver"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/provider"
)

func TestExport_MatchesTerraform(t *testing.T) {
	terraform := findTerraform(t)
	var ours bytes.Buffer
	if err := export(t.Context(), &ours, providerserver.NewProtocol6(provider.New("test")())()); err != nil {
		t.Fatal(err)
	}
	theirs := onlyProvider(t, terraformSchema(t, terraform))
	for part, want := range onlyProvider(t, ours.Bytes()) {
		if !reflect.DeepEqual(theirs[part], want) {
			t.Errorf("%s:\n%v\nterraform has\n%v", part, want, theirs[part])
		}
	}
}

func findTerraform(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("runs terraform, which takes seconds; run without -short")
	}
	for _, name := range []string{os.Getenv("TF_ACC_TERRAFORM_PATH"), "terraform", "tofu"} {
		if found, err := exec.LookPath(name); err == nil {
			return found
		}
	}
	t.Skip("runs terraform, and neither terraform nor tofu is on PATH; TF_ACC_TERRAFORM_PATH can name one")
	return ""
}

// terraformSchema returns the output of `terraform providers schema -json` for this provider.
func terraformSchema(t *testing.T, terraform string) []byte {
	t.Helper()
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", dir+string(filepath.Separator),
		"github.com/terraform-provider-registry/terraform-provider-registry")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	const source = "terraform-provider-registry/registry"
	writeFile(t, filepath.Join(dir, "main.tf"), fmt.Sprintf("terraform {\n  required_providers {\n    registry = { source = %q }\n  }\n}\n", source))
	rc := filepath.Join(dir, "terraform.rc")
	writeFile(t, rc, fmt.Sprintf("provider_installation {\n  dev_overrides {\n    %q = %q\n  }\n}\n", source, dir))

	var stderr bytes.Buffer
	schema := exec.CommandContext(t.Context(), terraform, "providers", "schema", "-json")
	schema.Dir, schema.Stderr = dir, &stderr
	schema.Env = append(os.Environ(), "TF_CLI_CONFIG_FILE="+rc)
	out, err := schema.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	return out
}

func writeFile(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// onlyProvider returns the schemas of the only provider in a document, by part.
func onlyProvider(t *testing.T, document []byte) map[string]any {
	t.Helper()
	var d struct {
		Providers map[string]map[string]any `json:"provider_schemas"`
	}
	if err := json.Unmarshal(document, &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Providers) != 1 {
		t.Fatalf("document has %d providers, want 1", len(d.Providers))
	}
	for _, p := range d.Providers {
		if len(p) == 0 {
			t.Fatal("the provider has no schemas")
		}
		return p
	}
	return nil
}
