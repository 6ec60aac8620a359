terraform {
  required_providers {
    registry = {
      source = "terraform-provider-registry/registry"
    }
  }
}

variable "app_version" {
  description = "The tag of this promotion in production, new for each one."
  type        = string
}

data "terraform_remote_state" "staging" {
  backend = "s3"
  config = {
    bucket = "acme-terraform"
    key    = "staging.tfstate"
    region = "eu-central-1"
  }
}

resource "registry_image_copy" "app" {
  source      = data.terraform_remote_state.staging.outputs.app
  destination = "registry.example.com/production/app:${var.app_version}"
  overwrite   = false
  referrers   = true
}

# promoted_reference does not change if the apply fails.
output "app" {
  value = registry_image_copy.app.promoted_reference
}
