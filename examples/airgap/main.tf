terraform {
  required_providers {
    registry = {
      source = "terraform-provider-registry/registry"
    }
  }
}

locals {
  images = {
    "app-1.4"     = "ghcr.io/acme/app:1.4"
    "worker-2.0"  = "ghcr.io/acme/worker:2.0"
    "alpine-3.20" = "docker.io/library/alpine:3.20"
  }
}

# Everything in one folder, each image under a tag of its own. What several of
# them have in common is in it once.
resource "registry_image_copy" "airgap" {
  for_each = local.images

  source      = each.value
  destination = "oci:${path.root}/airgap:${each.key}"
}

output "airgap" {
  description = "What the other side can check: the digest of each image."
  value       = { for tag, copy in registry_image_copy.airgap : tag => copy.digest }
}
