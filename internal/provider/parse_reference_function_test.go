package provider_test

import (
	"fmt"
	"strings"
	"testing"
)

func TestParseReferenceFunction(t *testing.T) {
	t.Parallel()
	pinned := "@sha256:" + strings.Repeat("0", 64)
	ws := newWorkspace(t)
	blocks := []string{}
	cases := map[string]map[string]any{
		"alpine":                              {"registry": "docker.io", "repository": "library/alpine", "name": "docker.io/library/alpine", "tag": "latest", "digest": nil, "normalized": "docker.io/library/alpine:latest"},
		"GHCR.IO/acme/app:1.4":                {"registry": "ghcr.io", "repository": "acme/app", "name": "ghcr.io/acme/app", "tag": "1.4", "digest": nil, "normalized": "ghcr.io/acme/app:1.4"},
		"localhost:5000/app" + pinned:         {"registry": "localhost:5000", "repository": "app", "name": "localhost:5000/app", "tag": nil, "digest": pinned[1:], "normalized": "localhost:5000/app" + pinned},
		"docker.io/library/alpine:3" + pinned: {"registry": "docker.io", "repository": "library/alpine", "name": "docker.io/library/alpine", "tag": "3", "digest": pinned[1:], "normalized": "docker.io/library/alpine:3" + pinned},
	}
	names := map[string]string{}
	for reference := range cases {
		name := fmt.Sprintf("r%d", len(names))
		names[name] = reference
		blocks = append(blocks, output(name, fmt.Sprintf("provider::registry::parse_reference(%q)", reference)))
	}
	result := ws.converge(blocks...)
	for name, reference := range names {
		for part, want := range cases[reference] {
			if got := valueOf(result.outputs[name], part); got != want {
				t.Errorf("%s: %s is %v, want %v", reference, part, got, want)
			}
		}
	}

	ws.configure(output("bad", `provider::registry::parse_reference("https://ghcr.io/acme/app")`))
	result = ws.planFails()
	if d := result.wantError("https://ghcr.io/acme/app", "scheme"); strings.Contains(d.Detail, "..") {
		t.Errorf("two periods: %s", d.Detail)
	}
}
