package provider_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// oneImage returns the content of a layout: one image with the tag 1.
func oneImage(seed string) map[string]registrytest.Content {
	return map[string]registrytest.Content{"1": registrytest.MultiArch(seed)}
}

// newLayoutPath returns a path at which nothing exists.
func newLayoutPath(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "new", "layout")
}

// assertLayoutTags checks that a layout has exactly the given tags.
func assertLayoutTags(t *testing.T, dir string, want ...string) {
	t.Helper()
	if got := registrytest.LayoutTags(t, dir); !slices.Equal(got, want) {
		t.Errorf("the tags of %s are %v, want %v", dir, got, want)
	}
}

func TestLayout_Source(t *testing.T) {
	t.Parallel()
	dst := registrytest.V3(t)
	dir := registrytest.Layout(t, oneImage("app"))
	built := registrytest.ReadLayout(t, dir, "1")
	for name, source := range map[string]string{
		"tag": "oci:" + dir + ":1", "only": "oci:" + dir, "digest": "oci:" + dir + "@" + string(built.Root), "tar": "oci:" + registrytest.Tar(t, dir) + ":1",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ws := newWorkspace(t)
			ws.configure(imageCopy("app", source, dst.Ref(name, "1"), `additional_tags = ["stable"]`))
			plan := ws.plan()
			plan.wantChange(app, "digest", nil, built.Root).wantChange(app, "source_digest", nil, built.Root).
				wantChange(app, "pinned_reference", nil, dst.Ref(name, string(built.Root)))
			ws.apply(plan).wantNoWarnings()
			ws.wantNoChanges().wantNoWarnings()
			for _, tag := range []string{"1", "stable"} {
				registrytest.Same(t, built, dst.Read(t, name, tag))
			}
		})
	}
}

func TestLayout_Destination(t *testing.T) {
	t.Parallel()
	src := registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	dir := newLayoutPath(t)
	ws := newWorkspace(t)
	ws.configure(imageCopy("app", pushed.Ref, "oci:"+dir+":1", `additional_tags = ["stable"]`, `on_destroy = "untag"`))
	plan := ws.plan()
	plan.wantChange(app, "digest", nil, pushed.Digest).wantChange(app, "pinned_reference", nil, "oci:"+dir+"@"+string(pushed.Digest))
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the plan made the folder: %v", err)
	}
	ws.apply(plan)
	ws.wantNoChanges().wantNoWarnings()
	for _, tag := range []string{"1", "stable"} {
		registrytest.Same(t, pushed.Tree, registrytest.ReadLayout(t, dir, tag))
	}

	// Additional tags are added and removed in place.
	ws.converge(imageCopy("app", pushed.Ref, "oci:"+dir+":1", `additional_tags = ["new"]`, `on_destroy = "untag"`))
	assertLayoutTags(t, dir, "1", "new")
}

func TestLayout_Chain(t *testing.T) {
	t.Parallel()
	dst := registrytest.V3(t)
	build, airgap := registrytest.Layout(t, oneImage("app")), newLayoutPath(t)
	built := registrytest.ReadLayout(t, build, "1")
	onward := fmt.Sprintf("resource \"registry_image_copy\" \"onward\" {\n  source = registry_image_copy.app.pinned_reference\n  destination = %q\n}", dst.Ref("app", "1"))
	ws := newWorkspace(t)
	ws.configure(imageCopy("app", "oci:"+build+":1", "oci:"+airgap+":1"), onward)
	plan := ws.plan()
	plan.wantChange("registry_image_copy.onward", "digest", nil, built.Root)
	ws.apply(plan)
	ws.wantNoChanges().wantNoWarnings()
	registrytest.Same(t, built, registrytest.ReadLayout(t, airgap, "1"))
	registrytest.Same(t, built, dst.Read(t, "app", "1"))
}

