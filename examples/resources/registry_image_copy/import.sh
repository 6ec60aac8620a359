# The ID is the destination, host/repository:tag
terraform import registry_image_copy.app registry.example.com/prod/app:1.4
