// Package registry is the vocabulary that everything below the provider
// speaks: references, descriptors, manifests, the one Repository interface and
// the one Error. It does no I/O and knows neither HTTP nor Terraform.
//
// The terms are those of the OCI image specification and the OCI distribution
// specification (https://github.com/opencontainers/distribution-spec), which
// the comments cite by section name.
package registry