func TestLayout_Platforms(t *testing.T) {
	t.Parallel()
	index, images := platformsOf("app", false)
	build, out := registrytest.Layout(t, map[string]registrytest.Content{"1": index}), newLayoutPath(t)
	ws := newWorkspace(t)
	ws.configure(imageCopy("app", "oci:"+build+":1", "oci:"+out+":1", `platforms = ["linux/arm/v7"]`))
	plan := ws.plan()
	plan.wantChange(app, "digest", nil, images["linux/arm/v7"].Digest).wantWarning(signaturesWarning)
	ws.apply(plan)
	ws.wantNoChanges()
	if got := registrytest.ReadLayout(t, out, "1").Root; got != images["linux/arm/v7"].Digest {
		t.Errorf("digest = %s", got)
	}
	ws.configure(imageCopy("app", "oci:"+build+":1", "oci:"+out+":1", `platforms = ["linux/s390x"]`))
	ws.planFails().wantError("linux/s390x", "linux/arm/v7")
}

func TestLayout_Rebuilt(t *testing.T) {
	t.Parallel()
	dst := registrytest.V3(t)
	dir := registrytest.Layout(t, oneImage("first"))
	first := registrytest.ReadLayout(t, dir, "1")
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", "oci:"+dir+":1", dst.Ref("app", "1")))

	registrytest.WriteLayout(t, dir, oneImage("second"))
	second := registrytest.ReadLayout(t, dir, "1")
	plan := ws.plan()
	plan.wantAction(app, tfjson.ActionUpdate).wantChange(app, "digest", first.Root, second.Root).wantNoWarnings()

	// The planned digest is promoted, although the layout is built again.
	registrytest.WriteLayout(t, dir, oneImage("third"))
	third := registrytest.ReadLayout(t, dir, "1")
	ws.apply(plan).wantWarning("Image Layout Was Rebuilt", string(second.Root), string(third.Root))
	registrytest.Same(t, second, dst.Read(t, "app", "1"))
	ws.apply(ws.plan())
	registrytest.Same(t, third, dst.Read(t, "app", "1"))

	// An archive contains only the last build.
	archive := registrytest.Tar(t, dir)
	ws.converge(imageCopy("app", "oci:"+archive, dst.Ref("app", "1")))
	replace := func(seed string) {
		t.Helper()
		if err := os.Rename(registrytest.Tar(t, registrytest.Layout(t, oneImage(seed))), archive); err != nil {
			t.Fatal(err)
		}
	}
	replace("fourth")
	plan = ws.plan()
	replace("fifth")
	ws.applyFails(plan).wantError("Unable to Copy Image", "the layout does not hold it", "Plan again to promote what the source has now")
	registrytest.Same(t, third, dst.Read(t, "app", "1"))
}

// builder returns a resource that builds a layout in dir with a local-exec provisioner. Its
// output is unknown until then.
func builder(input, from, dir string) string {
	return fmt.Sprintf("resource \"terraform_data\" \"build\" {\n  input = %q\n  triggers_replace = [%q]\n  provisioner \"local-exec\" {\n    command = %q\n  }\n}",
		input, from, fmt.Sprintf("mkdir -p '%s' && cp -R '%s/.' '%s'", dir, from, dir))
}

func copyOfBuild(destination string) string {
	return fmt.Sprintf("resource \"registry_image_copy\" \"app\" {\n  source = \"oci:${terraform_data.build.output}\"\n  destination = %q\n}", destination)
}

