package provider_test

import (
	"fmt"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

func TestDestination_CopyBeforeRemoval(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"retain", "untag", "delete"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			src, old, dst := registrytest.V3(t), registrytest.V3(t), registrytest.V3(t)
			pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
			old.Push(t, "app", "theirs", registrytest.Image{Seed: "theirs"})
			proxy := registrytest.Intercept(t, dst)
			arguments := []string{`on_destroy = "` + policy + `"`, `additional_tags = ["stable"]`}
			ws := newWorkspace(t)
			ws.converge(imageCopy("app", pushed.Ref, old.Ref("app", "1"), arguments...))

			// A failed copy keeps the old tags and their record.
			ws.configure(imageCopy("app", pushed.Ref, proxy.Ref("moved", "1"), arguments...))
			plan := ws.plan()
			plan.wantAction(app, tfjson.ActionUpdate).wantChange(app, "destination", old.Ref("app", "1"), proxy.Ref("moved", "1"))
			if policy == "retain" {
				plan.wantNoWarnings()
			} else {
				plan.wantWarning("Old Tags Will Be Removed", `on_destroy = "`+policy+`"`, old.Addr+"/app", "1 and stable")
			}
			proxy.On("PUT", ".*/manifests/1").Reply(403, nil, "")
			ws.applyFails(plan).wantError("403", "The resource stays at "+old.Ref("app", "1")+".")
			proxy.Clear()
			registrytest.Same(t, pushed.Tree, old.Read(t, "app", "stable"))
			if got := ws.state(app)["destination"]; got != old.Ref("app", "1") {
				t.Errorf("the state has %v", got)
			}

			ws.apply(ws.plan())
			ws.wantNoChanges()
			registrytest.Same(t, pushed.Tree, dst.Read(t, "moved", "stable"))
			left := map[string][]string{"retain": {"1", "stable", "theirs"}, "untag": {"theirs"}, "delete": {"theirs"}}[policy]
			assertTags(t, old, "app", left...)
			if gone := !old.HasManifest(t, "app", string(pushed.Digest)); gone != (policy == "delete") {
				t.Errorf("the old manifest is gone: %t", gone)
			}
		})
	}
}

func TestDestination_OldTagsNotRemovable(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(*registrytest.Proxy){
		"refused":     func(p *registrytest.Proxy) { p.On("DELETE", ".*").Reply(403, nil, "") },
		"unreachable": func(p *registrytest.Proxy) { p.Stop() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, dst := registrytest.V3(t), registrytest.V3(t)
			old := registrytest.Intercept(t, registrytest.V3(t))
			pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
			arguments := []string{`on_destroy = "untag"`, `additional_tags = ["stable"]`}
			ws := newWorkspace(t)
			ws.converge(imageCopy("app", pushed.Ref, old.Ref("app", "1"), arguments...))
			ws.configure(imageCopy("app", pushed.Ref, dst.Ref("app", "2"), arguments...))
			plan := ws.plan()
			fail(old)
			ws.apply(plan).wantWarning("Unable to Remove Old Tags", "The image is at "+dst.Ref("app", "2"), "The tags 1 and stable stay in "+old.Addr+"/app.")
			if got := ws.state(app)["destination"]; got != dst.Ref("app", "2") {
				t.Errorf("the state has %v", got)
			}
			ws.wantNoChanges().wantNoWarnings()
			registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "stable"))
		})
	}
}

// TestDestination_HostNameChange changes the destination from an IP address to a host name of
// the same registry. They are different destinations, but the same tag.
func TestDestination_HostNameChange(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"untag", "delete"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			src, dst := registrytest.V3(t), registrytest.V3(t)
			pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
			onDestroy := `on_destroy = "` + policy + `"`
			ws := newWorkspace(t)
			ws.converge(imageCopy("app", pushed.Ref, dst.Ref("app", "1"), onDestroy))
			ws.configure(imageCopy("app", pushed.Ref, strings.Replace(dst.Ref("app", "1"), "127.0.0.1:", "localhost:", 1), onDestroy))
			plan := ws.plan()
			plan.wantWarning("Old Tags May Be Removed", "If both hosts are one registry, tags that the new destination lists too stay.")
			ws.apply(plan).wantWarning("Old Tags Are Retained", "it may be another name of "+dst.Ref("app", "1"), "These tags stay: 1 in")
			ws.wantNoChanges()
			registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "1"))
		})
	}
}

