package provider_test

import (
	"fmt"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// TestFailedMove_DroppedTag changes the destination, which fails after an additional tag was
// written to the new repository, and then takes that tag off the list. The next apply completes
// the change, and leaves nothing to plan.
func TestFailedMove_DroppedTag(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"retain", "untag", "delete"} {
		for _, outcome := range []string{"removed", "moved_by_another_client", "not_removable", "listed_by_another_resource"} {
			t.Run(fmt.Sprintf("%s/%s", policy, outcome), func(t *testing.T) {
				t.Parallel()
				src, dst := registrytest.V3(t), registrytest.V3(t)
				pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
				proxy := registrytest.Intercept(t, dst)
				c, order := newCore(t), inOrder("app", "other")
				config := func(repository string, tags ...string) coreConfig {
					all := coreConfig{"app": c.copyOf(pushed.Ref, proxy.Ref(repository, "1"), object{"on_destroy": text(policy), "additional_tags": textSet(tags...)})}
					if outcome == "listed_by_another_resource" && len(tags) == 0 {
						all["other"] = c.copyOf(pushed.Ref, proxy.Ref("moved", "stable"), nil)
					}
					return all
				}
				state := c.converge(t, coreState{}, config("app", "stable"), order)
				planned, err := c.plan(t.Context(), state, config("moved", "stable"), planOptions{}, order)
				if err != nil {
					t.Fatal(err)
				}
				proxy.On("PUT", ".*/moved/manifests/1").Reply(403, nil, "")
				if state, err = c.applyPlan(t, planned, order); err == nil {
					t.Fatal("the apply succeeded")
				}
				proxy.Clear()
				assertTags(t, dst, "moved", "stable")

				left := []string{"1"}
				switch {
				case outcome == "moved_by_another_client":
					dst.Push(t, "moved", "stable", registrytest.Image{Seed: "theirs"})
					left = append(left, "stable")
				case outcome == "not_removable":
					proxy.On("DELETE", ".*/moved/.*").Reply(405, nil, `{"errors":[{"code":"UNSUPPORTED"}]}`)
					left = append(left, "stable")
				case outcome == "listed_by_another_resource" || policy == "retain":
					left = append(left, "stable")
				}
				state = c.converge(t, state, config("moved"), order)
				planned, err = c.plan(t.Context(), state, config("moved"), planOptions{}, order)
				if err != nil {
					t.Fatal(err)
				}
				if !planned.empty() {
					t.Errorf("the plan after the apply has changes: %+v", planned.changes[0].after)
				}
				assertTags(t, dst, "moved", left...)
			})
		}
	}
}

// TestFailedMove_Warning checks that the plan warns of the tag that the failed change wrote.
func TestFailedMove_Warning(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	proxy := registrytest.Intercept(t, dst)
	block := func(repository, tags string) string {
		return imageCopy("app", pushed.Ref, proxy.Ref(repository, "1"), `on_destroy = "untag"`, "additional_tags = "+tags)
	}
	ws := newWorkspace(t)
	ws.converge(block("app", `["stable"]`))
	ws.configure(block("moved", `["stable"]`))
	proxy.On("PUT", ".*/moved/manifests/1").Reply(403, nil, "")
	ws.applyFails(ws.plan())
	proxy.Clear()
	ws.configure(block("moved", `[]`))
	plan := ws.plan()
	plan.wantWarning("Old Tags Will Be Removed", proxy.Addr+"/app")
	plan.wantWarning("Tags No Longer Listed", proxy.Addr+"/moved", ": stable.")
	ws.apply(plan)
	ws.wantNoChanges()
	assertTags(t, dst, "moved", "1")
	assertTags(t, dst, "app")
}
