package provider_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// tagReleases are updates within one repository that keep one tag of the image and remove
// another one.
var tagReleases = map[string]struct {
	before, after       string // tags of the destination
	tagsBefore, dropped []string
}{
	"destination_becomes_additional_tag": {before: "1.4", tagsBefore: []string{"stable"}, after: "stable", dropped: []string{"1.4"}},
	"additional_tag_dropped":             {before: "stable", tagsBefore: []string{"old"}, after: "stable", dropped: []string{"old"}},
}

// TestLastTag_CheckedBeforeRemoval checks that an update within one repository writes its tags,
// or fails, before it removes others, if another client removes or moves a tag after the last
// refresh. Otherwise the image loses its last tag.
func TestLastTag_CheckedBeforeRemoval(t *testing.T) {
	t.Parallel()
	for name, release := range tagReleases {
		for _, policy := range []string{"untag", "delete"} {
			for _, change := range []string{"removed", "moved", "moved_without_overwrite", "none"} {
				for _, noRefresh := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s/%s/%s/refresh_%t", name, policy, change, !noRefresh), func(t *testing.T) {
						t.Parallel()
						src, dst := registrytest.V3(t), registrytest.V3(t)
						pushed := src.Push(t, "app", "1", registrytest.Image{Seed: "app"})
						c, order := newCore(t), inOrder("app")
						config := func(tag string, tags ...string) coreConfig {
							others := object{"on_destroy": text(policy), "additional_tags": textSet(tags...)}
							if change == "moved_without_overwrite" {
								others["overwrite"] = boolean(false)
							}
							return coreConfig{"app": c.copyOf(pushed.Ref, dst.Ref("app", tag), others)}
						}
						state := c.converge(t, coreState{}, config(release.before, release.tagsBefore...), order)
						var theirs registrytest.Tree
						disturb := func() {
							switch change {
							case "removed":
								dst.DeleteTag(t, "app", release.after)
							case "moved", "moved_without_overwrite":
								theirs = dst.Push(t, "app", release.after, registrytest.Image{Seed: "theirs"}).Tree
							}
						}
						if noRefresh {
							disturb()
						}
						planned, err := c.plan(t.Context(), state, config(release.after), planOptions{noRefresh: noRefresh}, order)
						if err != nil {
							t.Fatal(err)
						}
						if !noRefresh {
							disturb()
						}
						_, err = c.applyPlan(t, planned, order)
						if change == "moved_without_overwrite" {
							if err == nil {
								t.Error("the apply succeeded")
							}
							registrytest.Same(t, theirs, dst.Read(t, "app", release.after))
							registrytest.Same(t, pushed.Tree, dst.Read(t, "app", release.dropped[0]))
							return
						}
						if err != nil {
							t.Fatal(err)
						}
						registrytest.Same(t, pushed.Tree, dst.Read(t, "app", release.after))
						for _, tag := range release.dropped {
							if slices.Contains(dst.Tags(t, "app"), tag) {
								t.Errorf("tag %s is still there", tag)
							}
						}
					})
				}
			}
		}
	}
}

// TestLastTag_NewDestinationChecked checks that a changed destination is checked even if no tag
// is removed.
func TestLastTag_NewDestinationChecked(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.Image{Seed: "app"})
	c, order := newCore(t), inOrder("app")
	config := func(tag string, tags ...string) coreConfig {
		return coreConfig{"app": c.copyOf(pushed.Ref, dst.Ref("app", tag), object{"additional_tags": textSet(tags...)})}
	}
	state := c.converge(t, coreState{}, config("1.4", "stable"), order)
	planned, err := c.plan(t.Context(), state, config("stable"), planOptions{}, order)
	if err != nil {
		t.Fatal(err)
	}
	dst.DeleteTag(t, "app", "stable")
	if _, err = c.applyPlan(t, planned, order); err != nil {
		t.Fatal(err)
	}
	assertTags(t, dst, "app", "1.4", "stable")
}

// TestLastTag_Requests checks that an update that removes no tags still sends no requests.
func TestLastTag_Requests(t *testing.T) {
	t.Parallel()
	src := registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.Image{Seed: "app"})
	dst := registrytest.Intercept(t, registrytest.V3(t))
	c, order := newCore(t), inOrder("app")
	config := func(policy string) coreConfig {
		return coreConfig{"app": c.copyOf(pushed.Ref, dst.Ref("app", "1"), object{"on_destroy": text(policy), "additional_tags": textSet("stable")})}
	}
	state := c.converge(t, coreState{}, config("untag"), order)
	planned, err := c.plan(t.Context(), state, config("delete"), planOptions{}, order)
	if err != nil {
		t.Fatal(err)
	}
	dst.Forget()
	if _, err := c.applyPlan(t, planned, order); err != nil {
		t.Fatal(err)
	}
	if requests := dst.Requests(); len(requests) > 0 {
		t.Errorf("an update of on_destroy sent %d requests, want none", len(requests))
	}
}

// TestLastTag_SavedPlan removes a tag between a plan and its apply.
func TestLastTag_SavedPlan(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", pushed.Ref, dst.Ref("app", "1.4"), `on_destroy = "untag"`, `additional_tags = ["stable"]`))
	ws.configure(imageCopy("app", pushed.Ref, dst.Ref("app", "stable"), `on_destroy = "untag"`))
	plan := ws.plan()
	dst.DeleteTag(t, "app", "stable")
	ws.apply(plan)
	registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "stable"))
	assertTags(t, dst, "app", "stable")
	ws.wantNoChanges()
}
