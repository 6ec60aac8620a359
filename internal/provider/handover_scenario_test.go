package provider_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// interleavings are the orders in which Terraform may refresh and plan an existing object, and
// plan the create of another resource with the same destination.
var interleavings = map[string][]string{
	"create_last":    {"refresh", "plan", "create"},
	"create_first":   {"create", "refresh", "plan"},
	"create_between": {"refresh", "create", "plan"},
	// Terraform 1.9 and later plan a destroy before they refresh the object.
	"plan_before_refresh": {"plan", "refresh", "create"},
}

// planned is the result of planning the existing object and the create.
type plannedPair struct {
	existing coreChange
	create   *tfprotov6.PlanResourceChangeResponse
	err      error
}

// planPair plans the create of a resource at the destination of an existing object, in one of
// the interleavings. The existing object is destroyed if it has no configuration.
func planPair(t *testing.T, c *core, steps []string, existing *stateObject, configured *coreResource, created coreResource) (pair plannedPair) {
	t.Helper()
	p, err := c.start(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range steps {
		var err error
		switch step {
		case "refresh":
			existing, err = p.refresh("existing", existing)
			if existing == nil && err == nil {
				t.Fatal("the object is gone")
			}
		case "plan":
			if configured == nil {
				pair.existing, err = p.planDestroy("existing", existing)
			} else {
				pair.existing, err = p.planChange("existing", existing, *configured, false, nil)
			}
		case "create":
			pair.create, _, err = p.requestPlan("created", nil, nil, nil, created.value)
		}
		pair.err = errors.Join(pair.err, err)
	}
	return pair
}

// TestHandover_RenameWithoutOverwrite checks that the plan of a renamed resource is refused in
// any order if overwrite is false and the source has moved. Whether Terraform refreshes the old
// object before it plans the new one must not decide that.
func TestHandover_RenameWithoutOverwrite(t *testing.T) {
	t.Parallel()
	for name, steps := range interleavings {
		for _, policy := range []string{"retain", "untag", "delete"} {
			for _, remains := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/old_resource_%t", name, policy, remains), func(t *testing.T) {
					t.Parallel()
					src, dst := registrytest.V3(t), registrytest.V3(t)
					src.Push(t, "app", "1", registrytest.Image{Seed: "first"})
					c := newCore(t)
					configured := c.copyOf(src.Ref("app", "1"), dst.Ref("app", "1"), object{"overwrite": boolean(false), "on_destroy": text(policy)})
					state := c.converge(t, coreState{}, coreConfig{"existing": configured}, inOrder("existing"))
					src.Push(t, "app", "1", registrytest.Image{Seed: "second"})
					var left *coreResource
					if remains {
						left = &configured
					}
					pair := planPair(t, c, steps, state["existing"].current, left, configured)
					var refused *diagnosticError
					if !errors.As(pair.err, &refused) || refused.summary != "Tag Has Another Digest" || !strings.Contains(refused.detail, "use a moved block") {
						t.Errorf("error = %v, want the tag refused", pair.err)
					}
				})
			}
		}
	}
}

// TestHandover_RenameAppliedWithoutOverwrite checks that the apply of a renamed resource is
// refused in any order if the digest is known only then, and that the tag stays.
func TestHandover_RenameAppliedWithoutOverwrite(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"retain", "untag", "delete"} {
		for _, first := range []string{"old", "new"} {
			t.Run(policy+"/"+first+"_first", func(t *testing.T) {
				t.Parallel()
				src, dst := registrytest.V3(t), registrytest.V3(t)
				pushed := src.Push(t, "app", "1", registrytest.Image{Seed: "first"})
				src.Push(t, "app", "2", registrytest.Image{Seed: "second"})
				c, order := newCore(t), inOrder("old", "new")
				if first == "new" {
					order = inOrder("new", "old")
				}
				arguments := object{"overwrite": boolean(false), "on_destroy": text(policy)}
				state := c.converge(t, coreState{}, coreConfig{"old": c.copyOf(pushed.Ref, dst.Ref("app", "1"), arguments)}, order)
				config := coreConfig{"new": c.copyOf("", dst.Ref("app", "1"), arguments)}
				config["new"].value["source"] = unknownText
				planned, err := c.plan(t.Context(), state, config, planOptions{}, order)
				if err != nil {
					t.Fatal(err)
				}
				config["new"].value["source"] = text(src.Ref("app", "2"))
				_, err = c.applyPlan(t, planned, order)
				if err == nil || !strings.Contains(err.Error(), "which this resource has no record of writing") {
					t.Errorf("apply error = %v, want the tag refused", err)
				}
				registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "1"))
			})
		}
	}
}