func TestLayout_BuiltInSameApply(t *testing.T) {
	t.Parallel()
	dst := registrytest.V3(t)
	first, second := registrytest.Layout(t, oneImage("first")), registrytest.Layout(t, map[string]registrytest.Content{"2": registrytest.MultiArch("second")})
	dir := newLayoutPath(t)
	ws := newWorkspace(t)

	// Without a reference to the builder, the source does not exist in the plan.
	ws.configure(builder(dir+":1", first, dir), imageCopy("app", "oci:"+dir+":1", dst.Ref("app", "1")))
	result := ws.planFails()
	result.wantError("Source Image Not Found", "oci:"+dir, "refer to an attribute of that resource that is known only after apply").assertAt(result, "source")

	ws.configure(builder(dir+":1", first, dir), copyOfBuild(dst.Ref("app", "1")))
	plan := ws.plan()
	plan.wantUnknown(app, "source", "digest", "pinned_reference")
	ws.apply(plan)
	ws.wantNoChanges()
	registrytest.Same(t, registrytest.ReadLayout(t, first, "1"), dst.Read(t, "app", "1"))

	// A build with a new tag is promoted in the same apply.
	ws.configure(builder(dir+":2", second, dir), copyOfBuild(dst.Ref("app", "1")))
	ws.apply(ws.plan()).wantNoWarnings()
	ws.wantNoChanges()
	registrytest.Same(t, registrytest.ReadLayout(t, second, "2"), dst.Read(t, "app", "1"))

	// A build with the same tag causes a warning, and the next apply promotes it.
	third := registrytest.Layout(t, map[string]registrytest.Content{"2": registrytest.MultiArch("third")})
	ws.configure(builder(dir+":2", third, dir), copyOfBuild(dst.Ref("app", "1")))
	ws.apply(ws.plan()).wantWarning("Image Layout Was Rebuilt", "give each build a tag or a path of its own")
	ws.apply(ws.plan())
	ws.wantNoChanges()
	registrytest.Same(t, registrytest.ReadLayout(t, third, "2"), dst.Read(t, "app", "1"))
}

func TestLayout_SourceGone(t *testing.T) {
	t.Parallel()
	dst := registrytest.V3(t)
	dir := registrytest.Layout(t, oneImage("app"))
	built := registrytest.ReadLayout(t, dir, "1")
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", "oci:"+dir+":1", dst.Ref("app", "1")))

	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	ws.wantNoChanges().wantWarning("Source Image Not Found", "oci:"+dir, "What was promoted stays as it is")
	// Additional tags use the content that the destination already has.
	ws.configure(imageCopy("app", "oci:"+dir+":1", dst.Ref("app", "1"), `additional_tags = ["stable"]`))
	ws.apply(ws.plan())
	registrytest.Same(t, built, dst.Read(t, "app", "stable"))
}

func TestLayout_DestinationDrift(t *testing.T) {
	t.Parallel()
	src := registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	theirs := registrytest.DockerList("theirs")
	for name, c := range map[string]struct {
		drift  func(t *testing.T, dir string)
		action tfjson.Action
	}{
		"tag_moved": {func(t *testing.T, dir string) {
			registrytest.WriteLayout(t, dir, map[string]registrytest.Content{"1": theirs})
		}, tfjson.ActionUpdate},
		"tag_missing": {func(t *testing.T, dir string) {
			registrytest.WriteLayout(t, dir, map[string]registrytest.Content{"other": theirs})
		}, tfjson.ActionCreate},
		"index_missing": {func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "index.json")) }, tfjson.ActionCreate},
		"manifest_missing": {func(t *testing.T, dir string) {
			remove(t, filepath.Join(dir, registrytest.BlobFile(pushed.Digest)))
		}, tfjson.ActionCreate},
		"folder_missing": {func(t *testing.T, dir string) { remove(t, dir) }, tfjson.ActionCreate},
		"folder_empty":   {func(t *testing.T, dir string) { remove(t, dir); mkdir(t, dir) }, tfjson.ActionCreate},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := newLayoutPath(t)
			ws := newWorkspace(t)
			ws.converge(imageCopy("app", pushed.Ref, "oci:"+dir+":1"))
			c.drift(t, dir)
			plan := ws.plan()
			plan.wantAction(app, c.action)
			if c.action == tfjson.ActionUpdate {
				plan.wantChange(app, "digest", theirs.Build().Digest, pushed.Digest)
			}
			ws.apply(plan)
			ws.wantNoChanges()
			registrytest.Same(t, pushed.Tree, registrytest.ReadLayout(t, dir, "1"))
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
}

// TestLayout_InvalidDestinationKeepsState checks that an invalid layout keeps the resource in
// state. The resource is removed only if the layout does not exist.
func TestLayout_InvalidDestinationKeepsState(t *testing.T) {
	t.Parallel()
	src := registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	dir := newLayoutPath(t)
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", pushed.Ref, "oci:"+dir+":1"))
	remove(t, filepath.Join(dir, "oci-layout"))
	ws.planFails().wantError("Destination Image Layout Is Unusable", `it holds no file "oci-layout"`, "The state is kept as it was")
	if ws.state(app) == nil {
		t.Error("the resource is not in the state")
	}
}

