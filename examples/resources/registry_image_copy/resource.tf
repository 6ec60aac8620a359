terraform {
  required_providers {
    registry = {
      source = "terraform-provider-registry/registry"
    }
  }
}

# Copy the image with all platforms. When the source's tag moves, the next plan shows
# the old and the new digest.
resource "registry_image_copy" "app" {
  source          = "ghcr.io/acme/app:1.4"
  destination     = "registry.example.com/prod/app:1.4"
  additional_tags = ["1", "stable"]
}

# Copy a fixed version: the source has a digest, and an existing tag at the
# destination must not be moved.
resource "registry_image_copy" "base" {
  source      = "docker.io/library/alpine:3.20@sha256:beefdbd8a1da6d2915566fde36db9db0b524eb737fc57cd1367effd16dc0d06d"
  destination = "registry.example.com/base/alpine:3.20"
  overwrite   = false

  timeouts = {
    create = "10m"
  }
}
