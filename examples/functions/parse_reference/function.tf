terraform {
  required_providers {
    registry = {
      source = "terraform-provider-registry/registry"
    }
  }
}

# {
#   registry   = "docker.io"
#   repository = "library/alpine"
#   name       = "docker.io/library/alpine"
#   tag        = "3"
#   digest     = null
#   normalized = "docker.io/library/alpine:3"
# }
output "parts" {
  value = provider::registry::parse_reference("alpine:3")
}
