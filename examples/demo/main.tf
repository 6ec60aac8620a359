# What `make demo` applies: two promotions from one registry to another.

terraform {
  required_providers {
    registry = {
      source = "terraform-provider-registry/registry"
    }
  }
}

variable "source_registry" {
  description = "The registry that holds the images, as host:port."
  type        = string
}

variable "destination_registry" {
  description = "The registry that they are promoted to, as host:port."
  type        = string
}

provider "registry" {
  # No credentials of this machine: both registries ask for none.
  docker_config_path = ""
}

# An image for two platforms, with the attestation that its builder made.
resource "registry_image_copy" "app" {
  source          = "${var.source_registry}/acme/app:1.4"
  destination     = "${var.destination_registry}/prod/app:1.4"
  additional_tags = ["stable"]
}

# An image of before the OCI specifications (Docker, schema 2).
resource "registry_image_copy" "legacy" {
  source      = "${var.source_registry}/acme/legacy:2.0"
  destination = "${var.destination_registry}/prod/legacy:2.0"
}

# promoted_reference and not pinned_reference: if an apply fails, an output of it keeps
# the value of the last image that was copied.

output "app" {
  description = "What deployments of the app pin."
  value       = registry_image_copy.app.promoted_reference
}

output "legacy" {
  description = "What deployments of the legacy image pin."
  value       = registry_image_copy.legacy.promoted_reference
}
