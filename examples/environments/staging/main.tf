terraform {
  required_providers {
    registry = {
      source = "terraform-provider-registry/registry"
    }
  }
}

data "terraform_remote_state" "development" {
  backend = "s3"
  config = {
    bucket = "acme-terraform"
    key    = "development.tfstate"
    region = "eu-central-1"
  }
}

resource "registry_image_copy" "app" {
  source      = data.terraform_remote_state.development.outputs.app
  destination = "registry.example.com/staging/app:main"
  referrers   = true
}

# promoted_reference does not change if the apply fails.
output "app" {
  value = registry_image_copy.app.promoted_reference
}
