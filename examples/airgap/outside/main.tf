terraform {
  required_providers {
    registry = {
      source = "terraform-provider-registry/registry"
    }
  }
}

locals {
  # The name of each image on the isolated side, and its source.
  images = {
    "acme/app:1.4"        = "ghcr.io/acme/app:1.4"
    "acme/worker:2.0"     = "ghcr.io/acme/worker:2.0"
    "library/alpine:3.20" = "docker.io/library/alpine:3.20"
  }
}

# All images are in one folder, each with its own tag, such as acme-app-1.4 for
# acme/app:1.4.
resource "registry_image_copy" "airgap" {
  for_each = local.images

  source      = each.value
  destination = "oci:${path.root}/airgap:${replace(each.key, "/[/:]/", "-")}"
}

# The digests come from promoted_reference. The attribute digest is known in the plan,
# so after a failed apply it would list images that are not in the folder.
output "airgap" {
  description = "The name and digest of each image for the isolated side."
  value       = { for name, copy in registry_image_copy.airgap : name => regex("[^@]+$", copy.promoted_reference) }
}
