// Package registry defines the types that the packages below the provider share:
// references, descriptors, manifests, the Repository interface and the Error type.
// It does no I/O, and depends neither on HTTP nor on Terraform.
//
// The terms are those of the OCI image specification and the OCI distribution
// specification (https://github.com/opencontainers/distribution-spec). Comments
// cite these by section name.
package registry
