// Command terraform-provider-registry is the provider. Terraform and OpenTofu start
// it. Users start it only to debug it.
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

// address is the registry address of the provider.
const address = "registry.terraform.io/terraform-provider-registry/registry"

// version is set by the linker in releases and by `make build`.
var version = "dev"

func main() {
	debug := flag.Bool("debug", false, "run as a server for a debugger, and print the value for TF_REATTACH_PROVIDERS")
	flag.Parse()

	// net/http logs unsolicited data of servers without sanitizing it. Relevant
	// messages are sanitized and written to Terraform's log.
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
