// Command terraform-provider-registry is the provider. Terraform and OpenTofu
// start it themselves; a person starts it only to debug it.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/hashicorp/terraform-plugin-framework/providerserver"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/provider"
)

// address is where the provider is published.
const address = "registry.terraform.io/terraform-provider-registry/registry"

// version is set by the linker in releases and by `make build`.
var version = "dev"

func main() {
	debug := flag.Bool("debug", false, "keep running under a debugger; prints what to set TF_REATTACH_PROVIDERS to")
	flag.Parse()

	// net/http logs what servers send unasked, as it came; what matters goes to
	// Terraform's log, cleaned.
	log.SetOutput(io.Discard)

	err := providerserver.Serve(context.Background(), provider.New(version), providerserver.ServeOpts{
		Address: address,
		Debug:   *debug,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
