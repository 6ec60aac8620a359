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
  # Other registries use the credentials of `docker login` or `podman login` on this
  # machine, or none.
  registries = {
    "registry.example.com" = {
      username = "ci"
      password = var.registry_password
    }
  }
}

resource "registry_image_copy" "app" {
  source      = "ghcr.io/acme/app:1.4"
  destination = "registry.example.com/prod/app:1.4"
}

# The reference for deployments. It only changes when the image was copied, even if an
# apply fails.
output "image" {
  value = registry_image_copy.app.promoted_reference
}
