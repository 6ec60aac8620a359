terraform {
  required_providers {
    registry = {
      source = "terraform-provider-registry/registry"
    }
  }
}

# Promote the newest release of a major version.
data "registry_tags" "app" {
  repository = "ghcr.io/acme/app"
  constraint = "~> 1.4"
}

resource "registry_image_copy" "app" {
  source      = "ghcr.io/acme/app:${data.registry_tags.app.newest}"
  destination = "registry.example.com/prod/app:1"

  lifecycle {
    precondition {
      condition     = data.registry_tags.app.newest != null
      error_message = "There is no release of 1.4 or later yet."
    }
  }
}

# Promote the five newest tags of a variant. Only the group named version is
# compared.
data "registry_tags" "alpine" {
  repository = "docker.io/library/nginx"
  include    = "^(?P<version>\\d+[.]\\d+[.]\\d+)-alpine$"
  constraint = ">= 1.26"
  limit      = 5
}

resource "registry_image_copy" "nginx" {
  for_each    = toset(data.registry_tags.alpine.tags)
  source      = "docker.io/library/nginx:${each.key}"
  destination = "registry.example.com/mirror/nginx:${each.key}"
}

# Tags that begin with a date, such as 2026-03-01-7f3c2a1.
data "registry_tags" "nightly" {
  repository = "ghcr.io/acme/nightly"
  include    = "^\\d{4}-\\d{2}-\\d{2}"
  exclude    = "-broken$"
  order      = "lexical"
}

output "nightly" {
  value = data.registry_tags.nightly.newest
}
