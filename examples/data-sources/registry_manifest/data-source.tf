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

# The tag is read once, and that digest is promoted even if the tag moves between
# plan and apply.
data "registry_manifest" "app" {
  reference = "ghcr.io/acme/app:nightly"
}

resource "registry_image_copy" "app" {
  source      = data.registry_manifest.app.pinned_reference
  destination = "registry.example.com/staging/app:nightly"
}

# Check whether a tag exists. Only a 404 of the registry means that it does not; an
# unavailable registry is an error.
data "registry_manifest" "release" {
  reference     = "registry.example.com/prod/app:2.0"
  allow_missing = true
}

output "released" {
  value = data.registry_manifest.release.exists
}

# If the image does not exist, all other attributes are null, so check exists first.
resource "registry_image_copy" "stable" {
  count       = data.registry_manifest.release.exists ? 1 : 0
  source      = data.registry_manifest.release.pinned_reference
  destination = "registry.example.com/prod/app:stable"
}
