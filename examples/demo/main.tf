# The configuration of `make demo`: two promotions from one registry to another.

terraform {
  required_providers {
    registry = {
      source = "terraform-provider-registry/registry"
    }
  }
}

variable "source_registry" {
  description = "The source registry, as host:port."
  type        = string
}

variable "destination_registry" {
  description = "The destination registry, as host:port."
  type        = string
}

provider "registry" {
  # Ignore the credentials of this machine: both registries need none.
  docker_config_path = ""
}

# An image for two platforms with a build attestation.
resource "registry_image_copy" "app" {
  source          = "${var.source_registry}/acme/app:1.4"
  destination     = "${var.destination_registry}/prod/app:1.4"
  additional_tags = ["stable"]
}

# A Docker schema 2 image.
resource "registry_image_copy" "legacy" {
  source      = "${var.source_registry}/acme/legacy:2.0"
  destination = "${var.destination_registry}/prod/legacy:2.0"
}

# promoted_reference instead of pinned_reference: if an apply fails, the output keeps the
# value of the last copied image.

output "app" {
  description = "The reference for deployments of the app."
  value       = registry_image_copy.app.promoted_reference
}

output "legacy" {
  description = "The reference for deployments of the legacy image."
  value       = registry_image_copy.legacy.promoted_reference
}
