package provider_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// planFailures are reasons for which a plan fails during apply. The source of the resource was
// unknown in the first plan.
var planFailures = map[string]func(failing *registrytest.Proxy, c *core, config object){
	"unauthorized": func(failing *registrytest.Proxy, _ *core, _ object) {
		failing.On(".*", ".*").Reply(401, nil, `{"errors":[{"code":"UNAUTHORIZED"}]}`)
	},
	"missing_source": func(failing *registrytest.Proxy, _ *core, config object) {
		config["source"] = text(failing.Ref("app", "none"))
	},
	"missing_platform": func(_ *registrytest.Proxy, _ *core, config object) {
		config["platforms"] = textSet("linux/s390x")
	},
	"invalid_source": func(_ *registrytest.Proxy, _ *core, config object) {
		config["source"] = text("https://")
	},
	"source_is_destination": func(_ *registrytest.Proxy, _ *core, config object) {
		config["source"] = config["destination"]
	},
	"invalid_timeout": func(_ *registrytest.Proxy, c *core, config object) {
		of := c.resource.AttributeTypes["timeouts"].(tftypes.Object)
		values := map[string]tftypes.Value{}
		for name, attribute := range of.AttributeTypes {
			values[name] = tftypes.NewValue(attribute, nil)
		}
		values["read"] = text("soon")
		config["timeouts"] = tftypes.NewValue(of, values)
	},
}

// tagRemovals are changes that make a resource remove its additional tag stable. A removal
// without a configuration destroys the resource. respell changes the spelling of the host of
// another resource that lists the tag.
var tagRemovals = map[string]struct {
	configured bool
	change     func(config object, dst *registrytest.Registry)
	respell    [2]string
}{
	"destroyed":        {},
	"dropped":          {configured: true, change: func(config object, _ *registrytest.Registry) { config["additional_tags"] = textSet() }},
	"other_repository": {configured: true, change: func(config object, dst *registrytest.Registry) { config["destination"] = text(dst.Ref("moved", "1")) }},
	"other_tag": {configured: true, change: func(config object, dst *registrytest.Registry) {
		config["destination"], config["additional_tags"] = text(dst.Ref("app", "2")), textSet()
	}},
	"other_spelling": {respell: [2]string{"127.0.0.1:", "127.0.0.1:0"}},
	"alias":          {respell: [2]string{"127.0.0.1:", "localhost:"}},
}

// TestFailedPlan_KeepsListedTags checks that a tag that a resource lists stays if the plan that
// Terraform repeats during apply fails, whatever the reason and whether another resource
// removes the tag before or after that plan.
func TestFailedPlan_KeepsListedTags(t *testing.T) {
	t.Parallel()
	for failure, fail := range planFailures {
		for removal, remove := range tagRemovals {
			for _, policy := range []string{"untag", "delete"} {
				for _, first := range []string{"removal", "plan"} {
					t.Run(fmt.Sprintf("%s/%s/%s/%s_first", failure, removal, policy, first), func(t *testing.T) {
						t.Parallel()
						src, dst := registrytest.V3(t), registrytest.V3(t)
						pushed := src.Push(t, "app", "1", registrytest.Image{Seed: "app"})
						failing := registrytest.Intercept(t, src)
						c, order := newCore(t), inOrder("old", "new")
						if first == "plan" {
							order = inOrder("new", "old")
						}
						old := func() coreResource {
							return c.copyOf(pushed.Ref, dst.Ref("app", "1"), object{"on_destroy": text(policy), "additional_tags": textSet("stable")})
						}
						state := c.converge(t, coreState{}, coreConfig{"old": old()}, order)

						destination := dst.Ref("app", "stable")
						if remove.respell[0] != "" {
							destination = strings.Replace(destination, remove.respell[0], remove.respell[1], 1)
						}
						config := coreConfig{"new": c.copyOf("", destination, object{"source": unknownText, "on_destroy": text(policy)})}
						if remove.configured {
							changed := old()
							remove.change(changed.value, dst)
							config["old"] = changed
						}
						planned, err := c.plan(t.Context(), state, config, planOptions{}, order)
						if err != nil {
							t.Fatal(err)
						}
						config["new"].value["source"] = text(failing.Ref("app", "1"))
						fail(failing, c, config["new"].value)
						if _, err = c.applyPlan(t, planned, order); err == nil {
							t.Fatal("the apply succeeded")
						}
						registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "stable"))
						// A tag that is not listed is removed all the same.
						if removed := !slices.Contains(dst.Tags(t, "app"), "1"); removed != (removal != "dropped") {
							t.Errorf("tag 1 is removed: %t", removed)
						}
					})
				}
			}
		}
	}
}

