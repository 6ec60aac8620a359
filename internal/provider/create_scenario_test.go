package provider_test

import (
	"fmt"
	"net/http"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"
	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// faultyCopy is a copy between two registries of its own. One of them can start to fail.
type faultyCopy struct {
	src, dst *registrytest.Proxy
	faulty   *registrytest.Proxy // one of the two
	fail     func()              // makes the faulty registry fail
	pushed   registrytest.Pushed
}

func newFaultyCopy(t *testing.T) *faultyCopy {
	t.Helper()
	b := &faultyCopy{
		src: registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{})),
		dst: registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{})),
	}
	b.pushed = b.src.Push(t, "app", "1", registrytest.Image{Seed: "app"})
	return b
}

func (b *faultyCopy) block(name string) string {
	return imageCopy(name, b.pushed.Ref, b.dst.Ref("app", "1"))
}

// uploads returns how often the destination accepted each blob.
func (b *faultyCopy) uploads() map[digest.Digest]int {
	taken := map[digest.Digest]int{}
	for _, r := range b.dst.Requests() {
		if r.Method == http.MethodPut && r.Query.Has("digest") && r.Status == http.StatusCreated {
			taken[digest.Digest(r.Query.Get("digest"))]++
		}
	}
	return taken
}

// TestCreate_ResumesAfterEachFailedRequest lets each request of a create be the first one that
// fails. The state must not contain the resource, and the next apply must continue where the
// failed one stopped.
func TestCreate_ResumesAfterEachFailedRequest(t *testing.T) {
	t.Parallel()
	ws := newWorkspace(t)
	whole := newFaultyCopy(t)
	ws.configure(whole.block("whole"))
	plan := ws.plan()
	whole.src.Forget()
	ws.apply(plan)

	copies, blocks := map[string]*faultyCopy{}, []string{whole.block("whole")}
	for of, proxy := range map[string]func(*faultyCopy) *registrytest.Proxy{
		"source":      func(b *faultyCopy) *registrytest.Proxy { return b.src },
		"destination": func(b *faultyCopy) *registrytest.Proxy { return b.dst },
	} {
		for k := range proxy(whole).Requests() {
			for how, fail := range map[string]func(*registrytest.Rule){
				"answers": func(r *registrytest.Rule) { r.Reply(503, nil, "") },
				"resets":  func(r *registrytest.Rule) { r.Reset() },
			} {
				b, name := newFaultyCopy(t), fmt.Sprintf("%s_%s_%d", of, how, k)
				b.faulty = proxy(b)
				b.fail = func() { fail(b.faulty.On(".*", ".*").After(k)) }
				copies[name], blocks = b, append(blocks, b.block(name))
			}
		}
	}
	ws.configure(blocks...)
	plan = ws.plan()
	for _, c := range copies {
		c.fail()
	}
	result := ws.applyFails(plan)
	created := ws.addresses()
	for name, c := range copies {
		switch held := c.dst.Digest(t, "app", "1"); {
		case created["registry_image_copy."+name]:
			t.Errorf("%s: the resource is in the state", name)
		case held != "" && held != c.pushed.Digest:
			t.Errorf("%s: the tag holds %s", name, held)
		}
		result.wantError(c.faulty.Addr + "/app")
		c.src.Clear()
		c.dst.Clear()
	}

	plan = ws.plan()
	for name := range copies {
		plan.wantAction("registry_image_copy."+name, tfjson.ActionCreate)
	}
	ws.apply(plan)
	ws.wantNoChanges()
	for name, c := range copies {
		registrytest.Same(t, c.pushed.Tree, c.dst.Read(t, "app", "1"))
		for blob, n := range c.uploads() {
			if n > 1 {
				t.Errorf("%s: %s was uploaded %d times", name, blob, n)
			}
		}
	}
}

// addresses returns the addresses of the resources in the state.
func (w *workspace) addresses() map[string]bool {
	w.t.Helper()
	var state tfjson.State
	w.show(&state, "")
	addresses := map[string]bool{}
	if state.Values != nil {
		for _, r := range state.Values.RootModule.Resources {
			addresses[r.Address] = true
		}
	}
	return addresses
}
