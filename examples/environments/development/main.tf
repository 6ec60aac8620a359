terraform {
  required_providers {
    registry = {
      source = "terraform-provider-registry/registry"
    }
  }
}

resource "registry_image_copy" "app" {
  source      = "ghcr.io/acme/app:main"
  destination = "registry.example.com/development/app:main"
  referrers   = true # in each stage, or signatures stay behind
}

# What the next stage promotes.
output "app" {
  value = registry_image_copy.app.pinned_reference
}
