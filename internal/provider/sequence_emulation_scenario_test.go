package provider_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/opencontainers/go-digest"
)

// emulatedTerraform runs sequences with the emulation of Terraform core.
type emulatedTerraform struct {
	*core
	ctx    context.Context
	w      *fixture
	random *rand.Rand
	state  coreState
}

func newEmulatedTerraform(t *testing.T) func(*fixture, *rand.Rand) terraform {
	c := newCore(t)
	return func(w *fixture, random *rand.Rand) terraform {
		return &emulatedTerraform{core: c, ctx: t.Context(), w: w, random: random, state: coreState{}}
	}
}

// order returns a random order and a random parallelism.
func (e *emulatedTerraform) order(names []string) ([]string, int) {
	e.random.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	return names, pick(e.random, []int{1, 1, 4})
}

func (e *emulatedTerraform) plan(config settings, o planOptions) (plannedRun, error) {
	planned, err := e.core.plan(e.ctx, e.state, config.values(e.w, e.core), o, e.order)
	if err != nil {
		return plannedRun{}, err
	}
	run := plannedRun{copies: map[string]plannedCopy{}, empty: planned.empty(), handle: planned}
	for _, change := range planned.changes {
		if change.deposed == nil {
			run.copies[change.address] = plannedCopy{change.action, digest.Digest(change.after.text("digest")), change.after.text("promoted_reference")}
		}
	}
	return run, nil
}

func (e *emulatedTerraform) apply(run plannedRun) error {
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	e.w.mu.Lock()
	e.w.stop = cancel
	e.w.mu.Unlock()
	planned := run.handle.(corePlan)
	if planned.empty() {
		return nil // the state is not written
	}
	state, err := e.core.apply(ctx, planned, e.w.isDead, e.w.termination, e.order)
	if state != nil {
		e.state = state
	}
	return err
}

func (e *emulatedTerraform) stored() map[string][]storedCopy {
	all := map[string][]storedCopy{}
	for name, one := range e.state {
		for _, object := range append([]*stateObject{one.current}, one.deposed...) {
			if object == nil {
				continue
			}
			target := e.w.parseTag(object.value.text("destination"))
			stored := storedCopy{object.value.text("on_destroy"), digest.Digest(object.value.text("digest")), []tagAt{target}, referenceFamily(object.value.text("destination")), object.tainted}
			for _, tag := range object.value.texts("additional_tags") {
				stored.tags = append(stored.tags, tagAt{target.host, target.repo, tag})
			}
			all[name] = append(all[name], stored)
		}
	}
	return all
}

func (e *emulatedTerraform) taint(name string) {
	if one := e.state[name]; one.current != nil {
		tainted := *one.current
		tainted.tainted = true
		e.state[name] = instance{&tainted, one.deposed}
	}
}

func (e *emulatedTerraform) importTag(_ settings, name, id string) error {
	object, err := e.importObject(e.ctx, name, id)
	if err == nil && object == nil {
		err = errors.New("there is nothing")
	}
	if err == nil {
		e.state[name] = instance{current: object}
	}
	return err
}
