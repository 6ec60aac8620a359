package provider_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/provider"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// protocolClient calls a provider by the plugin protocol. Resource identities need Terraform
// 1.12, which may not be installed.
type protocolClient struct {
	t               *testing.T
	server          tfprotov6.ProviderServer
	state, identity tftypes.Object
}

func newProtocol(t *testing.T) *protocolClient {
	t.Helper()
	server := providerserver.NewProtocol6(provider.New("test", isolateOptions)())()
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
	return &protocolClient{
		t: t, server: server,
		state:    schemas.ResourceSchemas["registry_image_copy"].ValueType().(tftypes.Object),
		identity: identities.IdentitySchemas["registry_image_copy"].ValueType().(tftypes.Object),
	}
}

// identityData returns the identity of a destination.
func (p *protocolClient) identityData(destination string) *tfprotov6.ResourceIdentityData {
	p.t.Helper()
	data, err := tfprotov6.NewDynamicValue(p.identity, tftypes.NewValue(p.identity, map[string]tftypes.Value{"destination": tftypes.NewValue(tftypes.String, destination)}))
	must(p.t, err, nil)
	return &tfprotov6.ResourceIdentityData{IdentityData: &data}
}

// attributes decodes a value.
func (p *protocolClient) attributes(of tftypes.Object, data *tfprotov6.DynamicValue) map[string]tftypes.Value {
	p.t.Helper()
	v, err := data.Unmarshal(of)
	must(p.t, err, nil)
	var all map[string]tftypes.Value
	must(p.t, v.As(&all), nil)
	return all
}

// text returns one string attribute.
func (p *protocolClient) text(of tftypes.Object, data *tfprotov6.DynamicValue, name string) (text string) {
	p.t.Helper()
	must(p.t, p.attributes(of, data)[name].As(&text), nil)
	return text
}

// withAttributes returns values with some of them changed. "" is null.
func (p *protocolClient) withAttributes(values map[string]tftypes.Value, changed map[string]string) *tfprotov6.DynamicValue {
	p.t.Helper()
	values = maps.Clone(values)
	for name, value := range changed {
		values[name] = tftypes.NewValue(p.state.AttributeTypes[name], nil)
		if value != "" {
			values[name] = tftypes.NewValue(tftypes.String, value)
		}
	}
	data, err := tfprotov6.NewDynamicValue(p.state, tftypes.NewValue(p.state, values))
	must(p.t, err, nil)
	return &data
}

// importState imports a destination and reads it.
func (p *protocolClient) importState(destination string) *tfprotov6.ReadResourceResponse {
	p.t.Helper()
	imported, err := p.server.ImportResourceState(p.t.Context(), &tfprotov6.ImportResourceStateRequest{TypeName: "registry_image_copy", Identity: p.identityData(destination)})
	must(p.t, err, imported.Diagnostics)
	one := imported.ImportedResources[0]
	return p.read(one.State, one.Identity, one.Private)
}

func (p *protocolClient) read(state *tfprotov6.DynamicValue, identity *tfprotov6.ResourceIdentityData, private []byte) *tfprotov6.ReadResourceResponse {
	p.t.Helper()
	read, err := p.server.ReadResource(p.t.Context(), &tfprotov6.ReadResourceRequest{TypeName: "registry_image_copy", CurrentState: state, CurrentIdentity: identity, Private: private})
	must(p.t, err, read.Diagnostics)
	return read
}

// TestIdentity_Import checks an import block that names the destination in an identity.
func TestIdentity_Import(t *testing.T) {
	t.Parallel()
	reg := registrytest.V3(t)
	pushed := reg.Push(t, "app", "1", registrytest.Image{Seed: "app"})
	p := newProtocol(t)
	read := p.importState(pushed.Ref)
	if got := p.text(p.state, read.NewState, "digest"); got != string(pushed.Digest) {
		t.Errorf("the digest is %q, want %s", got, pushed.Digest)
	}
	if got := p.text(p.identity, read.NewIdentity.IdentityData, "destination"); got != pushed.Ref {
		t.Errorf("the identity is %q, want %q", got, pushed.Ref)
	}

	refused, err := p.server.ImportResourceState(t.Context(), &tfprotov6.ImportResourceStateRequest{TypeName: "registry_image_copy", Identity: p.identityData(reg.Addr + "/app")})
	if err != nil || len(refused.Diagnostics) != 1 || refused.Diagnostics[0].Severity != tfprotov6.DiagnosticSeverityError {
		t.Errorf("a destination without a tag: %v, %v", err, refused.Diagnostics)
	}
}

// TestIdentity_FollowsDestination checks that a refresh updates an identity in a spelling that
// the provider no longer writes, and that an update changes the identity.
func TestIdentity_FollowsDestination(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.Image{Seed: "app"})
	dst.Push(t, "app", "1", registrytest.Image{Seed: "app"})
	p := newProtocol(t)
	read := p.importState(dst.Ref("app", "1"))
	old := p.identityData("LOCALHOST:0" + strings.TrimPrefix(dst.Ref("app", "1"), "127.0.0.1:"))
	read = p.read(read.NewState, old, read.Private)
	if got := p.text(p.identity, read.NewIdentity.IdentityData, "destination"); got != dst.Ref("app", "1") {
		t.Errorf("Read() identity = %q, want %q", got, dst.Ref("app", "1"))
	}

	for _, destination := range []string{dst.Ref("app", "1"), dst.Ref("moved", "2")} {
		prior := p.attributes(p.state, read.NewState)
		config := p.withAttributes(prior, map[string]string{"source": pushed.Ref, "destination": destination, "digest": "", "source_digest": "", "media_type": "", "pinned_reference": "", "referrers_digest": "", "missing": ""})
		planned, err := p.server.PlanResourceChange(t.Context(), &tfprotov6.PlanResourceChangeRequest{TypeName: "registry_image_copy",
			PriorState: read.NewState, PriorIdentity: old, PriorPrivate: read.Private, Config: config,
			ProposedNewState: p.withAttributes(prior, map[string]string{"source": pushed.Ref, "destination": destination})})
		must(t, err, planned.Diagnostics)
		if len(planned.RequiresReplace) > 0 {
			t.Errorf("PlanResourceChange() RequiresReplace = %v", planned.RequiresReplace)
		}
		applied, err := p.server.ApplyResourceChange(t.Context(), &tfprotov6.ApplyResourceChangeRequest{TypeName: "registry_image_copy",
			PriorState: read.NewState, PlannedState: planned.PlannedState, PlannedIdentity: planned.PlannedIdentity, PlannedPrivate: planned.PlannedPrivate, Config: config})
		must(t, err, applied.Diagnostics)
		if got := p.text(p.identity, applied.NewIdentity.IdentityData, "destination"); got != destination {
			t.Errorf("Update() identity = %q, want %q", got, destination)
		}
		read = p.read(applied.NewState, old, applied.Private)
	}
}

// must fails the test if there is an error or a diagnostic.
func must(t *testing.T, err error, diagnostics []*tfprotov6.Diagnostic) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range diagnostics {
		t.Fatalf("%s: %s", d.Summary, d.Detail)
	}
}
