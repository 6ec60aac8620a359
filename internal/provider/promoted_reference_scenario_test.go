package provider_test

import (
	"maps"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// copyServer is a configured provider that is called as Terraform calls it. The test and not
// Terraform decides which resource is planned first.
type copyServer struct {
	t      *testing.T
	server tfprotov6.ProviderServer
	object tftypes.Object // the type of a registry_image_copy
}

func newCopyServer(t *testing.T) copyServer {
	t.Helper()
	server := newProviderServer()()
	schemas, err := server.GetProviderSchema(t.Context(), &tfprotov6.GetProviderSchemaRequest{})
	if err != nil {
		t.Fatal(err)
	}
	s := copyServer{t: t, server: server, object: schemas.ResourceSchemas["registry_image_copy"].ValueType().(tftypes.Object)}
	config := schemas.Provider.ValueType().(tftypes.Object)
	configured, err := server.ConfigureProvider(t.Context(), &tfprotov6.ConfigureProviderRequest{Config: s.dynamic(config, objectOf(config, nil))})
	s.wantNoErrors(err, configured.Diagnostics)
	return s
}

// objectOf returns an object with the given attributes. All others are null.
func objectOf(object tftypes.Object, attributes map[string]string) tftypes.Value {
	values := map[string]tftypes.Value{}
	for name, attribute := range object.AttributeTypes {
		values[name] = tftypes.NewValue(attribute, nil)
	}
	for name, value := range attributes {
		values[name] = tftypes.NewValue(tftypes.String, value)
	}
	return tftypes.NewValue(object, values)
}

func (s copyServer) dynamic(of tftypes.Type, value tftypes.Value) *tfprotov6.DynamicValue {
	s.t.Helper()
	dynamic, err := tfprotov6.NewDynamicValue(of, value)
	if err != nil {
		s.t.Fatal(err)
	}
	return &dynamic
}

func (s copyServer) wantNoErrors(err error, diagnostics []*tfprotov6.Diagnostic) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, d := range diagnostics {
		if d.Severity == tfprotov6.DiagnosticSeverityError {
			s.t.Fatalf("%s: %s", d.Summary, d.Detail)
		}
	}
}

// copyState is a prior or planned state with its private state.
type copyState struct {
	value   tftypes.Value
	private []byte
}

func (s copyServer) plan(config tftypes.Value, prior copyState, proposed tftypes.Value) copyState {
	s.t.Helper()
	resp, err := s.server.PlanResourceChange(s.t.Context(), &tfprotov6.PlanResourceChangeRequest{
		TypeName: "registry_image_copy", Config: s.dynamic(s.object, config), PriorPrivate: prior.private,
		PriorState: s.dynamic(s.object, prior.value), ProposedNewState: s.dynamic(s.object, proposed),
	})
	s.wantNoErrors(err, resp.Diagnostics)
	return s.read(resp.PlannedState, resp.PlannedPrivate)
}

func (s copyServer) apply(config tftypes.Value, prior, planned copyState) copyState {
	s.t.Helper()
	resp, err := s.server.ApplyResourceChange(s.t.Context(), &tfprotov6.ApplyResourceChangeRequest{
		TypeName: "registry_image_copy", Config: s.dynamic(s.object, config), PlannedPrivate: planned.private,
		PriorState: s.dynamic(s.object, prior.value), PlannedState: s.dynamic(s.object, planned.value),
	})
	s.wantNoErrors(err, resp.Diagnostics)
	return s.read(resp.NewState, resp.Private)
}

func (s copyServer) read(state *tfprotov6.DynamicValue, private []byte) copyState {
	s.t.Helper()
	value, err := state.Unmarshal(s.object)
	if err != nil {
		s.t.Fatal(err)
	}
	return copyState{value, private}
}

// attribute returns a string attribute, and reports whether it is known.
func (s copyServer) attribute(state copyState, name string) (value string, known bool) {
	s.t.Helper()
	var attributes map[string]tftypes.Value
	if err := state.value.As(&attributes); err != nil {
		s.t.Fatal(err)
	}
	if !attributes[name].IsKnown() {
		return "", false
	}
	if err := attributes[name].As(&value); err != nil {
		s.t.Fatal(err)
	}
	return value, true
}

// TestPromotedReference_TagRemovedByAnotherResource checks that promoted_reference is unknown
// in the plan if another resource removes the tag in the same run, because the tag has to be
// written again. It is set even if the tag was not removed after all.
func TestPromotedReference_TagRemovedByAnotherResource(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	attributes := map[string]string{"source": pushed.Ref, "destination": dst.Ref("app", "1"), "on_destroy": "untag"}
	server := newCopyServer(t)
	config := objectOf(server.object, attributes)
	proposed := map[string]tftypes.Value{}
	if err := config.As(&proposed); err != nil {
		t.Fatal(err)
	}
	maps.Copy(proposed, map[string]tftypes.Value{
		"promoted_reference": tftypes.NewValue(tftypes.String, tftypes.UnknownValue),
		"pinned_reference":   tftypes.NewValue(tftypes.String, tftypes.UnknownValue),
	})
	none := copyState{value: tftypes.NewValue(server.object, nil)}
	created := server.apply(config, none, server.plan(config, none, tftypes.NewValue(server.object, proposed)))
	pinned := dst.Ref("app", string(pushed.Digest))
	if got, _ := server.attribute(created, "promoted_reference"); got != pinned {
		t.Fatalf("promoted_reference after the create = %q, want %q", got, pinned)
	}

	// Two resources use the same tag. One of them is destroyed.
	server = newCopyServer(t)
	server.plan(none.value, created, none.value)
	planned := server.plan(config, created, created.value)
	if got, known := server.attribute(planned, "promoted_reference"); known {
		t.Errorf("planned promoted_reference = %q, want unknown", got)
	}
	updated := newCopyServer(t).apply(config, created, planned)
	if got, _ := server.attribute(updated, "promoted_reference"); got != pinned {
		t.Errorf("promoted_reference after the update = %q, want %q", got, pinned)
	}
}
