package provider

import (
	"sync"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/imageref"
)

// predecessor is the destination, policy and private state that a resource had before its
// destination changed or it was replaced.
type predecessor struct {
	destination imageref.Ref
	onDestroy   string
	record      privateState
}

// handovers passes the private state of a replaced object to its replacement within one run.
// When Terraform creates an object, it provides neither the prior state nor the private data of
// the replaced object.
//
//   - While planning, Read and the plan of an update register the current private state. If
//     Terraform replaces the object, it then plans a create at the same destination, which
//     uses that state.
//   - While applying, the Delete of a replaced object registers its private state, and the
//     following Create takes it. With create_before_destroy, the Create comes first and finds
//     nothing.
type handovers struct {
	mu       sync.Mutex
	planned  map[string]predecessor
	replaced map[string]predecessor
}

// forDestination returns the parts of the private state that apply to the repository of
// destination.
func (p predecessor) forDestination(e *engine, destination imageref.Ref) privateState {
	if e.sameRepository(destination, p.destination) {
		return p.record.withMaps()
	}
	return p.record.forOtherRepository(e.canonical(destination).Name())
}

// handoverKey returns the map key of a canonical destination.
func handoverKey(destination imageref.Ref) string {
	return destination.Name() + ":" + destination.Tag()
}

// plan registers the predecessor of a resource that has the given destination in the plan.
func (h *handovers) plan(destination imageref.Ref, p predecessor) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.planned == nil {
		h.planned = map[string]predecessor{}
	}
	h.planned[handoverKey(destination)] = p
}

// discard removes what plan registered for a destination, because the plan moves the resource
// to another one.
func (h *handovers) discard(destination imageref.Ref) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.planned, handoverKey(destination))
}

// replace registers an object that was destroyed to be replaced by one at the given
// destination.
func (h *handovers) replace(destination imageref.Ref, p predecessor) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.replaced == nil {
		h.replaced = map[string]predecessor{}
	}
	h.replaced[handoverKey(destination)] = p
}

// forPlan returns the predecessor for the plan of a create at the given destination.
func (h *handovers) forPlan(destination imageref.Ref) (p predecessor, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p, ok = h.replaced[handoverKey(destination)]; !ok {
		p, ok = h.planned[handoverKey(destination)]
	}
	return p, ok
}

// take returns the predecessor for a create at the given destination, and removes it.
func (h *handovers) take(destination imageref.Ref) (p predecessor, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p, ok = h.replaced[handoverKey(destination)]
	delete(h.replaced, handoverKey(destination))
	return p, ok
}

// milder returns the on_destroy value that removes less. The prior value is empty after an
// import.
func milder(a, b string) string {
	for _, policy := range []string{onDestroyRetain, onDestroyUntag} {
		if a == policy || b == policy {
			return policy
		}
	}
	return onDestroyDelete
}
