package provider_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// TestManifestWarning_MatchesApply checks that the plan warns that the old manifest is deleted
// exactly if the apply deletes it.
func TestManifestWarning_MatchesApply(t *testing.T) {
	t.Parallel()
	const sentence = "It deletes their manifests too"
	for name, change := range map[string]struct {
		config   func(config object, src, dst *registrytest.Registry)
		later    func(config object, src *registrytest.Registry) // when the source becomes known
		policy   string
		replaced bool
		deleted  bool
	}{
		"next_version": {policy: "delete", deleted: true, config: func(config object, src, dst *registrytest.Registry) {
			config["source"], config["destination"] = text(src.Ref("app", "2")), text(dst.Ref("app", "2"))
		}},
		"next_version_known_later": {policy: "delete", deleted: true, config: func(config object, _, dst *registrytest.Registry) {
			config["source"], config["destination"] = unknownText, text(dst.Ref("app", "2"))
		}, later: func(config object, src *registrytest.Registry) { config["source"] = text(src.Ref("app", "2")) }},
		"next_version_replaced": {policy: "delete", replaced: true, deleted: true, config: func(config object, src, dst *registrytest.Registry) {
			config["source"], config["destination"] = text(src.Ref("app", "2")), text(dst.Ref("app", "2"))
		}},
		"next_version_untagged": {policy: "untag", config: func(config object, src, dst *registrytest.Registry) {
			config["source"], config["destination"] = text(src.Ref("app", "2")), text(dst.Ref("app", "2"))
		}},
		"same_digest_other_tag": {policy: "delete", config: func(config object, _, dst *registrytest.Registry) {
			config["destination"] = text(dst.Ref("app", "2"))
		}},
		"same_digest_other_tag_replaced": {policy: "delete", replaced: true, config: func(config object, _, dst *registrytest.Registry) {
			config["destination"] = text(dst.Ref("app", "2"))
		}},
		"other_repository": {policy: "delete", deleted: true, config: func(config object, _, dst *registrytest.Registry) {
			config["destination"] = text(dst.Ref("moved", "1"))
		}},
		"other_repository_replaced": {policy: "delete", replaced: true, deleted: true, config: func(config object, _, dst *registrytest.Registry) {
			config["destination"] = text(dst.Ref("moved", "1"))
		}},
		"tag_dropped": {policy: "delete", config: func(config object, _, _ *registrytest.Registry) {
			config["additional_tags"] = textSet()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, dst := registrytest.V3(t), registrytest.V3(t)
			pushed := src.Push(t, "app", "1", registrytest.Image{Seed: "first"})
			src.Push(t, "app", "2", registrytest.Image{Seed: "second"})
			c, order := newCore(t), inOrder("app")
			config := func() coreResource {
				return c.copyOf(pushed.Ref, dst.Ref("app", "1"), object{"on_destroy": text(change.policy), "additional_tags": textSet("stable")})
			}
			state := c.converge(t, coreState{}, coreConfig{"app": config()}, order)
			next := config()
			change.config(next.value, src, dst)

			p, err := c.start(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			object := state["app"].current
			answer, _, err := p.requestPlan("app", object.value, object.private, object.identity, next.value)
			if err == nil && change.replaced {
				answer, _, err = p.requestPlan("app", nil, answer.PlannedPrivate, answer.PlannedIdentity, next.value)
			}
			if err != nil {
				t.Fatal(err)
			}
			warned := slices.ContainsFunc(answer.Diagnostics, func(d *tfprotov6.Diagnostic) bool { return strings.Contains(d.Detail, sentence) })
			if warned != change.deleted {
				t.Errorf("the plan warns that manifests are deleted: %t, want %t", warned, change.deleted)
			}

			options := planOptions{}
			if change.replaced {
				options.replace = "app"
			}
			planned, err := c.plan(t.Context(), state, coreConfig{"app": next}, options, order)
			if err != nil {
				t.Fatal(err)
			}
			if change.later != nil {
				change.later(next.value, src)
			}
			if _, err = c.applyPlan(t, planned, order); err != nil {
				t.Fatal(err)
			}
			if deleted := !dst.HasManifest(t, "app", string(pushed.Digest)); deleted != change.deleted {
				t.Errorf("the apply deletes the manifest: %t, want %t", deleted, change.deleted)
			}
		})
	}
}
