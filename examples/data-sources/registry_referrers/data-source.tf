terraform {
  required_providers {
    registry = {
      source = "terraform-provider-registry/registry"
    }
  }
}

# The SBOMs of an image.
data "registry_referrers" "sboms" {
  reference      = "ghcr.io/acme/app:1.4"
  artifact_types = ["application/spdx+json", "application/vnd.cyclonedx+json"]
}

output "sboms" {
  value = [for r in data.registry_referrers.sboms.referrers : r.pinned_reference]
}

# Reject images without a signature.
data "registry_referrers" "app" {
  reference = "ghcr.io/acme/app:1.4"
}

resource "registry_image_copy" "app" {
  source      = "ghcr.io/acme/app@${data.registry_referrers.app.digest}"
  destination = "registry.example.com/prod/app:1.4"
  referrers   = true

  lifecycle {
    precondition {
      condition = anytrue([
        for r in data.registry_referrers.app.referrers :
        r.artifact_type == "application/vnd.dev.cosign.artifact.sig.v1+json" || try(endswith(r.tag, ".sig"), false)
      ])
      error_message = "The image has no signature."
    }
  }
}