func TestLayout_NoOverwrite(t *testing.T) {
	t.Parallel()
	src := registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	dir := registrytest.Layout(t, oneImage("theirs"))
	theirs := registrytest.ReadLayout(t, dir, "1")
	ws := newWorkspace(t)
	ws.configure(imageCopy("app", pushed.Ref, "oci:"+dir+":1", noOverwrite))
	result := ws.planFails()
	result.wantError("Tag Has Another Digest", "oci:"+dir, string(theirs.Root)).assertAt(result, "destination")
	registrytest.Same(t, theirs, registrytest.ReadLayout(t, dir, "1"))

	// Neither is a tag that another client writes after the plan.
	other := newLayoutPath(t)
	ws.configure(imageCopy("app", pushed.Ref, "oci:"+other+":1", noOverwrite))
	plan := ws.plan()
	registrytest.WriteLayout(t, other, oneImage("theirs"))
	ws.applyFails(plan).wantError("Tag Has Another Digest", "oci:"+other, noOverwrite)
	registrytest.Same(t, theirs, registrytest.ReadLayout(t, other, "1"))
}

func TestLayout_Destroy(t *testing.T) {
	t.Parallel()
	src := registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	for _, test := range []struct {
		name, policy string
		tagged       []string // tags that another client wrote before
		left         []string
	}{
		{"retain", "retain", nil, []string{"1", "stable"}},
		{"untag", "untag", nil, nil},
		{"delete", "delete", nil, nil},
		{"delete_with_other_tag", "delete", []string{"theirs"}, []string{"theirs"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := newLayoutPath(t)
			ws := newWorkspace(t)
			ws.converge(imageCopy("app", pushed.Ref, "oci:"+dir+":1", `additional_tags = ["stable"]`, fmt.Sprintf("on_destroy = %q", test.policy)))
			for _, tag := range test.tagged {
				newWorkspace(t).converge(imageCopy("app", pushed.Ref, "oci:"+dir+":"+tag))
			}
			ws.destroy()
			assertLayoutTags(t, dir, test.left...)
		})
	}
	t.Run("invalid_layout", func(t *testing.T) {
		t.Parallel()
		dir := newLayoutPath(t)
		ws := newWorkspace(t)
		ws.converge(imageCopy("app", pushed.Ref, "oci:"+dir+":1", `on_destroy = "untag"`))
		remove(t, filepath.Join(dir, "oci-layout"))
		result := ws.run("destroy", "-json", "-input=false", "-auto-approve", "-refresh=false")
		result.wantError("Unable to Clean Up Destination", "oci:"+dir, `it holds no file "oci-layout"`, "Nothing was removed")
		if ws.state(app) == nil {
			t.Error("the resource is not in the state")
		}
	})
	t.Run("missing_layout", func(t *testing.T) {
		t.Parallel()
		dir := newLayoutPath(t)
		ws := newWorkspace(t)
		ws.converge(imageCopy("app", pushed.Ref, "oci:"+dir+":1", `on_destroy = "delete"`))
		remove(t, dir)
		ws.run("destroy", "-json", "-input=false", "-auto-approve", "-refresh=false").mustSucceed()
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("the destroy made the folder again: %v", err)
		}
	})
}

func TestLayout_Import(t *testing.T) {
	t.Parallel()
	src := registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	dir := registrytest.Layout(t, oneImage("app"))
	ws := newWorkspace(t)
	ws.configure(imageCopy("app", pushed.Ref, "oci:"+dir+":1"))
	ws.importResource(app, "oci:"+dir+":1")
	plan := ws.plan()
	plan.wantAction(app, tfjson.ActionUpdate).wantChange(app, "source", nil, pushed.Ref).
		wantChange(app, "digest", pushed.Digest, pushed.Digest).
		wantChange(app, "pinned_reference", "oci:"+dir+"@"+string(pushed.Digest), "oci:"+dir+"@"+string(pushed.Digest))
	ws.apply(plan)
	ws.wantNoChanges()
	if _, stderr, err := ws.command("import", "-no-color", app, "oci:"+dir); err == nil || !strings.Contains(stderr, "has no tag") {
		t.Errorf("import without a tag: %v\n%s", err, stderr)
	}
}

