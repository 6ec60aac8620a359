package provider_test

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"maps"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
)

// TestDocumentation_ValidHCL checks that Terraform accepts the configurations in the documentation
// and the examples, and that they have the format of terraform fmt:
//
//   - Each block of HCL on a page, and each file of examples/, is self-contained. Identical
//     configurations are checked once.
//   - A block without required_providers gets that block, because it is a part of a
//     configuration.
//   - Each configuration is a module of one root module, because two runs of Terraform are
//     cheaper than a hundred. Its variables are unknown. A block that is only allowed in a
//     root module makes the configuration a root module.
//   - The files that the configuration reads exist, and at least one data source uses this
//     provider, because Terraform does not validate a provider configuration that is not used.
//   - Features that the installed version of Terraform does not support are skipped.
func TestDocumentation_ValidHCL(t *testing.T) {
	t.Parallel()
	providers := map[string]func() tfprotov6.ProviderServer{providerAddress: newProviderServer()}
	for address, s := range fakeProviders {
		providers[address] = func() tfprotov6.ProviderServer { return fakeProviderServer{fakeProvider: s} }
	}
	ws := newWorkspaceOf(t, providers)
	var all shownConfigs
	all.collect(t)
	for _, root := range all.write(ws) {
		all.validate(ws, root)
	}
	unformatted, stderr, _ := ws.command("fmt", "-check", "-recursive")
	for file := range strings.Lines(unformatted) {
		t.Errorf("%s is not in the format of terraform fmt", all.position(".", &tfjson.Range{Filename: strings.TrimSpace(file), Start: tfjson.Pos{Line: 1}}))
	}
	if stderr != "" {
		t.Errorf("fmt: %s", stderr)
	}
}

// shownConfigs are all documented configurations, without duplicates.
type shownConfigs []configuration

// collect finds the configurations.
func (s *shownConfigs) collect(t *testing.T) {
	t.Helper()
	known := map[string]bool{}
	for _, c := range slices.Concat(examples(t), blocks(t)) {
		if !known[c.text] {
			known[c.text] = true
			*s = append(*s, c)
		}
	}
}

// write writes the configurations as modules, and returns the directories of the root modules.
func (s *shownConfigs) write(ws *workspace) (roots []string) {
	ws.t.Helper()
	modules := map[string]any{}
	roots = []string{"."}
	knowsEphemeral := ws.versionAtLeast(10, 11)
	knowsIdentity := ws.versionAtLeast(12, noVersion)
	for i, c := range *s {
		dir := fmt.Sprintf("c%d", i)
		switch {
		case c.has("ephemeral") && !knowsEphemeral, c.has("identity") && !knowsIdentity:
			continue
		case c.has("import"):
			roots = append(roots, dir)
		default:
			modules[dir] = c.call(dir)
		}
		c.write(ws.t, filepath.Join(ws.dir, dir))
	}
	writeJSON(ws.t, filepath.Join(ws.dir, "main.tf.json"), map[string]any{"variable": map[string]any{"any": struct{}{}}, "module": modules})
	writeJSON(ws.t, filepath.Join(ws.dir, "required.tf.json"), required())
	if stdout, stderr, err := ws.command("get", "-no-color"); err != nil {
		ws.t.Fatalf("get: %v\n%s%s", err, stdout, stderr)
	}
	return roots
}

// validate validates a root module and all modules that it calls.
func (s *shownConfigs) validate(ws *workspace, root string) {
	ws.t.Helper()
	stdout, stderr, err := ws.command("-chdir="+root, "validate", "-json")
	var validated tfjson.ValidateOutput
	if decodeErr := json.Unmarshal([]byte(stdout), &validated); decodeErr != nil {
		ws.t.Fatalf("validate: %v, %v\n%s%s", err, decodeErr, stdout, stderr)
	}
	for _, d := range validated.Diagnostics {
		if d.Severity == tfjson.DiagnosticSeverityError {
			ws.t.Errorf("%s: %s\n%s", s.position(root, d.Range), d.Summary, d.Detail)
		}
	}
}

// position returns the documented position of a range in the module dir.
func (s *shownConfigs) position(dir string, r *tfjson.Range) string {
	if r == nil {
		return "somewhere"
	}
	var i int
	if _, err := fmt.Sscanf(path.Join(dir, filepath.ToSlash(r.Filename)), "c%d/main.tf", &i); err != nil {
		return r.Filename
	}
	return fmt.Sprintf("%s:%d", (*s)[i].file, (*s)[i].line+r.Start.Line)
}

