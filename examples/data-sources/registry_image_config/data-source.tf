terraform {
  required_providers {
    registry = {
      source = "terraform-provider-registry/registry"
    }
  }
}

# The commit of an image, from its labels.
data "registry_image_config" "app" {
  reference = "ghcr.io/acme/app:1.4"
  platform  = "linux/amd64"
}

output "revision" {
  value = data.registry_image_config.app.labels["org.opencontainers.image.revision"]
}

# Reject images that run as root.
resource "registry_image_copy" "app" {
  source      = data.registry_image_config.app.pinned_reference
  destination = "registry.example.com/prod/app:1.4"

  lifecycle {
    precondition {
      condition     = !contains(["0", "root"], split(":", coalesce(data.registry_image_config.app.user, "root"))[0])
      error_message = "The image runs as root."
    }
  }
}

# The configuration of each platform of an index.
data "registry_manifest" "base" {
  reference = "docker.io/library/alpine:3.20"
}

data "registry_image_config" "base" {
  for_each  = toset(data.registry_manifest.base.platforms)
  reference = data.registry_manifest.base.pinned_reference
  platform  = each.key
}

output "created" {
  value = { for platform, image in data.registry_image_config.base : platform => image.created }
}
