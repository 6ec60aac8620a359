package provider_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// coreConfig is a configuration by resource name.
type coreConfig map[string]coreResource

type coreResource struct {
	value               object
	createBeforeDestroy bool
}

type action string

const (
	noOp             action = "no-op"
	create           action = "create"
	update           action = "update"
	destroy          action = "delete"
	deleteThenCreate action = "delete, create"
	createThenDelete action = "create, delete"
)

func (a action) replaces() bool { return a == deleteThenCreate || a == createThenDelete }

// coreChange is the planned change of one object.
type coreChange struct {
	address  string
	deposed  *stateObject // nil unless the object is deposed
	action   action
	before   object
	after    object
	private  []byte
	identity *tfprotov6.ResourceIdentityData
}

// corePlan is a plan: the changes to a refreshed state.
type corePlan struct {
	config  coreConfig
	prior   coreState // refreshed
	changes []coreChange
}

func (p corePlan) empty() bool {
	return !slices.ContainsFunc(p.changes, func(c coreChange) bool { return c.action != noOp })
}

// planOptions are arguments of terraform plan.
type planOptions struct {
	destroy   bool // -destroy
	noRefresh bool // -refresh=false
	replace   string
}

// walk calls visit for each name in order, with at most parallelism concurrent calls. It
// returns all errors.
func walk(names []string, parallelism int, visit func(name string) error) error {
	errs := make([]error, len(names))
	slots := make(chan struct{}, parallelism)
	done := make(chan struct{})
	for i, name := range names {
		slots <- struct{}{}
		go func() {
			errs[i] = visit(name)
			<-slots
			done <- struct{}{}
		}()
		if parallelism == 1 {
			<-done
		}
	}
	if parallelism > 1 {
		for range names {
			<-done
		}
	}
	return errors.Join(errs...)
}

// plan plans a configuration. A destroy is planned in two walks: the first one plans the
// configuration to refresh the state.
func (c *core) plan(ctx context.Context, state coreState, config coreConfig, o planOptions, order func([]string) ([]string, int)) (corePlan, error) {
	if o.destroy && !o.noRefresh {
		refreshed, err := c.plan(ctx, state, config, planOptions{}, order)
		if err != nil {
			return corePlan{}, err
		}
		state = refreshed.prior
	}
	p, err := c.start(ctx, nil)
	if err != nil {
		return corePlan{}, err
	}
	planned := corePlan{config: config, prior: state.clone()}
	names := []string{}
	for address := range config {
		names = append(names, address)
	}
	for address := range state {
		if _, is := config[address]; !is {
			names = append(names, address)
		}
	}
	slices.Sort(names)
	names, parallelism := order(names)
	results := make([]corePlan, len(names))
	err = walk(names, parallelism, func(address string) error {
		var err error
		results[slices.Index(names, address)], err = p.planInstance(address, state[address], config, o)
		return err
	})
	for i, result := range results {
		planned.changes = append(planned.changes, result.changes...)
		if refreshed := result.prior[names[i]]; refreshed.empty() {
			delete(planned.prior, names[i])
		} else {
			planned.prior[names[i]] = refreshed
		}
	}
	return planned, err
}

// planInstance refreshes and plans all objects of a resource.
func (p *process) planInstance(address string, stored instance, config coreConfig, o planOptions) (corePlan, error) {
	refreshed := instance{}
	planned := corePlan{prior: coreState{}}
	refresh := func(object *stateObject) (*stateObject, error) {
		object, err := p.upgrade(address, object)
		if err != nil || o.noRefresh || o.destroy {
			return object, err
		}
		return p.refresh(address, object)
	}
	for _, deposed := range stored.deposed {
		object, err := refresh(deposed)
		if err != nil {
			return planned, err
		}
		if object == nil {
			continue
		}
		refreshed.deposed = append(refreshed.deposed, object)
		change, err := p.planDestroy(address, object)
		if err != nil {
			return planned, err
		}
		change.deposed = object
		planned.changes = append(planned.changes, change)
	}
	if stored.current != nil {
		var err error
		if refreshed.current, err = refresh(stored.current); err != nil {
			return planned, err
		}
	}
	planned.prior[address] = refreshed
	resource, configured := config[address]
	var change coreChange
	var err error
	switch {
	case configured && !o.destroy:
		change, err = p.planChange(address, refreshed.current, resource, o.replace == address, nil)
	case refreshed.current != nil:
		change, err = p.planDestroy(address, refreshed.current)
	default:
		return planned, nil
	}
	if err == nil {
		planned.changes = append(planned.changes, change)
	}
	return planned, err
}

// refresh reads an object. It returns nil if the object is gone.
func (p *process) refresh(address string, stored *stateObject) (*stateObject, error) {
	answer, err := p.server.ReadResource(p.ctx, &tfprotov6.ReadResourceRequest{
		TypeName: copyType, CurrentState: encode(p.core.resource, stored.value), Private: stored.private, CurrentIdentity: stored.identity,
	})
	if err := errors.Join(err, failure(address, answer.Diagnostics)); err != nil {
		return nil, err
	}
	value, err := decode(p.core.resource, answer.NewState)
	if err != nil || value == nil {
		return nil, err
	}
	if unknown := value.unknownAttributes(); len(unknown) > 0 {
		return nil, &diagnosticError{address, invalidPlan, "the refreshed state has unknown values: " + strings.Join(unknown, ", ")}
	}
	return &stateObject{value: value, private: answer.Private, identity: answer.NewIdentity, tainted: stored.tainted}, nil
}