func TestLayout_ConcurrentCopies(t *testing.T) {
	t.Parallel()
	src := registrytest.V3(t)
	dir := newLayoutPath(t)
	var blocks, want []string
	trees := map[string]registrytest.Tree{}
	for i := range 20 {
		tag := fmt.Sprintf("v%02d", i)
		pushed := src.Push(t, "app", tag, registrytest.MultiArch(fmt.Sprint(i/2))) // each pair shares all content
		blocks = append(blocks, imageCopy(tag, pushed.Ref, "oci:"+dir+":"+tag))
		want, trees[tag] = append(want, tag), pushed.Tree
	}
	newWorkspace(t).converge(blocks...)
	assertLayoutTags(t, dir, want...)
	for tag, tree := range trees {
		registrytest.Same(t, tree, registrytest.ReadLayout(t, dir, tag))
	}
}

// TestLayout_ConcurrentAliases writes one layout from several provider aliases. Each alias is a
// process of its own if Terraform starts the provider.
func TestLayout_ConcurrentAliases(t *testing.T) {
	t.Parallel()
	src := registrytest.V3(t)
	dir := newLayoutPath(t)
	blocks := []string{`provider "registry" {}`}
	var want []string
	for alias := range 3 {
		blocks = append(blocks, fmt.Sprintf("provider \"registry\" {\n  alias = \"a%d\"\n}", alias))
		for i := range 4 {
			tag := fmt.Sprintf("a%d-%d", alias, i)
			pushed := src.Push(t, "app", tag, registrytest.Image{Seed: tag})
			blocks = append(blocks, imageCopy(tag, pushed.Ref, "oci:"+dir+":"+tag, fmt.Sprintf("provider = registry.a%d", alias)))
			want = append(want, tag)
		}
	}
	ws, _ := newInstalledWorkspace(t)
	ws.converge(blocks...)
	assertLayoutTags(t, dir, want...)
}

func TestLayout_PathSpelling(t *testing.T) {
	t.Parallel()
	src := registrytest.V3(t)
	one, two := src.Push(t, "app", "1", registrytest.MultiArch("one")), src.Push(t, "app", "2", registrytest.MultiArch("two"))
	dir := newLayoutPath(t)
	respelled := filepath.Dir(dir) + "/x/../layout"
	ws := newWorkspace(t)
	ws.configure(imageCopy("one", one.Ref, "oci:"+dir+":1"), imageCopy("two", two.Ref, "oci:"+respelled+":1"))
	ws.planFails().wantError("Conflicting Tag Ownership")
	ws.configure(imageCopy("app", "oci:"+dir+":1", "oci:"+respelled+":1"))
	ws.planFails().wantError("Source Equals Destination")

	ws.converge(imageCopy("app", one.Ref, "oci:"+dir+":1"))
	ws.configure(imageCopy("app", one.Ref, "oci:"+respelled+":1"))
	ws.wantNoChanges()
	ws.configure(imageCopy("app", one.Ref, "oci:"+dir+"-2:1"))
	ws.plan().wantAction(app, tfjson.ActionUpdate).wantChange(app, "destination", "oci:"+dir+":1", "oci:"+dir+"-2:1")
}