// TestDestination_FailedChangeKeepsOwnership checks that tags that a failed change wrote to
// another repository still count as written by the resource.
func TestDestination_FailedChangeKeepsOwnership(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	src.Push(t, "app", "1", registrytest.MultiArch("first"))
	proxy := registrytest.Intercept(t, dst)
	copied := func(repository string) string {
		return imageCopy("app", src.Ref("app", "1"), proxy.Ref(repository, "1"), noOverwrite, `on_destroy = "untag"`, `additional_tags = ["stable"]`)
	}
	ws := newWorkspace(t)
	ws.converge(copied("app"))
	ws.configure(copied("moved"))
	proxy.On("PUT", ".*/moved/manifests/1").Reply(403, nil, "")
	ws.applyFails(ws.plan())
	assertTags(t, dst, "moved", "stable")

	proxy.Clear()
	second := src.Push(t, "app", "1", registrytest.MultiArch("second"))
	ws.converge(copied("moved"))
	registrytest.Same(t, second.Tree, dst.Read(t, "moved", "stable"))
	ws.destroy().wantNoWarnings()
	assertTags(t, dst, "moved")
	assertTags(t, dst, "app")
}

// TestDestination_NextVersion checks that the resource keeps ownership of the additional tags
// in the same repository.
func TestDestination_NextVersion(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	one := src.Push(t, "app", "1.4", registrytest.MultiArch("one"))
	two := src.Push(t, "app", "1.5", registrytest.MultiArch("two"))
	copied := func(version, tags string) string {
		return imageCopy("app", src.Ref("app", version), dst.Ref("app", version), noOverwrite, `on_destroy = "delete"`, "additional_tags = "+tags)
	}
	ws := newWorkspace(t)
	ws.converge(copied("1.4", `["1", "stable"]`))
	ws.converge(copied("1.5", `["1"]`))
	assertTags(t, dst, "app", "1", "1.5")
	registrytest.Same(t, two.Tree, dst.Read(t, "app", "1"))
	if dst.HasManifest(t, "app", string(one.Digest)) {
		t.Error("the old manifest is still there")
	}

	// The same image under another tag keeps its manifest.
	ws.configure(imageCopy("app", src.Ref("app", "1.5"), dst.Ref("app", "live"), noOverwrite, `on_destroy = "delete"`, `additional_tags = ["1"]`))
	ws.apply(ws.plan()).wantNoWarningsBut("Old Tags Will Be Removed")
	assertTags(t, dst, "app", "1", "live")
	registrytest.Same(t, two.Tree, dst.Read(t, "app", "live"))
	ws.destroy().wantNoWarnings()
	assertTags(t, dst, "app")
}

// TestDestination_Exchange exchanges the destinations of two resources in one apply.
func TestDestination_Exchange(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"untag", "delete"} {
		for _, repositories := range [][2]string{{"app", "app"}, {"app", "other"}} {
			for _, images := range [][2]string{{"one", "two"}, {"one", "one"}} {
				name := strings.Join([]string{policy, repositories[1], images[1]}, "_")
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					src, dst := registrytest.V3(t), registrytest.V3(t)
					a := src.Push(t, "a", "1", registrytest.MultiArch(images[0]))
					b := src.Push(t, "b", "1", registrytest.MultiArch(images[1]))
					x, y := dst.Ref(repositories[0], "x"), dst.Ref(repositories[1], "y")
					both := func(ofA, ofB string) []string {
						onDestroy := `on_destroy = "` + policy + `"`
						return []string{imageCopy("a", a.Ref, ofA, onDestroy), imageCopy("b", b.Ref, ofB, onDestroy)}
					}
					ws := newWorkspace(t)
					ws.converge(both(x, y)...)
					ws.configure(both(y, x)...)
					ws.apply(ws.plan())
					ws.wantNoChanges()
					registrytest.Same(t, a.Tree, dst.Read(t, repositories[1], "y"))
					registrytest.Same(t, b.Tree, dst.Read(t, repositories[0], "x"))

					// The same without parallelism.
					ws.configure(both(x, y)...)
					ws.run("apply", "-json", "-input=false", "-auto-approve", "-parallelism=1").mustSucceed()
					ws.wantNoChanges()
					registrytest.Same(t, a.Tree, dst.Read(t, repositories[0], "x"))
					registrytest.Same(t, b.Tree, dst.Read(t, repositories[1], "y"))
				})
			}
		}
	}
}

func TestDestination_ChangeWithOtherAttributes(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	one := src.Push(t, "app", "1", registrytest.MultiArch("one"))
	src.Push(t, "app", "2", registrytest.MultiArch("two"))
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", one.Ref, dst.Ref("app", "1"), `on_destroy = "delete"`))
	ws.converge(imageCopy("app", src.Ref("app", "2"), dst.Ref("moved", "2"), `on_destroy = "delete"`, `platforms = ["linux/arm64"]`, `additional_tags = ["stable"]`))
	assertTags(t, dst, "moved", "2", "stable")
	assertTags(t, dst, "app")
	if got, want := dst.Digest(t, "moved", "2").String(), ws.state(app)["digest"]; got != want {
		t.Errorf("the tag holds %s, and the state says %v", got, want)
	}
}