// TestHandover_SecondResource checks that a new resource at the destination of an existing one
// does not change the plan of the existing one, whichever is planned first.
func TestHandover_SecondResource(t *testing.T) {
	t.Parallel()
	for name, steps := range interleavings {
		for _, policy := range []string{"retain", "untag", "delete"} {
			t.Run(name+"/"+policy, func(t *testing.T) {
				t.Parallel()
				src, dst := registrytest.V3(t), registrytest.V3(t)
				pushed := src.Push(t, "app", "1", registrytest.Image{Seed: "app"})
				c := newCore(t)
				existing := c.copyOf(pushed.Ref, dst.Ref("app", "1"), object{"on_destroy": text(policy), "additional_tags": textSet("stable")})
				state := c.converge(t, coreState{}, coreConfig{"existing": existing}, inOrder("existing"))
				pair := planPair(t, c, steps, state["existing"].current, &existing, c.copyOf(pushed.Ref, dst.Ref("app", "1"), object{"on_destroy": text(policy)}))
				if pair.err != nil {
					t.Fatal(pair.err)
				}
				if pair.existing.action != noOp {
					t.Errorf("the existing resource is planned as %q, want no changes", pair.existing.action)
				}
				// Between refresh and plan, the existing object cannot be distinguished from a
				// tainted one. The warning says what applies to which.
				for _, d := range pair.create.Diagnostics {
					if name != "create_between" || !strings.Contains(d.Detail, "If this resource replaces that object") {
						t.Errorf("the create has an unexpected diagnostic: %s", d.Detail)
					}
				}
			})
		}
	}
}

// TestHandover_SecondResourceWarnings checks that the create has no warnings of the removal of
// tags if the existing object is planned while the create is resolving its source.
func TestHandover_SecondResourceWarnings(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.Image{Seed: "app"})
	slow := registrytest.Intercept(t, src)
	c := newCore(t)
	config := c.copyOf(pushed.Ref, dst.Ref("app", "1"), object{"on_destroy": text("untag"), "additional_tags": textSet("stable")})
	state := c.converge(t, coreState{}, coreConfig{"existing": config}, inOrder("existing"))
	p, err := c.start(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	existing, err := p.refresh("existing", state["existing"].current)
	if err != nil {
		t.Fatal(err)
	}
	slow.On(".*", "/v2/app/manifests/1").Do(func(answer http.ResponseWriter, r *http.Request, next http.Handler) {
		if _, err := p.planChange("existing", existing, config, false, nil); err != nil {
			t.Error(err)
		}
		next.ServeHTTP(answer, r)
	})
	created := c.copyOf(slow.Ref("app", "1"), dst.Ref("app", "1"), object{"on_destroy": text("untag")})
	answer, _, err := p.requestPlan("created", nil, nil, nil, created.value)
	if err != nil {
		t.Fatal(err)
	}
	if len(answer.Diagnostics) > 0 {
		t.Errorf("the create has diagnostics: %v", answer.Diagnostics[0])
	}
}

// TestHandover_Terraform renames a resource and adds a second resource at one destination.
func TestHandover_Terraform(t *testing.T) {
	t.Parallel()
	for name, arguments := range map[string][]string{"sequential": {"-parallelism=1"}, "concurrent": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, dst := registrytest.V3(t), registrytest.V3(t)
			src.Push(t, "app", "1", registrytest.Image{Seed: "first"})
			ws := newWorkspace(t)
			block := func(name string) string {
				return imageCopy(name, src.Ref("app", "1"), dst.Ref("app", "1"), noOverwrite, `on_destroy = "untag"`)
			}
			ws.converge(block("old"))
			ws.configure(block("old"), block("app"))
			ws.plan(arguments...).wantNoWarnings()

			src.Push(t, "app", "1", registrytest.Image{Seed: "second"})
			ws.configure(block("app"))
			ws.planFails(arguments...).wantError("Tag Has Another Digest", "use a moved block")
			ws.converge(block("app"), "moved {\n  from = registry_image_copy.old\n  to   = registry_image_copy.app\n}")
		})
	}
}
