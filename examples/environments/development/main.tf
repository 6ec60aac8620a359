terraform {
  required_providers {
    registry = {
      source = "terraform-provider-registry/registry"
    }
  }
}

resource "registry_image_copy" "app" {
  source      = "ghcr.io/acme/app:main"
  destination = "registry.example.com/development/app:main"
  referrers   = true # in each stage, or signatures stay behind
}

# The source of the next stage. promoted_reference only changes when the image was
# copied. pinned_reference is known in the plan, and Terraform saves it even if the apply
# fails.
output "app" {
  value = registry_image_copy.app.promoted_reference
}
