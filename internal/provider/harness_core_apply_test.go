package provider_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
)

// termination is how an apply is ended early.
type termination string

const (
	interrupted    termination = "interrupt"        // SIGINT: calls are canceled, their responses count, nothing new starts
	providerKilled termination = "provider killed"  // Terraform gets errors instead of responses and continues
	allKilled      termination = "terraform killed" // the state is what was written before
)

// coreApply is an apply in progress.
type coreApply struct {
	*process
	plan       corePlan
	terminated func() termination // how the apply was ended; "" while it runs
	mu         sync.Mutex
	state      coreState
}

// apply applies a plan in a new provider process and returns the resulting state. ctx ends when
// the apply is interrupted. died reports whether the process was killed, and terminated returns
// how the apply was ended.
func (c *core) apply(ctx context.Context, planned corePlan, died func(name string) bool, terminated func() termination, order func([]string) ([]string, int)) (coreState, error) {
	p, err := c.start(ctx, died)
	if err != nil {
		return nil, err
	}
	a := &coreApply{process: p, plan: planned, terminated: terminated, state: planned.prior.clone()}
	byAddress := map[string][]coreChange{}
	var names []string
	for _, change := range planned.changes {
		if byAddress[change.address] == nil {
			names = append(names, change.address)
		}
		byAddress[change.address] = append(byAddress[change.address], change)
	}
	slices.Sort(names)
	names, parallelism := order(names)
	err = walk(names, parallelism, func(address string) error { return a.applyInstance(address, byAddress[address]) })
	if e := terminated(); e != "" {
		err = errors.Join(err, fmt.Errorf("ended by %s", e))
	}
	return a.state.clone(), err
}

// applyInstance applies all changes of a resource. Objects that an earlier replacement left
// behind are destroyed last, if everything else succeeded.
func (a *coreApply) applyInstance(address string, changes []coreChange) error {
	for _, change := range changes {
		if change.deposed != nil {
			continue
		}
		if err := a.applyCurrent(address, change); err != nil {
			return err
		}
	}
	for _, change := range changes {
		if change.deposed == nil {
			continue
		}
		if err := a.destroyDeposed(address, change.deposed); err != nil {
			return err
		}
	}
	return nil
}

func (a *coreApply) applyCurrent(address string, change coreChange) error {
	if a.terminated() != "" {
		return nil // nothing new starts
	}
	switch change.action {
	case noOp:
		return nil
	case destroy:
		return a.destroyCurrent(address, change)
	case deleteThenCreate:
		if err := a.destroyCurrent(address, change); err != nil || a.terminated() != "" {
			return err
		}
		return a.change(address, change, nil)
	case createThenDelete:
		old := a.get(address).current
		a.set(address, func(i *instance) { i.current, i.deposed = nil, append(i.deposed, old) })
		if err := a.change(address, change, nil); err != nil {
			a.set(address, func(i *instance) {
				if i.current == nil { // otherwise the old object remains deposed
					i.current, i.deposed = old, withoutElement(i.deposed, old)
				}
			})
			return err
		}
		return a.destroyDeposed(address, old)
	default:
		return a.change(address, change, a.get(address).current)
	}
}

func withoutElement[T comparable](all []T, one T) []T {
	return slices.DeleteFunc(slices.Clone(all), func(o T) bool { return o == one })
}

func (a *coreApply) get(address string) instance {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.state[address]
}

// set changes the state. Changes after Terraform was killed are not written.
func (a *coreApply) set(address string, change func(*instance)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.terminated() == allKilled {
		return
	}
	i := a.state[address]
	change(&i)
	a.state[address] = i
}

// change creates or updates an object. Terraform first plans the object again, without passing
// the first plan to the provider.
func (a *coreApply) change(address string, planned coreChange, prior *stateObject) error {
	actual, err := a.planChange(address, prior, a.plan.config[address], false, &planned)
	if a.died() {
		err = errProcessDied
	}
	if err != nil {
		return err
	}
	if actual.action != planned.action && (planned.action != update || actual.action != noOp) {
		return &diagnosticError{address, inconsistentPlan, fmt.Sprintf("the action changed from %s to %s", planned.action, actual.action)}
	}
	if broken := planned.after.mismatches(actual.after); len(broken) > 0 {
		return &diagnosticError{address, inconsistentPlan, strings.Join(broken, "\n")}
	}
	if actual.action == noOp {
		return nil
	}
	before := actual.before
	if prior == nil {
		before = nil
	}
	result, err := a.call(address, before, actual.after, a.plan.config[address].value, actual.private, actual.identity)
	if err == nil && result.value == nil {
		err = &diagnosticError{address, inconsistentResult, "the object is null"}
	}
	if err == nil {
		if broken := actual.after.mismatches(result.value); len(broken) > 0 {
			err = &diagnosticError{address, inconsistentResult, strings.Join(broken, "\n")}
		}
	}
	if result != nil && result.value != nil {
		result.tainted = err != nil && prior == nil
		a.set(address, func(i *instance) { i.current = result })
	}
	return err
}

func (a *coreApply) destroyCurrent(address string, change coreChange) error {
	kept, err := a.destroy(address, a.get(address).current, change)
	a.set(address, func(i *instance) { i.current = kept })
	return err
}

// destroyDeposed destroys an object that was replaced. The destroy is planned again first, in
// the applying process.
func (a *coreApply) destroyDeposed(address string, old *stateObject) error {
	if a.terminated() != "" {
		return nil
	}
	change, err := a.planDestroy(address, old)
	if a.died() {
		err = errProcessDied
	}
	if err != nil {
		return err
	}
	kept, err := a.destroy(address, old, change)
	a.set(address, func(i *instance) {
		i.deposed = withoutElement(i.deposed, old)
		if kept != nil {
			i.deposed = append(i.deposed, kept)
		}
	})
	return err
}

// destroy destroys an object. After an error it returns the object that remains in the state.
func (a *coreApply) destroy(address string, old *stateObject, change coreChange) (kept *stateObject, err error) {
	if old == nil {
		return nil, nil
	}
	result, err := a.call(address, change.before, nil, nil, change.private, change.identity)
	switch {
	case err == nil && result.value != nil:
		return result, &diagnosticError{address, inconsistentResult, "a destroyed object is not null"}
	case err == nil:
		return nil, nil
	case result == nil || result.value == nil:
		return old, err
	}
	result.tainted = old.tainted
	return result, err
}

// call calls ApplyResourceChange. If the provider died, an update keeps the prior value without
// its private state, as in Terraform.
func (a *coreApply) call(address string, before, after, config object, private []byte, identity *tfprotov6.ResourceIdentityData) (*stateObject, error) {
	answer, err := a.server.ApplyResourceChange(a.ctx, &tfprotov6.ApplyResourceChangeRequest{
		TypeName: copyType, PriorState: encode(a.core.resource, before), PlannedState: encode(a.core.resource, after),
		Config: encode(a.core.resource, config), PlannedPrivate: private, PlannedIdentity: identity,
	})
	if a.died() {
		if after == nil {
			return nil, errProcessDied // the state keeps the object
		}
		return &stateObject{value: before}, errProcessDied
	}
	if err != nil {
		return nil, err
	}
	value, err := decode(a.core.resource, answer.NewState)
	if err != nil {
		return nil, err
	}
	err = failure(address, answer.Diagnostics)
	if unknown := value.unknownAttributes(); len(unknown) > 0 {
		err = errors.Join(err, &diagnosticError{address, inconsistentResult, "the new state has unknown values: " + strings.Join(unknown, ", ")})
	}
	return &stateObject{value: value, private: answer.Private, identity: answer.NewIdentity}, err
}
