terraform {
  required_providers {
    registry = {
      source = "terraform-provider-registry/registry"
    }
  }
}

# The image, and what refers to it: signatures, SBOMs, attestations.
resource "registry_image_copy" "app" {
  source      = "ghcr.io/acme/app:1.4"
  destination = "registry.example.com/prod/app:1.4"
  referrers   = true
}

# What cosign verifies, at the destination. It changes only when the image was copied.
output "app" {
  value = registry_image_copy.app.promoted_reference
}