// configuration is a configuration in the documentation.
type configuration struct {
	file string // relative to the root of the project
	line int    // the line before its first line
	text string
}

// has reports whether the configuration has a block of a type, or an argument of that name.
func (c configuration) has(word string) bool {
	return regexp.MustCompile(`(?m)^\s*` + word + `\b`).MatchString(c.text)
}

// call returns the module call for the configuration.
func (c configuration) call(dir string) map[string]string {
	call := map[string]string{"source": "./" + dir}
	for _, variable := range regexp.MustCompile(`(?m)^variable "(\w+)"`).FindAllStringSubmatch(c.text, -1) {
		call[variable[1]] = "${var.any}"
	}
	return call
}

// write writes the configuration as a module.
func (c configuration) write(t *testing.T, dir string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "main.tf"), c.text)
	if strings.Contains(c.text, `provider "registry"`) {
		writeJSON(t, filepath.Join(dir, "used.tf.json"), map[string]any{"data": map[string]any{"registry_manifest": map[string]any{"used": map[string]string{"reference": "alpine"}}}})
	}
	if !strings.Contains(c.text, "required_providers") {
		writeJSON(t, filepath.Join(dir, "required.tf.json"), required())
	}
	for _, file := range regexp.MustCompile(`file\("\$\{path\.module\}/([^"]+)"\)`).FindAllStringSubmatch(c.text, -1) {
		content, ok := referencedFiles[path.Ext(file[1])]
		if !ok {
			t.Fatalf("%s:%d reads %s, which is not in referencedFiles", c.file, c.line, file[1])
		}
		write(t, filepath.Join(dir, file[1]), content())
	}
}

// referencedFiles are the contents of the files that configurations read, by extension.
var referencedFiles = map[string]func() string{
	".json": func() string { return "{}" },
	".pem": func() string {
		server := httptest.NewTLSServer(nil)
		defer server.Close()
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	},
}

// required returns required_providers with all providers of the tests.
func required() any {
	providers := map[string]any{}
	for _, address := range append(slices.Collect(maps.Keys(fakeProviders)), providerAddress) {
		providers[path.Base(address)] = map[string]string{"source": address}
	}
	return map[string]any{"terraform": map[string]any{"required_providers": providers}}
}

// examples returns the files of examples/.
func examples(t *testing.T) (found []configuration) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(projectRoot), "examples", func(name string, _ fs.DirEntry, err error) error {
		if err == nil && path.Ext(name) == ".tf" {
			var text []byte
			text, err = os.ReadFile(filepath.Join(projectRoot, name))
			found = append(found, configuration{file: name, text: string(text)})
		}
		return err
	})
	if err != nil || len(found) == 0 {
		t.Fatalf("%d examples: %v", len(found), err)
	}
	return found
}

// blocks returns the blocks of HCL on the pages, without their indentation in a list.
func blocks(t *testing.T) (found []configuration) {
	t.Helper()
	all := pages(t)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		p := all[name]
		for _, at := range fenced.FindAllSubmatchIndex(p.content, -1) {
			part := func(n int) string { return string(p.content[at[2*n]:at[2*n+1]]) }
			if indent, language := part(1), part(2); language == "terraform" || language == "hcl" {
				line := bytes.Count(p.content[:at[0]], []byte("\n")) + 1
				found = append(found, configuration{p.name, line, strings.ReplaceAll("\n"+part(3), "\n"+indent, "\n")[1:]})
			}
		}
	}
	if len(found) == 0 {
		t.Fatal("no page shows a configuration")
	}
	return found
}

// noVersion is a minor version that does not exist.
const noVersion = 1_000_000

// versionAtLeast reports whether this is the given minor version of Terraform or OpenTofu, or a
// later one.
func (w *workspace) versionAtLeast(terraform, openTofu int) bool {
	w.t.Helper()
	stdout, stderr, err := w.command("version")
	var name string
	var major, minor int
	if _, scanErr := fmt.Sscanf(stdout, "%s v%d.%d", &name, &major, &minor); scanErr != nil {
		w.t.Fatalf("version: %v, %v\n%s%s", err, scanErr, stdout, stderr)
	}
	since := map[string]int{"Terraform": terraform, "OpenTofu": openTofu}[name]
	return major > 1 || minor >= since
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func writeJSON(t *testing.T, name string, value any) {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	write(t, name, string(text))
}
