terraform {
  required_providers {
    registry = {
      source = "terraform-provider-registry/registry"
    }
  }
}

locals {
  # Selected tags.
  chosen = {
    "docker.io/library/alpine"   = ["3.19", "3.20"]
    "docker.io/library/postgres" = ["16", "17"]
    "ghcr.io/acme/app"           = ["1.4"]
  }

  # Repositories whose newest releases are promoted.
  followed = {
    "docker.io/library/nginx" = { constraint = ">= 1.26", limit = 3 }
    "ghcr.io/acme/worker"     = { constraint = "~> 2.0", limit = 5 }
  }
}

data "registry_tags" "followed" {
  for_each   = local.followed
  repository = each.key
  include    = "^[0-9]+[.][0-9]+[.][0-9]+$" # 1.27.3, and neither 1.27 nor 1.27.3-alpine
  constraint = each.value.constraint
  limit      = each.value.limit
}

locals {
  tags = merge(local.chosen, { for repository, found in data.registry_tags.followed : repository => found.tags })

  # "docker.io/library/alpine:3.20" and so on, each once.
  images = toset(flatten([for repository, tags in local.tags : [for tag in tags : "${repository}:${tag}"]]))
}

# docker.io/library/alpine:3.20 becomes registry.example.com/mirror/library/alpine:3.20.
resource "registry_image_copy" "mirror" {
  for_each = local.images

  source      = each.key
  destination = "registry.example.com/mirror/${provider::registry::parse_reference(each.key).repository}:${provider::registry::parse_reference(each.key).tag}"
}

# The references for deployments. promoted_reference
# only names images that were copied, even after a failed apply.
output "mirror" {
  value = { for image, copy in registry_image_copy.mirror : image => copy.promoted_reference }
}