// TestLayout_RelativePath checks that relative paths start at Terraform's working directory,
// which is also that of the provider if Terraform starts it.
func TestLayout_RelativePath(t *testing.T) {
	t.Parallel()
	ws, _ := newInstalledWorkspace(t)
	mkdir(t, filepath.Join(ws.dir, "module"))
	registrytest.WriteLayout(t, filepath.Join(ws.dir, "module", "a folder"), oneImage("app"))
	built := registrytest.ReadLayout(t, filepath.Join(ws.dir, "module", "a folder"), "1")
	const module = `resource "registry_image_copy" "app" {
  source      = "oci:${path.module}/a folder:1"
  destination = "oci:./out@home/app:b:1.4"
}

terraform {
  required_providers {
    registry = { source = "terraform-provider-registry/registry" }
  }
}

output "pinned" {
  value = registry_image_copy.app.pinned_reference
}`
	registrytest.WriteFile(t, ws.dir, "module/main.tf", []byte(module))
	ws.configure("module \"app\" {\n  source = \"./module\"\n}", output("pinned", "module.app.pinned"))
	if _, stderr, err := ws.command("get"); err != nil {
		t.Fatal(stderr)
	}
	result := ws.apply(ws.plan())
	if want := "oci:./out@home/app:b:1.4@" + string(built.Root); result.outputs["pinned"] != want {
		t.Errorf("output = %v, want %s", result.outputs["pinned"], want)
	}
	ws.wantNoChanges()
	registrytest.Same(t, built, registrytest.ReadLayout(t, filepath.Join(ws.dir, "out@home", "app:b"), "1.4"))
}

func TestLayout_InvalidSource(t *testing.T) {
	t.Parallel()
	dst := registrytest.V3(t)
	layer := registrytest.Layer("layer", 100_000)
	layerFile := registrytest.BlobFile(layer.Descriptor().Digest)
	image := registrytest.Image{Seed: "a", Layers: []registrytest.Blob{layer}}
	spoilt := func(spoil func(t *testing.T, dir string)) func(*testing.T) string {
		return func(t *testing.T) string {
			dir := registrytest.Layout(t, map[string]registrytest.Content{"1": image})
			spoil(t, dir)
			return dir
		}
	}
	wrote := func(name, content string) func(*testing.T) string {
		return spoilt(func(t *testing.T, dir string) { registrytest.WriteFile(t, dir, name, []byte(content)) })
	}
	const aBuild = "known only after apply"
	for name, c := range map[string]struct {
		source   func(t *testing.T) string
		planned  bool // whether the plan succeeds and the apply fails
		contains []string
	}{
		"missing":             {newLayoutPath, false, []string{"Source Image Not Found", "no such file or directory", aBuild}},
		"empty_folder":        {func(t *testing.T) string { return t.TempDir() }, false, []string{"Source Image Layout Is Unusable", `it holds no file "oci-layout"`, "An image layout is a folder"}},
		"unsupported_version": {wrote("oci-layout", `{"imageLayoutVersion":"2"}`), false, []string{"Source Image Layout Is Unusable", "does not say that it is one of version 1"}},
		"invalid_index":       {wrote("index.json", "[]"), false, []string{"Source Image Layout Is Unusable", "index.json: "}},
		"path_traversal": {wrote("index.json", `{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:../../../etc/passwd","size":5}]}`),
			false, []string{"Source Image Layout Is Unusable", "its digest is refused"}},
		"other_tag": {func(t *testing.T) string {
			return registrytest.Layout(t, map[string]registrytest.Content{"2": image})
		}, false, []string{"Source Image Not Found", `the layout holds "2" (sha256:`, "Use one of the tags that the layout has", aBuild}},
		"not_an_archive": {func(t *testing.T) string {
			dir := t.TempDir()
			registrytest.WriteFile(t, dir, "image", []byte(strings.Repeat("x", 2000)))
			return filepath.Join(dir, "image")
		}, false, []string{"Source Image Layout Is Unusable", "neither a folder nor a tar archive"}},
		"missing_manifest": {spoilt(func(t *testing.T, dir string) {
			remove(t, filepath.Join(dir, registrytest.BlobFile(image.Build().Digest)))
		}), false, []string{"Source Image Not Found", "the layout does not hold it", "build or copy it again", aBuild}},
		"missing_layer": {spoilt(func(t *testing.T, dir string) { remove(t, filepath.Join(dir, layerFile)) }), true, []string{"Unable to Copy Image", "the layout does not hold it", "is not complete"}},
		"damaged_layer": {wrote(layerFile, strings.Repeat("x", 100_000)), true, []string{"Unable to Copy Image", string(layer.Descriptor().Digest), "The layout is damaged"}},
		"short_layer":   {wrote(layerFile, "x"), true, []string{"Unable to Copy Image", "it has 1 bytes and its descriptor says 100000", "The layout is damaged"}},
		"layer_outside": {spoilt(func(t *testing.T, dir string) {
			outside := filepath.Join(t.TempDir(), "outside")
			if err := os.Rename(filepath.Join(dir, layerFile), outside); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(outside, filepath.Join(dir, layerFile)); err != nil {
				t.Fatal(err)
			}
		}), true, []string{"Unable to Copy Image", "path escapes"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, repo := c.source(t), "bad/"+strings.ReplaceAll(name, " ", "-")
			ws := newWorkspace(t)
			ws.configure(imageCopy("app", "oci:"+dir+":1", dst.Ref(repo, "1")))
			var result outcome
			if c.planned {
				result = ws.applyFails(ws.plan())
			} else {
				result = ws.planFails()
			}
			d := result.wantError(append(c.contains, "oci:"+dir)...)
			d.assertAt(result, "source")
			if strings.Contains(d.Detail, aBuild) && !slices.Contains(c.contains, aBuild) {
				t.Errorf("unexpected advice: %s", d.Detail)
			}
			if dst.HasManifest(t, repo, "1") {
				t.Error("the tag was written")
			}
		})
	}
}

