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
  # Registries that are not named here are asked with the credentials that
  # `docker login` or `podman login` left on this machine, or with none.
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

# For those who run the image: exactly what was put there. Known after apply when it
# changes, so that a failed apply does not announce an image that was not copied.
output "image" {
  value = registry_image_copy.app.promoted_reference
}
