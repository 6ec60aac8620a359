terraform {
  required_providers {
    registry = {
      source = "terraform-provider-registry/registry"
    }
  }
}

# Copy the image with its referrers: signatures, SBOMs and attestations.
resource "registry_image_copy" "app" {
  source      = "ghcr.io/acme/app:1.4"
  destination = "registry.example.com/prod/app:1.4"
  referrers   = true
}

# The reference for cosign verify at the destination. It only changes when the image was
# copied.
output "app" {
  value = registry_image_copy.app.promoted_reference
}
