terraform {
  required_providers {
    registry = {
      source = "terraform-provider-registry/registry"
    }
  }
}

# Of an image for many platforms, the two that run in production.
resource "registry_image_copy" "app" {
  source      = "ghcr.io/acme/app:1.4"
  destination = "registry.example.com/prod/app:1.4"
  platforms   = ["linux/amd64", "linux/arm64"]
}

# Of another one, a single platform: what arrives is an image and no index, as
# some services want it.
resource "registry_image_copy" "function" {
  source      = "ghcr.io/acme/function:1.4"
  destination = "registry.example.com/prod/function:1.4"
  platforms   = ["linux/arm64"]
}