func TestLayout_InvalidDestination(t *testing.T) {
	t.Parallel()
	src := registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	const written = "A destination is a folder with an image layout"
	for name, c := range map[string]struct {
		spoil    func(t *testing.T, dir string) // creates a file that prevents the layout
		below    string                         // path of the destination below that file
		contains []string
	}{
		"file":         {func(t *testing.T, dir string) { registrytest.WriteFile(t, filepath.Dir(dir), "layout", nil) }, "", []string{"it is a file, and an archive can be read but not written to", written}},
		"other_folder": {func(t *testing.T, dir string) { registrytest.WriteFile(t, dir, "precious", nil) }, "", []string{`it holds no file "oci-layout"`, written}},
		"below_file":   {func(t *testing.T, dir string) { registrytest.WriteFile(t, filepath.Dir(dir), "layout", nil) }, "/below", []string{"not a directory"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := newLayoutPath(t)
			to := "oci:" + dir + c.below
			copied := func(arguments ...string) string { return imageCopy("app", pushed.Ref, to+":1", arguments...) }
			ws := newWorkspace(t)
			ws.configure(copied())
			plan := ws.plan()
			c.spoil(t, dir)
			result := ws.applyFails(plan) // the file was created after the plan
			result.wantError(append(c.contains, to)...).assertAt(result, "destination")
			for _, overwrite := range []string{"overwrite = true", noOverwrite} {
				ws.configure(copied(overwrite))
				result := ws.planFails()
				result.wantError(append(c.contains, "Destination Image Layout Is Unusable", "Destination "+to)...).assertAt(result, "destination")
			}
			if ws.state(app) != nil {
				t.Error("the resource is in the state")
			}

			remove(t, dir)
			ws.converge(copied())
			remove(t, dir)
			c.spoil(t, dir)
			ws.configure(copied(`additional_tags = ["stable"]`))
			result = ws.run("plan", "-json", "-input=false", "-refresh=false")
			result.wantError(append(c.contains, to)...).assertAt(result, "destination")
		})
	}
}

func TestLayout_ManifestDataSource(t *testing.T) {
	t.Parallel()
	dir := registrytest.Layout(t, oneImage("app"))
	built := registrytest.ReadLayout(t, dir, "1")
	ws := newWorkspace(t)
	result := ws.converge(manifest("oci:"+dir+":1"), output("pinned", "data.registry_manifest.base.pinned_reference"), output("json", "data.registry_manifest.base.manifest_json"))
	if want := "oci:" + dir + "@" + string(built.Root); result.outputs["pinned"] != want || result.outputs["json"] != built.Manifests[built.Root].Content {
		t.Errorf("pinned = %v, want %s\nmanifest = %v", result.outputs["pinned"], want, result.outputs["json"])
	}
	ws.configure(manifest("oci:" + dir + "-none:1"))
	ws.planFails().wantError("Image Not Found", "oci:"+dir+"-none")
}

