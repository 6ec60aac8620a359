terraform {
  required_providers {
    registry = {
      source = "terraform-provider-registry/registry"
    }
  }
}

resource "registry_image_copy" "staging" {
  source      = "ghcr.io/acme/app:1.4"
  destination = "registry.example.com/staging/app:1.4"
}

# Planned together with the first copy, before the image is in staging, and applied
# after it.
resource "registry_image_copy" "production" {
  source      = registry_image_copy.staging.pinned_reference
  destination = "registry.example.com/production/app:1.4"
}