// TestDestination_ChangeWithOnDestroy checks that the value that removes less applies if
// on_destroy changes in the same plan.
func TestDestination_ChangeWithOnDestroy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ before, after string }{{"delete", "retain"}, {"retain", "delete"}, {"delete", "untag"}} {
		t.Run(c.before+"_"+c.after, func(t *testing.T) {
			t.Parallel()
			src, dst := registrytest.V3(t), registrytest.V3(t)
			pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
			ws := newWorkspace(t)
			ws.converge(imageCopy("app", pushed.Ref, dst.Ref("app", "1"), `on_destroy = "`+c.before+`"`))
			ws.configure(imageCopy("app", pushed.Ref, dst.Ref("moved", "1"), `on_destroy = "`+c.after+`"`))
			plan := ws.plan()
			ws.apply(plan)
			if c.after == "untag" {
				plan.wantWarning("Old Tags Will Be Removed", `on_destroy = "untag"`)
				assertTags(t, dst, "app")
			} else {
				plan.wantNoWarnings()
				assertTags(t, dst, "app", "1")
			}
			if !dst.HasManifest(t, "app", string(pushed.Digest)) {
				t.Error("the manifest is gone")
			}
		})
	}
}

func TestDestination_Unknown(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	named := func(destination string) []string {
		return []string{
			fmt.Sprintf("resource \"terraform_data\" \"destination\" {\n  input = %q\n}", destination),
			fmt.Sprintf("resource \"registry_image_copy\" \"app\" {\n  source = %q\n  destination = terraform_data.destination.output\n  on_destroy = \"delete\"\n}", pushed.Ref),
		}
	}
	ws := newWorkspace(t)
	ws.converge(named(dst.Ref("app", "1"))...)
	ws.configure(named(dst.Ref("moved", "2"))...)
	plan := ws.plan()
	plan.wantAction(app, tfjson.ActionUpdate).wantUnknown(app, "destination", "pinned_reference", "digest")
	plan.wantWarning("Old Tags May Be Removed", "known only after apply", "in "+dst.Addr+"/app: 1.")
	ws.apply(plan)
	ws.wantNoChanges()
	registrytest.Same(t, pushed.Tree, dst.Read(t, "moved", "2"))
	assertTags(t, dst, "app")
}

// TestDestination_ChangeWithReplacement checks that a replacement with another destination also
// copies before it removes.
func TestDestination_ChangeWithReplacement(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	proxy := registrytest.Intercept(t, dst)
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", pushed.Ref, proxy.Ref("app", "1"), `on_destroy = "delete"`))
	ws.configure(imageCopy("app", pushed.Ref, proxy.Ref("moved", "2"), `on_destroy = "delete"`))
	plan := ws.plan("-replace=" + app)
	plan.wantAction(app, tfjson.ActionDelete, tfjson.ActionCreate).wantWarning("will be removed", proxy.Addr+"/app", ": 1")
	proxy.On("PUT", ".*/manifests/2").Reply(403, nil, "")
	ws.applyFails(plan)
	registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "1"))

	proxy.Clear()
	ws.converge(imageCopy("app", pushed.Ref, proxy.Ref("app", "1"), `on_destroy = "delete"`))
	dst.DeleteManifest(t, "app", pushed.Digest)
	ws.converge(imageCopy("app", pushed.Ref, proxy.Ref("app", "1"), `on_destroy = "delete"`))
	ws.configure(imageCopy("app", pushed.Ref, proxy.Ref("moved", "2"), `on_destroy = "delete"`))
	ws.apply(ws.plan("-replace=" + app))
	ws.wantNoChanges()
	registrytest.Same(t, pushed.Tree, dst.Read(t, "moved", "2"))
	assertTags(t, dst, "app")
}

// TestDestination_ChangeWithReferrers checks that referrers are copied to the new repository
// with the image.
func TestDestination_ChangeWithReferrers(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	image := registrytest.Image{Seed: "app"}
	pushed := src.Push(t, "app", "1", image)
	signature := registrytest.NewSigningKey(t).Sign(t, image)
	src.Push(t, "app", signature.Tag, signature.Tagged)
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", pushed.Ref, dst.Ref("app", "1"), "referrers = true"))
	ws.configure(imageCopy("app", pushed.Ref, dst.Ref("moved", "1"), "referrers = true"))
	plan := ws.plan()
	plan.wantUnknown(app, "referrers_digest")
	ws.apply(plan)
	ws.wantNoChanges()
	if !dst.HasManifest(t, "moved", signature.Tag) {
		t.Error("the signature was not copied")
	}
}
