package provider_test

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// leaves returns all strings in a JSON value, and the names of all members.
func leaves(value any) (texts, names []string) {
	var all []any
	switch v := value.(type) {
	case string:
		return []string{v}, nil
	case []any:
		all = v
	case map[string]any:
		names = slices.Collect(maps.Keys(v))
		all = slices.Collect(maps.Values(v))
	}
	for _, one := range all {
		t, n := leaves(one)
		texts, names = append(texts, t...), append(names, n...)
	}
	return texts, names
}

func TestState_Content(t *testing.T) {
	t.Parallel()
	s := newSecrets(t)
	src, dst := registrytest.V3(t, registrytest.BasicAuth(user, s["password"])), registrytest.V3(t)
	first := src.Push(t, "app", "1", registrytest.MultiArch("first"))
	ws := newWorkspace(t)
	copied := imageCopy("app", first.Ref, dst.Ref("app", "1"), `additional_tags = ["stable"]`, `on_destroy = "untag"`, `timeouts = { create = "30m" }`, noOverwrite)
	ws.converge(s.variable(ws), providerBlock(map[string]string{src.Addr: basicLogin.hcl}), copied)
	second := src.Push(t, "app", "1", registrytest.MultiArch("second"))
	ws.run("apply", "-refresh-only", "-auto-approve", "-json", "-input=false").mustSucceed() // records the second digest in private state

	var record any
	if err := json.Unmarshal([]byte(decodePrivateState(t, []byte(ws.stateFile()))), &record); err != nil {
		t.Fatal(err)
	}
	settings := []string{"stable", "untag", "30m"}
	known := []string{
		first.Ref, dst.Ref("app", "1"), dst.Ref("app", string(first.Digest)),
		string(first.Digest), string(second.Digest), first.MediaType, second.MediaType,
	}
	for what, test := range map[string]struct {
		value any
		texts []string
		names []string
	}{
		"state": {ws.state(app), slices.Concat(known, settings), []string{
			"source", "destination", "additional_tags", "overwrite", "on_destroy", "referrers", "referrer_types", "referrers_digest", "deep_check", "missing", "digest", "source_digest", "media_type", "pinned_reference", "promoted_reference",
			"platforms", "timeouts", "create", "read", "update", "delete",
		}},
		"private state": {record, known, []string{
			"wanted", "applied", "source", "source_digest", "digest", "media_type", "put", "held", "1", "stable",
		}},
	} {
		texts, names := leaves(test.value)
		for _, text := range texts {
			if !slices.Contains(test.texts, text) {
				t.Errorf("the %s holds %q", what, text)
			}
		}
		for _, name := range names {
			if !slices.Contains(test.names, name) {
				t.Errorf("the %s has a %q", what, name)
			}
		}
		if len(texts) == 0 {
			t.Errorf("the %s is empty", what)
		}
	}
	s.assertNoSecret(ws)
}

// TestManifest_Index checks that a manifest is kept as received.
func TestDocumentation_ManifestIsPlainText(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/data-sources/manifest.md")
	if err != nil {
		t.Fatal(err)
	}
	if text := "The manifest is stored in state as plain text."; !strings.Contains(string(page), text) {
		t.Errorf("the page does not contain %q", text)
	}
}
