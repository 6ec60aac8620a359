terraform {
  required_providers {
    registry = {
      source = "terraform-provider-registry/registry"
    }
  }
}

locals {
  # What each image is to be called on the other side, and where it comes from.
  images = {
    "acme/app:1.4"        = "ghcr.io/acme/app:1.4"
    "acme/worker:2.0"     = "ghcr.io/acme/worker:2.0"
    "library/alpine:3.20" = "docker.io/library/alpine:3.20"
  }
}

# Everything in one folder, each image under a tag of its own: acme/app:1.4 is
# acme-app-1.4 there.
resource "registry_image_copy" "airgap" {
  for_each = local.images

  source      = each.value
  destination = "oci:${path.root}/airgap:${replace(each.key, "/[/:]/", "-")}"
}

# The digests come from promoted_reference, and not from digest, which is known in the
# plan: an apply that fails would announce images that are not in the folder.
output "airgap" {
  description = "What the other side needs: what each image is called there, and its digest."
  value       = { for name, copy in registry_image_copy.airgap : name => regex("[^@]+$", copy.promoted_reference) }
}
