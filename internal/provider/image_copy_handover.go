package provider

import (
	"sync"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/imageref"
)

// predecessor is the destination, policy and record of a resource before its
// destination changed or it was replaced.
type predecessor struct {
	destination imageref.Ref
	onDestroy   string
	record      privateState
}

// handovers give a replacement the record of the object that it replaces, within
// one run. Terraform gives a create neither the prior state nor the private data
// of the replaced object.
//
//   - While planning, Read and the plan of an update register what there is. The
//     plan of a create at the same destination, which follows if Terraform
//     replaces the object, is checked with that.
//   - While applying, the Delete of a replaced object registers it. The Create
//     takes it over. With create_before_destroy the Create comes first and finds
//     nothing.
type handovers struct {
	mu       sync.Mutex
	planned  map[string]predecessor
	replaced map[string]predecessor
}

// in returns the record as it holds in the repository of a destination.
func (p predecessor) in(e *engine, destination imageref.Ref) privateState {
	if e.sameRepository(destination, p.destination) {
		return p.record.withMaps()
	}
	return p.record.elsewhere(e.canonical(destination).Name())
}

// handoverKey identifies a destination by its canonical place.
func handoverKey(destination imageref.Ref) string {
	return destination.Name() + ":" + destination.Tag()
}

// plan registers the predecessor of a resource that gets or keeps a destination by the
// plan.
func (h *handovers) plan(destination imageref.Ref, p predecessor) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.planned == nil {
		h.planned = map[string]predecessor{}
	}
	h.planned[handoverKey(destination)] = p
}

// discard removes what plan registered for a destination, because the plan moves it to
// another one.
func (h *handovers) discard(destination imageref.Ref) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.planned, handoverKey(destination))
}

// replace registers an object that was destroyed to be replaced by one at a
// destination.
func (h *handovers) replace(destination imageref.Ref, p predecessor) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.replaced == nil {
		h.replaced = map[string]predecessor{}
	}
	h.replaced[handoverKey(destination)] = p
}

// forPlan returns what the plan of a create at a destination may count on.
func (h *handovers) forPlan(destination imageref.Ref) (p predecessor, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p, ok = h.replaced[handoverKey(destination)]; !ok {
		p, ok = h.planned[handoverKey(destination)]
	}
	return p, ok
}

// take returns what a create at a destination takes over, once.
func (h *handovers) take(destination imageref.Ref) (p predecessor, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p, ok = h.replaced[handoverKey(destination)]
	delete(h.replaced, handoverKey(destination))
	return p, ok
}

// milder returns the one of two on_destroy values that removes less. The prior value is
// empty after an import.
func milder(a, b string) string {
	for _, policy := range []string{onDestroyRetain, onDestroyUntag} {
		if a == policy || b == policy {
			return policy
		}
	}
	return onDestroyDelete
}
