package provider_test

import (
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/provider"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// An import block may say what to import by its identity since Terraform 1.12,
// which need not be at hand: this speaks the protocol.
func TestImportByIdentity(t *testing.T) {
	t.Parallel()
	reg := registrytest.V3(t)
	pushed := reg.Push(t, "app", "1", registrytest.Image{Seed: "app"})
	server := providerserver.NewProtocol6(provider.New("test", isolated)())()
	ctx := t.Context()

	schemas, err := server.GetProviderSchema(ctx, &tfprotov6.GetProviderSchemaRequest{})
	must(t, err, nil)
	settings := schemas.Provider.ValueType().(tftypes.Object)
	none := map[string]tftypes.Value{}
	for name, of := range settings.AttributeTypes {
		none[name] = tftypes.NewValue(of, nil)
	}
	config, err := tfprotov6.NewDynamicValue(settings, tftypes.NewValue(settings, none))
	must(t, err, nil)
	configured, err := server.ConfigureProvider(ctx, &tfprotov6.ConfigureProviderRequest{Config: &config, TerraformVersion: "1.12.0"})
	must(t, err, configured.Diagnostics)

	identities, err := server.GetResourceIdentitySchemas(ctx, &tfprotov6.GetResourceIdentitySchemasRequest{})
	must(t, err, identities.Diagnostics)
	identity := identities.IdentitySchemas["registry_image_copy"].ValueType().(tftypes.Object)
	value := func(destination string) *tfprotov6.ResourceIdentityData {
		data, err := tfprotov6.NewDynamicValue(identity, tftypes.NewValue(identity, map[string]tftypes.Value{"destination": tftypes.NewValue(tftypes.String, destination)}))
		must(t, err, nil)
		return &tfprotov6.ResourceIdentityData{IdentityData: &data}
	}
	attribute := func(of tftypes.Type, data *tfprotov6.DynamicValue, name string) (text string) {
		v, err := data.Unmarshal(of)
		must(t, err, nil)
		var all map[string]tftypes.Value
		must(t, v.As(&all), nil)
		must(t, all[name].As(&text), nil)
		return text
	}

	imported, err := server.ImportResourceState(ctx, &tfprotov6.ImportResourceStateRequest{TypeName: "registry_image_copy", Identity: value(pushed.Ref)})
	must(t, err, imported.Diagnostics)
	one := imported.ImportedResources[0]
	read, err := server.ReadResource(ctx, &tfprotov6.ReadResourceRequest{TypeName: "registry_image_copy", CurrentState: one.State, CurrentIdentity: one.Identity, Private: one.Private})
	must(t, err, read.Diagnostics)
	state := schemas.ResourceSchemas["registry_image_copy"].ValueType()
	if got := attribute(state, read.NewState, "digest"); got != string(pushed.Digest) {
		t.Errorf("the digest is %q, want %s", got, pushed.Digest)
	}
	if got := attribute(identity, read.NewIdentity.IdentityData, "destination"); got != pushed.Ref {
		t.Errorf("the identity is %q, want %q", got, pushed.Ref)
	}

	refused, err := server.ImportResourceState(ctx, &tfprotov6.ImportResourceStateRequest{TypeName: "registry_image_copy", Identity: value(reg.Addr + "/app")})
	if err != nil || len(refused.Diagnostics) != 1 || refused.Diagnostics[0].Severity != tfprotov6.DiagnosticSeverityError {
		t.Errorf("a destination without a tag: %v, %v", err, refused.Diagnostics)
	}
}

// must fails the test for an error of the protocol, or one that it carries.
func must(t *testing.T, err error, said []*tfprotov6.Diagnostic) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range said {
		t.Fatalf("%s: %s", d.Summary, d.Detail)
	}
}
