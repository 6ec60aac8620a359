// Command schema prints the provider's schemas like `terraform providers schema -json`, so that
// the documentation can be generated without Terraform.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/provider"
)

// providerName is the key that tfplugindocs expects instead of a provider address.
const providerName = "registry"

func main() {
	log.SetFlags(0)
	server := providerserver.NewProtocol6(provider.New("dev")())()
	if err := export(context.Background(), os.Stdout, server); err != nil {
		log.Fatal(err)
	}
}

// export writes the schemas of server to w. It returns errors in the schemas too.
func export(ctx context.Context, w io.Writer, server tfprotov6.ProviderServer) error {
	schemas, err := server.GetProviderSchema(ctx, &tfprotov6.GetProviderSchemaRequest{})
	if err != nil {
		return err
	}
	for _, d := range schemas.Diagnostics {
		if d.Severity == tfprotov6.DiagnosticSeverityError {
			err = errors.Join(err, fmt.Errorf("%s: %s", d.Summary, d.Detail))
		}
	}
	if err != nil {
		return err
	}
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	return out.Encode(document{
		FormatVersion: "1.0",
		Providers: map[string]providerJSON{providerName: {
			Provider:    schema(schemas.Provider),
			Resources:   mapValues(schemas.ResourceSchemas, schema),
			DataSources: mapValues(schemas.DataSourceSchemas, schema),
			Functions:   mapValues(schemas.Functions, function),
		}},
	})
}

// mapValues applies convert to all values of m.
func mapValues[A, B any](m map[string]A, convert func(A) B) map[string]B {
	out := make(map[string]B, len(m))
	for name, v := range m {
		out[name] = convert(v)
	}
	return out
}
