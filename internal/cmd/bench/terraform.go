package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// writeInputs writes files that list all copies to home: list.txt for imagecopy, and a
// Terraform configuration that uses the provider in bin.
func writeInputs(home, bin, ca string, pairs []pair) error {
	var list strings.Builder
	for _, p := range pairs {
		fmt.Fprintln(&list, p.source, p.destination)
	}
	for name, content := range map[string]string{
		"list.txt":     list.String(),
		"main.tf":      configuration(ca, pairs),
		"terraform.rc": fmt.Sprintf("provider_installation {\n  dev_overrides {\n    %q = %q\n  }\n  direct {}\n}\n", "terraform-provider-registry/registry", bin),
	} {
		if err := os.WriteFile(filepath.Join(home, name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// configuration returns a Terraform configuration with a resource for each pair.
func configuration(ca string, pairs []pair) string {
	var out strings.Builder
	out.WriteString(`terraform {
  required_providers {
    registry = { source = "terraform-provider-registry/registry" }
  }
}

provider "registry" {
  docker_config_path = ""
  registries = {
`)
	if ca != "" {
		seen := map[string]bool{}
		for _, p := range pairs {
			for _, host := range []string{host(p.source), host(p.destination)} {
				if !seen[host] {
					fmt.Fprintf(&out, "    %q = { plain_http = false, ca_certificate = file(%q) }\n", host, ca)
				}
				seen[host] = true
			}
		}
	}
	out.WriteString("  }\n}\n")
	for _, p := range pairs {
		fmt.Fprintf(&out, "\nresource \"registry_image_copy\" %q {\n  source      = %q\n  destination = %q\n}\n",
			strings.ReplaceAll(p.repository, "/", "_"), p.source, p.destination)
	}
	return out.String()
}
