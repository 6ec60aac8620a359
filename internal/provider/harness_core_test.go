package provider_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/provider"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

// core calls the provider as Terraform core does, without a Terraform process. A refresh, a
// plan and an apply are a few calls of the plugin protocol, with a new provider server for
// each. core checks the responses as Terraform does, and keeps prior state, private state and
// identities as Terraform keeps them. Thousands of runs then take seconds.
//
// It follows Terraform 1.12 and later, which store identities.
type core struct {
	settings, resource tftypes.Object
	computed           map[string]bool // by attribute of the resource
	options            []func(*remote.Options)
	processes          int
}

const copyType = "registry_image_copy"

func newCore(t testing.TB, override ...func(*remote.Options)) *core {
	t.Helper()
	c := &core{computed: map[string]bool{}, options: append([]func(*remote.Options){isolateOptions}, override...)}
	server := c.server("schema")
	schemas, err := server.GetProviderSchema(t.Context(), &tfprotov6.GetProviderSchemaRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, attribute := range schemas.ResourceSchemas[copyType].Block.Attributes {
		c.computed[attribute.Name] = attribute.Computed
	}
	c.resource = schemas.ResourceSchemas[copyType].ValueType().(tftypes.Object)
	c.settings = schemas.Provider.ValueType().(tftypes.Object)
	return c
}

func (c *core) server(version string) tfprotov6.ProviderServer {
	return providerserver.NewProtocol6(provider.New(version, c.options...)())()
}

// process is one provider process. Terraform starts one for each walk over its graph. Its name
// is the version that the provider sends with every request.
type process struct {
	core   *core
	server tfprotov6.ProviderServer
	name   string
	ctx    context.Context // ends when Terraform asks the provider to stop
	died   func() bool     // reports whether the process was killed, so that its responses are lost
}

var errProcessDied = errors.New("the provider process died")

// start starts and configures a provider. If died is nil, the process is never killed.
func (c *core) start(ctx context.Context, died func(name string) bool) (*process, error) {
	c.processes++
	p := &process{core: c, ctx: ctx, name: fmt.Sprintf("process-%d", c.processes)}
	p.died = func() bool { return died != nil && died(p.name) }
	p.server = c.server(p.name)
	config := object{}
	for name, of := range c.settings.AttributeTypes {
		config[name] = tftypes.NewValue(of, nil)
	}
	answer, err := p.server.ConfigureProvider(ctx, &tfprotov6.ConfigureProviderRequest{TerraformVersion: "1.14.0", Config: encode(c.settings, config)})
	return p, errors.Join(err, failure("provider", answer.Diagnostics))
}

// diagnosticError is an error diagnostic of the provider, or one that Terraform adds for an
// invalid response.
type diagnosticError struct{ address, summary, detail string }

func (e *diagnosticError) Error() string { return e.address + ": " + e.summary + ": " + e.detail }

// failure returns the errors in diagnostics, or nil if there are none.
func failure(address string, diagnostics []*tfprotov6.Diagnostic) error {
	var all []error
	for _, d := range diagnostics {
		if d.Severity == tfprotov6.DiagnosticSeverityError {
			all = append(all, &diagnosticError{address, d.Summary, d.Detail})
		}
	}
	return errors.Join(all...)
}

// Summaries of the errors with which Terraform rejects a response of a provider.
const (
	invalidPlan        = "Provider produced invalid plan"
	inconsistentPlan   = "Provider produced inconsistent final plan"
	inconsistentResult = "Provider produced inconsistent result after apply"
)

// object is the value of a resource or an identity, by attribute. nil is null.
type object map[string]tftypes.Value

// encode encodes an object for the plugin protocol.
func encode(of tftypes.Object, o object) *tfprotov6.DynamicValue {
	value := tftypes.NewValue(of, nil)
	if o != nil {
		value = tftypes.NewValue(of, map[string]tftypes.Value(o))
	}
	encoded, err := tfprotov6.NewDynamicValue(of, value)
	if err != nil {
		panic(fmt.Sprintf("encode %v: %v", o, err))
	}
	return &encoded
}

// decode decodes an object. It returns nil for null.
func decode(of tftypes.Object, encoded *tfprotov6.DynamicValue) (o object, err error) {
	if encoded == nil {
		return nil, nil
	}
	value, err := encoded.Unmarshal(of)
	if err != nil || value.IsNull() {
		return nil, err
	}
	var attributes map[string]tftypes.Value
	err = value.As(&attributes)
	return attributes, err
}

func (o object) text(attribute string) (text string) {
	if v, is := o[attribute]; is && v.IsKnown() {
		_ = v.As(&text) // leaves "" if v is not a string
	}
	return text
}

func (o object) texts(attribute string) (texts []string) {
	var elements []tftypes.Value
	if v, is := o[attribute]; is && v.IsKnown() {
		_ = v.As(&elements) // leaves nil if v is not a collection
	}
	for _, element := range elements {
		var text string
		_ = element.As(&text)
		texts = append(texts, text)
	}
	slices.Sort(texts)
	return texts
}

// sameValue compares values as Terraform does. It ignores the order of a set.
func sameValue(a, b tftypes.Value) bool {
	var as, bs []tftypes.Value
	if !a.Type().Is(tftypes.Set{}) || !a.IsKnown() || !b.IsKnown() || a.IsNull() || b.IsNull() || a.As(&as) != nil || b.As(&bs) != nil {
		return a.Equal(b)
	}
	byText := func(x, y tftypes.Value) int { return strings.Compare(x.String(), y.String()) }
	slices.SortFunc(as, byText)
	slices.SortFunc(bs, byText)
	return slices.EqualFunc(as, bs, tftypes.Value.Equal)
}

func (o object) equal(other object) bool {
	if (o == nil) != (other == nil) {
		return false
	}
	for name, value := range o {
		if !sameValue(value, other[name]) {
			return false
		}
	}
	return true
}

// mismatches returns the attributes that are known in a plan and have another value in actual.
// Terraform does not allow any.
func (o object) mismatches(actual object) (names []string) {
	for name, planned := range o {
		if planned.IsFullyKnown() && !sameValue(planned, actual[name]) {
			names = append(names, fmt.Sprintf("%s: planned %s, now %s", name, planned, actual[name]))
		}
	}
	slices.Sort(names)
	return names
}

// unknownAttributes returns the attributes that are not known. A state must not have any.
func (o object) unknownAttributes() (names []string) {
	for name, value := range o {
		if !value.IsFullyKnown() {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// stateObject is an object in the state.
type stateObject struct {
	value    object
	private  []byte
	identity *tfprotov6.ResourceIdentityData
	tainted  bool
}

// instance is a resource in the state: its current object, which may be nil, and objects that a
// replacement has left behind.
type instance struct {
	current *stateObject
	deposed []*stateObject
}

func (i instance) empty() bool { return i.current == nil && len(i.deposed) == 0 }

// coreState is the state by resource name.
type coreState map[string]instance

func (s coreState) clone() coreState {
	clone := coreState{}
	for address, i := range s {
		if !i.empty() {
			clone[address] = instance{i.current, slices.Clone(i.deposed)}
		}
	}
	return clone
}

// upgrade passes a stored object through UpgradeResourceState, as Terraform does whenever it
// reads one.
func (p *process) upgrade(address string, stored *stateObject) (*stateObject, error) {
	raw := map[string]any{}
	for name, value := range stored.value {
		raw[name] = rawValue(value)
	}
	encoded, err := json.Marshal(raw)
	if err != nil {
		return nil, err
	}
	answer, err := p.server.UpgradeResourceState(p.ctx, &tfprotov6.UpgradeResourceStateRequest{TypeName: copyType, RawState: &tfprotov6.RawState{JSON: encoded}})
	if err := errors.Join(err, failure(address, answer.Diagnostics)); err != nil {
		return nil, err
	}
	upgraded := *stored
	upgraded.value, err = decode(p.core.resource, answer.UpgradedState)
	return &upgraded, err
}

// rawValue returns a value as it is written to a state file.
func rawValue(v tftypes.Value) any {
	var (
		text    string
		truth   bool
		number  *big.Float
		list    []tftypes.Value
		members map[string]tftypes.Value
	)
	switch {
	case v.IsNull():
		return nil
	case v.As(&text) == nil:
		return text
	case v.As(&truth) == nil:
		return truth
	case v.As(&number) == nil:
		return number
	case v.As(&list) == nil:
		all := []any{}
		for _, element := range list {
			all = append(all, rawValue(element))
		}
		return all
	case v.As(&members) == nil:
		all := map[string]any{}
		for name, member := range members {
			all[name] = rawValue(member)
		}
		return all
	}
	panic(fmt.Sprintf("a state with %s", v))
}