func TestLayout_ReferenceValidation(t *testing.T) {
	t.Parallel()
	digest := "@sha256:" + strings.Repeat("0", 64)
	ws := newWorkspace(t)
	for _, test := range []struct {
		block        string
		contains, at string
	}{
		{imageCopy("app", "oci:", "ghcr.io/app:1"), "names no path", "source"},
		{imageCopy("app", "oci:./app:", "ghcr.io/app:1"), "nothing follows its last colon", "source"},
		{imageCopy("app", "oci:./app@sha256:abc", "ghcr.io/app:1"), "is no digest", "source"},
		{imageCopy("app", "oci://app:1", "ghcr.io/app:1"), `a path and not a URL: write "oci:app:1"`, "source"},
		{imageCopy("app", "oci:///tmp/app:1", "ghcr.io/app:1"), `write "oci:/tmp/app:1"`, "source"},
		{imageCopy("app", "./some.tar", "ghcr.io/app:1"), `is written "oci:./some.tar"`, "source"},
		{imageCopy("app", "oci-archive:some.tar", "ghcr.io/app:1"), `is written "oci:some.tar"`, "source"},
		{imageCopy("app", "app:1", "oci:./app.tar:1"), "it is an archive by its name, which can be read but not written to", "destination"},
		{imageCopy("app", "app:1", "oci:./app.TAR.gz:1"), "it is an archive by its name", "destination"},
		{imageCopy("app", "oci:./app:1\n", "ghcr.io/app:1"), "trimspace(", "source"},
		{imageCopy("app", "oci:./app:1 ", "ghcr.io/app:1"), "trimspace(", "source"},
		{imageCopy("app", "app:1", "oci:./app"), "it has no tag", "destination"},
		{imageCopy("app", "app:1", "oci:./app:1"+digest), "it has a digest", "destination"},
		{imageCopy("app", "app:1", "oci:./app:-1"), `"-1" cannot be a tag`, "destination"},
		{imageCopy("app", "app:1", "oci:./app:1", `additional_tags = ["1"]`), `"1" is the tag of the destination already`, "additional_tags"},
		{imageCopy("app", "app:1", "oci:./app:1", `additional_tags = ["a/b"]`), `"a/b" cannot be a tag`, "additional_tags"},
		{imageCopy("app", "oci:./app:2", "oci:app:1", `additional_tags = ["2"]`), "copied from", "additional_tags"},
		{imageCopy("app", "oci:./app:1", "oci:app:1"), "nothing to promote", "source"},
	} {
		ws.configure(test.block)
		result := ws.planFails()
		result.wantError(test.contains).assertAt(result, test.at)
	}
	ws.configure(imageCopy("app", `oci:C:\images\app:1.4`, "oci:~/air gap/user@host/app:1.4", `additional_tags = ["1"]`))
	if stdout, _, err := ws.command("validate", "-no-color"); err != nil {
		t.Errorf("validate: %v\n%s", err, stdout)
	}
}

func TestLayout_UnknownCredentials(t *testing.T) {
	t.Parallel()
	dir, out := registrytest.Layout(t, oneImage("app")), newLayoutPath(t)
	built := registrytest.ReadLayout(t, dir, "1")
	ws := newWorkspace(t)
	ws.configure(`provider "registry" { docker_config_json = terraform_data.config.output }`, unknownUntilApply("config", `{"auths":{"ghcr.io":{}}}`),
		imageCopy("app", "oci:"+dir+":1", "oci:"+out+":1", noOverwrite))
	plan := ws.plan()
	plan.wantChange(app, "digest", nil, built.Root)
	ws.apply(plan)
	registrytest.Same(t, built, registrytest.ReadLayout(t, out, "1"))
}

func TestLayout_CreateTimeout(t *testing.T) {
	t.Parallel()
	dir, out := registrytest.Layout(t, oneImage("app")), newLayoutPath(t)
	ws := newWorkspace(t)
	ws.configure(imageCopy("app", "oci:"+dir+":1", "oci:"+out+":1", `timeouts = { create = "1ns" }`))
	ws.applyFails(ws.plan()).wantError("it was not done within 1ns, the create timeout")
	if _, err := os.Stat(out); !os.IsNotExist(err) {
		t.Errorf("the layout exists: %v", err)
	}
}
