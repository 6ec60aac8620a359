terraform {
  required_providers {
    registry = {
      source = "terraform-provider-registry/registry"
    }
  }
}

variable "app_version" {
  description = "The version to build and promote."
  type        = string
  default     = "1.4"
}

# Build an archive for each version. The output is known after the build. A
# provisioner only runs when its resource is created, so another version replaces it.
resource "terraform_data" "build" {
  input            = "${path.module}/app-${var.app_version}.tar"
  triggers_replace = var.app_version

  provisioner "local-exec" {
    command = "docker buildx build --output type=oci,dest=${self.input} ${path.module}"
  }
}

# Push the build in the same apply.
resource "registry_image_copy" "app" {
  source      = "oci:${terraform_data.build.output}"
  destination = "registry.example.com/prod/app:${var.app_version}"
}
