package provider_test

import (
	"strings"
	"testing"
)

func TestImageCopy_Validation(t *testing.T) {
	t.Parallel()
	digest := "@sha256:" + strings.Repeat("0", 64)
	ws := newWorkspace(t)
	for _, test := range []struct {
		block        string
		contains, at string
	}{
		{imageCopy("app", "app:1", "docker.io/library/app:1"), "nothing to promote", "source"},
		{imageCopy("app", "a b", "ghcr.io/app:1"), `"a b" cannot be read`, "source"},
		{imageCopy("app", "app:1", "app:1"), "names no registry", "destination"},
		{imageCopy("app", "app:1", "ghcr.io/app"), "has no tag", "destination"},
		{imageCopy("app", "app:1", "ghcr.io/app:1"+digest), "has a digest", "destination"},
		{imageCopy("app", "app:1", "ghcr.io/app:1", `additional_tags = ["1"]`), `"1" is the tag of the destination already`, "additional_tags"},
		{imageCopy("app", "app:1", "ghcr.io/app:1", `additional_tags = ["a/b"]`), `"a/b" cannot be a tag`, "additional_tags"},
		{imageCopy("app", "app:1", "ghcr.io/app:1", `additional_tags = [""]`), `"" cannot be a tag`, "additional_tags"},
		{imageCopy("app", "ghcr.io/app:1", "ghcr.io/app:2", `additional_tags = ["1"]`), "copied from", "additional_tags"},
		{imageCopy("app", "app:1", "ghcr.io/app:1", `on_destroy = "untagg"`), `"untagg" is not something that a destroy can do. Write "retain" to leave everything at the registry, "untag"`, "on_destroy"},
		{imageCopy("app", "app:1", "ghcr.io/app:1", `timeouts = { create = "soon" }`), `timeouts.create = "soon" cannot be read as a time`, "timeouts"},
		{imageCopy("app", "app:1", "ghcr.io/app:1", `timeouts = { read = "99999999h" }`), `"99999999h" cannot be read as a time, or is longer`, "timeouts"},
		{imageCopy("app", "app:1", "ghcr.io/app:1", `timeouts = { update = "-1.5h" }`), `such as "30m" or "1h30m"`, "timeouts"},
		{imageCopy("app", "app:1", "ghcr.io/app:1", `timeouts = { create = "0s" }`), `timeouts.create = "0s" leaves no time at all`, "timeouts"},
		{imageCopy("app", "app:1", "ghcr.io/app:1", `timeouts = { delete = "-1m" }`), `timeouts.delete = "-1m" leaves no time at all`, "timeouts"},
		{"data \"registry_tags\" \"app\" {\n  repository = \"ghcr.io/acme/app\"\n  timeouts = { read = \"soon\" }\n}", `timeouts.read = "soon" cannot be read as a time`, "timeouts"},
		{"data \"registry_manifest\" \"app\" {\n  reference = \"ghcr.io/acme/app:1\"\n  timeouts = { read = \"0s\" }\n}", `timeouts.read = "0s" leaves no time at all`, "timeouts"},
		{imageCopy("app", "app:1\n", "ghcr.io/app:1"), "trimspace(", "source"},
		{imageCopy("app", "app:1", " ghcr.io/app:1"), "trimspace(", "destination"},
		{imageCopy("app", "app:1", "ghcr.io/app:1", `additional_tags = ["stable\n"]`), "trimspace(", "additional_tags"},
		{`provider "registry" { registries = { "https://ghcr.io/v2/" = {} } }` + "\n" + manifest("alpine"), `cannot be a key of registries: the key has a scheme`, "registries"},
		{`provider "registry" { registries = { "ghcr.io" = { max_concurrent_requests = 2.5 } } }` + "\n" + manifest("alpine"), `max_concurrent_requests is 2.5`, "registries"},
		{`provider "registry" { registries = { "ghcr.io" = { client_certificate = "a", client_key = "b" } } }` + "\n" + manifest("alpine"), "Not a certificate", "registries"},
		{manifest("https://ghcr.io/app:1"), "scheme", "reference"},
	} {
		ws.configure(test.block)
		result := ws.planFails()
		result.wantError(test.contains).assertAt(result, test.at)
	}

	// A destination tag can be set to a digest of its own repository.
	ws.configure(imageCopy("app", "ghcr.io/app:1"+digest, "ghcr.io/app:1"))
	if stdout, _, err := ws.command("validate", "-no-color"); err != nil {
		t.Errorf("validate: %v\n%s", err, stdout)
	}
}