// TestFailedPlan_DoesNotKeepOwnTags checks that a resource still removes a tag that it no
// longer lists after its own plan has listed others, and after an apply that failed.
func TestFailedPlan_DoesNotKeepOwnTags(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"untag", "delete"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			src, dst := registrytest.V3(t), registrytest.V3(t)
			pushed := src.Push(t, "app", "1", registrytest.Image{Seed: "app"})
			c, order := newCore(t), inOrder("one", "two")
			config := func(destination string, tags ...string) coreConfig {
				others := object{"on_destroy": text(policy), "additional_tags": textSet(tags...)}
				return coreConfig{"one": c.copyOf(pushed.Ref, destination, others), "two": c.copyOf(pushed.Ref, dst.Ref("app", "two"), others)}
			}
			state := c.converge(t, coreState{}, config(dst.Ref("app", "1"), "shared", "old"), order)
			assertTags(t, dst, "app", "1", "two", "shared", "old")
			state = c.converge(t, state, config(dst.Ref("app", "1"), "shared"), order)
			assertTags(t, dst, "app", "1", "two", "shared")
			state = c.converge(t, state, config(dst.Ref("app", "2")), order)
			assertTags(t, dst, "app", "2", "two")
			c.converge(t, state, coreConfig{}, order)
			assertTags(t, dst, "app")
		})
	}
}

// TestFailedPlan_ShiftedList removes the first element of the list that count is computed from,
// so that each resource takes over the destination of the next one. The source of one of them
// refuses access during the apply.
func TestFailedPlan_ShiftedList(t *testing.T) {
	t.Parallel()
	for name, arguments := range map[string][]string{"sequential": {"-parallelism=1"}, "concurrent": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, dst := registrytest.V3(t), registrytest.V3(t)
			trees := map[string]registrytest.Tree{}
			for _, app := range []string{"a", "b", "c"} {
				trees[app] = src.Push(t, app, "1", registrytest.Image{Seed: app}).Tree
			}
			failing := registrytest.Intercept(t, src)
			counted := func(list string) []string {
				return []string{
					"locals {\n  apps = " + list + "\n}",
					imageCopy("app", failing.Addr+"/${local.apps[count.index]}:1", dst.Addr+"/${local.apps[count.index]}:1", "count = length(local.apps)", `on_destroy = "delete"`),
				}
			}
			ws := newWorkspace(t)
			ws.converge(counted(`["a", "b", "c"]`)...)
			ws.configure(counted(`["b", "c"]`)...)
			plan := ws.plan()
			failing.On(".*", "/v2/b/.*").Reply(401, nil, `{"errors":[{"code":"UNAUTHORIZED"}]}`)
			if o := ws.run(append(append([]string{"apply", "-json", "-input=false"}, arguments...), plan.file)...); !o.failed {
				t.Fatalf("the apply succeeded:\n%s", o.text)
			}
			for _, app := range []string{"b", "c"} {
				registrytest.Same(t, trees[app], dst.Read(t, app, "1"))
			}
			failing.Clear()
			ws.apply(ws.plan())
			ws.wantNoChanges()
			assertTags(t, dst, "a")
		})
	}
}

// TestFailedPlan_IgnoredChanges checks that the tags of the plan are kept, which differ from
// those of the configuration with ignore_changes.
func TestFailedPlan_IgnoredChanges(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.Image{Seed: "app"})
	failing := registrytest.Intercept(t, src)
	configured := func(dropped, kept, more string) []string {
		return []string{
			imageCopy("dropping", pushed.Ref, dst.Ref("app", "1"), `on_destroy = "untag"`, "additional_tags = "+dropped),
			imageCopy("keeping", failing.Ref("app", "1"), dst.Ref("app", "2"), "additional_tags = "+kept, more, "depends_on = [registry_image_copy.dropping]", "lifecycle {\n    ignore_changes = [additional_tags]\n  }"),
		}
	}
	ws := newWorkspace(t)
	ws.converge(configured(`["stable"]`, `["stable"]`, "")...)
	ws.configure(configured(`[]`, `[]`, "platforms = [\"linux/amd64\"]")...)
	plan := ws.plan()
	failing.On(".*", ".*").Reply(401, nil, `{"errors":[{"code":"UNAUTHORIZED"}]}`)
	ws.applyFails(plan).wantWarning("Tags Restored From Destination", "stable")
	registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "stable"))
}
