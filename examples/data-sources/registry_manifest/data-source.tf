terraform {
  required_providers {
    registry = {
      source = "terraform-provider-registry/registry"
    }
  }
}

# The image for one platform of a multi-platform image.
data "registry_manifest" "base" {
  reference = "docker.io/library/alpine:3.20"
  platform  = "linux/arm64"
}

output "layers" {
  value = [for layer in data.registry_manifest.base.layers : layer.digest]
}

# A tag that may move between plan and apply is read once, and what was read is
# what is promoted.
data "registry_manifest" "app" {
  reference = "ghcr.io/acme/app:nightly"
}

resource "registry_image_copy" "app" {
  source      = data.registry_manifest.app.pinned_reference
  destination = "registry.example.com/staging/app:nightly"
}

# Whether a tag is there already. Only the registry's own 404 is an answer; a
# registry that is down is an error.
data "registry_manifest" "release" {
  reference     = "registry.example.com/prod/app:2.0"
  allow_missing = true
}

output "released" {
  value = data.registry_manifest.release.exists
}

# What is read of an image that is not there is null, pinned_reference too: look
# at exists first.
resource "registry_image_copy" "stable" {
  count       = data.registry_manifest.release.exists ? 1 : 0
  source      = data.registry_manifest.release.pinned_reference
  destination = "registry.example.com/prod/app:stable"
}
