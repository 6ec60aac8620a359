terraform {
  required_providers {
    registry = {
      source = "terraform-provider-registry/registry"
    }
  }
}

# Copy the two platforms that run in production.
resource "registry_image_copy" "app" {
  source      = "ghcr.io/acme/app:1.4"
  destination = "registry.example.com/prod/app:1.4"
  platforms   = ["linux/amd64", "linux/arm64"]
}

# Copy a single platform. The result is an image instead of an index, which some
# services require.
resource "registry_image_copy" "function" {
  source      = "ghcr.io/acme/function:1.4"
  destination = "registry.example.com/prod/function:1.4"
  platforms   = ["linux/arm64"]
}
