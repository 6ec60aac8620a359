terraform {
  required_providers {
    registry = {
      source = "terraform-provider-registry/registry"
    }
  }
}

variable "registry_password" {
  type      = string
  sensitive = true
}

provider "registry" {
  registries = {
    "registry.internal:5000" = {
      username       = "ci"
      password       = var.registry_password
      ca_certificate = file("${path.module}/ca.pem")
    }
  }
}

locals {
  # { "acme/app:1.4" = "sha256:…", … }
  digests = jsondecode(file("${path.module}/digests.json"))
}

# Each image has the name that the connected side recorded:
# registry.internal:5000/mirror/acme/app:1.4.
resource "registry_image_copy" "inside" {
  for_each = local.digests

  source      = "oci:${path.module}/airgap.tar@${each.value}"
  destination = "registry.internal:5000/mirror/${each.key}"
}

# promoted_reference only names images that were copied, even after a failed apply.
output "images" {
  value = { for name, copy in registry_image_copy.inside : name => copy.promoted_reference }
}