// importObject imports an ID as an object of the state, as terraform import does. It returns
// nil if the object does not exist.
func (c *core) importObject(ctx context.Context, address, id string) (*stateObject, error) {
	p, err := c.start(ctx, nil)
	if err != nil {
		return nil, err
	}
	answer, err := p.server.ImportResourceState(ctx, &tfprotov6.ImportResourceStateRequest{TypeName: copyType, ID: id})
	if err := errors.Join(err, failure(address, answer.Diagnostics)); err != nil {
		return nil, err
	}
	imported := answer.ImportedResources[0]
	value, err := decode(c.resource, imported.State)
	if err != nil {
		return nil, err
	}
	return p.refresh(address, &stateObject{value: value, private: imported.Private, identity: imported.Identity})
}

// planDestroy plans the destroy of an object.
func (p *process) planDestroy(address string, stored *stateObject) (coreChange, error) {
	answer, err := p.server.PlanResourceChange(p.ctx, &tfprotov6.PlanResourceChangeRequest{
		TypeName: copyType, Config: encode(p.core.resource, nil), ProposedNewState: encode(p.core.resource, nil),
		PriorState: encode(p.core.resource, stored.value), PriorPrivate: stored.private, PriorIdentity: stored.identity,
	})
	if err := errors.Join(err, failure(address, answer.Diagnostics)); err != nil {
		return coreChange{}, err
	}
	if after, err := decode(p.core.resource, answer.PlannedState); err != nil || after != nil {
		return coreChange{}, &diagnosticError{address, invalidPlan, fmt.Sprintf("a destroy plans %v, %v", after, err)}
	}
	return coreChange{address: address, action: destroy, before: stored.value, private: answer.PlannedPrivate, identity: answer.PlannedIdentity}, nil
}

// planChange plans a resource of the configuration. During an apply, earlier is the first plan.
func (p *process) planChange(address string, stored *stateObject, config coreResource, replace bool, earlier *coreChange) (coreChange, error) {
	validated, err := p.server.ValidateResourceConfig(p.ctx, &tfprotov6.ValidateResourceConfigRequest{TypeName: copyType, Config: encode(p.core.resource, config.value)})
	if err := errors.Join(err, failure(address, validated.Diagnostics)); err != nil {
		return coreChange{}, err
	}
	// A tainted object is planned as a create, which becomes a replacement.
	prior := stored
	if stored == nil || stored.tainted {
		prior = &stateObject{}
	}
	answer, after, err := p.requestPlan(address, prior.value, prior.private, prior.identity, config.value)
	if err != nil {
		return coreChange{}, err
	}
	planned := coreChange{address: address, before: prior.value, after: after, private: answer.PlannedPrivate, identity: answer.PlannedIdentity}
	replacement := deleteThenCreate
	if config.createBeforeDestroy {
		replacement = createThenDelete
	}
	switch {
	case prior.value == nil:
		planned.action = create
	case replace || requiresReplace(prior.value, after, answer.RequiresReplace):
		planned.action = replacement
		// Plan the new object again, without the prior object but with the private state of the
		// first response.
		if answer, planned.after, err = p.requestPlan(address, nil, answer.PlannedPrivate, answer.PlannedIdentity, config.value); err != nil {
			return coreChange{}, err
		}
		planned.private, planned.identity = answer.PlannedPrivate, answer.PlannedIdentity
	case after.equal(prior.value):
		planned.action = noOp
	default:
		planned.action = update
	}
	if planned.action == create && stored != nil {
		planned.action, planned.before = replacement, stored.value
	}
	if earlier != nil && earlier.action.replaces() && planned.action == create {
		planned.action, planned.before = earlier.action, earlier.before
	}
	return planned, nil
}

// requestPlan proposes a new state to the provider and checks the response.
func (p *process) requestPlan(address string, prior object, private []byte, identity *tfprotov6.ResourceIdentityData, config object) (*tfprotov6.PlanResourceChangeResponse, object, error) {
	proposed := object{}
	for name, value := range config {
		if proposed[name] = value; value.IsNull() && p.core.computed[name] && prior != nil {
			proposed[name] = prior[name]
		}
	}
	answer, err := p.server.PlanResourceChange(p.ctx, &tfprotov6.PlanResourceChangeRequest{
		TypeName: copyType, Config: encode(p.core.resource, config), ProposedNewState: encode(p.core.resource, proposed),
		PriorState: encode(p.core.resource, prior), PriorPrivate: private, PriorIdentity: identity,
	})
	if err := errors.Join(err, failure(address, answer.Diagnostics)); err != nil {
		return nil, nil, err
	}
	after, err := decode(p.core.resource, answer.PlannedState)
	if err != nil {
		return nil, nil, err
	}
	for name, planned := range after {
		configured := config[name]
		kept := prior != nil && !prior[name].IsNull() && !configured.IsNull() && sameValue(planned, prior[name])
		chosen := configured.IsNull() && p.core.computed[name]
		if !sameValue(planned, configured) && !kept && !chosen {
			return nil, nil, &diagnosticError{address, invalidPlan, fmt.Sprintf("%s: planned %s, configured %s", name, planned, configured)}
		}
	}
	return answer, after, nil
}

// requiresReplace reports whether an attribute that cannot be updated in place changes.
func requiresReplace(prior, after object, paths []*tftypes.AttributePath) bool {
	return slices.ContainsFunc(paths, func(path *tftypes.AttributePath) bool {
		name, is := path.Steps()[0].(tftypes.AttributeName)
		return is && !sameValue(prior[string(name)], after[string(name)])
	})
}
