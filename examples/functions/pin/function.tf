terraform {
  required_providers {
    registry = {
      source = "terraform-provider-registry/registry"
    }
  }
}

variable "digest" {
  type        = string
  description = "The digest that the build pushed: sha256:…"
}

# ghcr.io/acme/app@sha256:…
output "image" {
  value = provider::registry::pin("ghcr.io/acme/app:1.4", var.digest)
}
