package provider

import (
	"slices"
	"sync"

	"github.com/hashicorp/terraform-plugin-framework/diag"

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
// the replaced object. It also does not report that the create is a replacement.
//
//   - With -replace and replace_triggered_by, Terraform plans an update first, which registers
//     its prior state. The plan of the create then has the private data that the plan of the
//     update returned, which shows that it is a replacement.
//   - For a tainted object, Terraform plans only the create, without private data. Read has
//     registered the object as a candidate. The plan of any other object that Terraform reads is
//     an update or a destroy, which discards the candidate. If a create at the same destination
//     was planned in between, what it has derived from the candidate is undone. Terraform 1.9
//     and later plan the destroy of an object before they read it.
//   - While applying, the Delete of a replaced object registers its private state, and the
//     following Create takes it. With create_before_destroy, the Create comes first and finds
//     nothing.
type handovers struct {
	mu         sync.Mutex
	candidates map[string]*replaceCandidate
	discarded  map[string][]privateState // records of objects that are not replaced
	updated    map[string]predecessor
	replaced   map[string]predecessor
}

// replaceCandidate is an object that Read has found, and that Terraform may replace.
type replaceCandidate struct {
	predecessor
	mu        sync.Mutex
	discarded bool
	undo      []func(*diag.Diagnostics)
}

// onDiscard calls undo when the candidate is discarded, with the diagnostics of the plan that
// discards it. If it is already discarded, onDiscard calls undo with diags.
func (c *replaceCandidate) onDiscard(diags *diag.Diagnostics, undo func(*diag.Diagnostics)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.discarded {
		undo(diags)
		return
	}
	c.undo = append(c.undo, undo)
}

// isDiscarded reports whether the object is known not to be replaced.
func (c *replaceCandidate) isDiscarded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.discarded
}

func (c *replaceCandidate) discard(diags *diag.Diagnostics) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.discarded = true
	for _, undo := range c.undo {
		undo(diags)
	}
	c.undo = nil
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

// read registers an object that Terraform may replace, unless its plan is known already. before
// is its record before it was refreshed.
func (h *handovers) read(destination imageref.Ref, before privateState, p predecessor) {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := handoverKey(destination)
	if slices.ContainsFunc(h.discarded[key], before.equal) {
		return
	}
	if h.candidates == nil {
		h.candidates = map[string]*replaceCandidate{}
	}
	h.candidates[key] = &replaceCandidate{predecessor: p}
}

// discard removes the candidate with the given destination and record, because the plan of that
// object is an update or a destroy.
func (h *handovers) discard(destination imageref.Ref, record privateState, diags *diag.Diagnostics) {
	if found := h.takeCandidate(handoverKey(destination), record); found != nil {
		found.discard(diags)
	}
}

func (h *handovers) takeCandidate(key string, record privateState) *replaceCandidate {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.discarded == nil {
		h.discarded = map[string][]privateState{}
	}
	h.discarded[key] = append(h.discarded[key], record.withMaps())
	found := h.candidates[key]
	if found == nil || !found.record.equal(record) {
		return nil
	}
	delete(h.candidates, key)
	return found
}

// update registers the prior state of a planned update, which may become a replacement at the
// given destination.
func (h *handovers) update(destination imageref.Ref, p predecessor) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.updated == nil {
		h.updated = map[string]predecessor{}
	}
	h.updated[handoverKey(destination)] = p
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

// forPlan returns the predecessor for the plan of a create at the given destination. afterUpdate
// reports whether Terraform has planned an update of the same resource before. If the object
// is a candidate, forPlan returns that too.
func (h *handovers) forPlan(destination imageref.Ref, afterUpdate bool) (p predecessor, from *replaceCandidate, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := handoverKey(destination)
	if p, ok = h.replaced[key]; ok {
		return p, nil, true
	}
	if afterUpdate {
		p, ok = h.updated[key]
		return p, nil, ok
	}
	from, ok = h.candidates[key]
	if !ok {
		return predecessor{}, nil, false
	}
	return from.predecessor, from, true
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
