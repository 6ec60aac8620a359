package provider_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// Helpers for scenarios that the emulation of Terraform core runs in a fixed order.

func text(s string) tftypes.Value { return tftypes.NewValue(tftypes.String, s) }

func boolean(b bool) tftypes.Value { return tftypes.NewValue(tftypes.Bool, b) }

func textSet(texts ...string) tftypes.Value {
	all := []tftypes.Value{}
	for _, s := range texts {
		all = append(all, text(s))
	}
	return tftypes.NewValue(tftypes.Set{ElementType: tftypes.String}, all)
}

var unknownText = tftypes.NewValue(tftypes.String, tftypes.UnknownValue)

// copyOf returns the configuration of a copy with the defaults of the resource.
func (c *core) copyOf(source, destination string, others object) coreResource {
	value := object{}
	for attribute, of := range c.resource.AttributeTypes {
		value[attribute] = tftypes.NewValue(of, nil)
	}
	value["source"], value["destination"], value["on_destroy"] = text(source), text(destination), text("retain")
	value["overwrite"], value["referrers"], value["deep_check"] = boolean(true), boolean(false), boolean(false)
	maps.Copy(value, others)
	return coreResource{value: value}
}

// inOrder returns an order for plan and apply: resource by resource, in the order of names.
func inOrder(order ...string) func([]string) ([]string, int) {
	return func(names []string) ([]string, int) {
		slices.SortFunc(names, func(a, b string) int { return slices.Index(order, a) - slices.Index(order, b) })
		return names, 1
	}
}

// applyPlan applies a plan without ending it early.
func (c *core) applyPlan(t *testing.T, planned corePlan, order func([]string) ([]string, int)) (coreState, error) {
	t.Helper()
	return c.apply(t.Context(), planned, nil, func() termination { return "" }, order)
}

// converge plans and applies a configuration.
func (c *core) converge(t *testing.T, state coreState, config coreConfig, order func([]string) ([]string, int)) coreState {
	t.Helper()
	planned, err := c.plan(t.Context(), state, config, planOptions{}, order)
	if err == nil {
		state, err = c.applyPlan(t, planned, order)
	}
	if err != nil {
		t.Fatal(err)
	}
	return state
}
