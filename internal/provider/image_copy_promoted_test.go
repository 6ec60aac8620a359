package provider_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

const denied = `{"errors":[{"code":"DENIED","message":"not today"}]}`

// savedOutputs returns the outputs in the state of a workspace.
func (w *workspace) savedOutputs() map[string]any {
	w.t.Helper()
	stdout, stderr, err := w.command("output", "-json")
	if err != nil {
		w.t.Fatalf("output: %v\n%s", err, stderr)
	}
	var saved map[string]struct {
		Value any `json:"value"`
	}
	if err := json.Unmarshal([]byte(stdout), &saved); err != nil {
		w.t.Fatal(err)
	}
	values := map[string]any{}
	for name, output := range saved {
		values[name] = output.Value
	}
	return values
}

// refreshOnly runs a refresh-only apply.
func (w *workspace) refreshOnly() {
	w.t.Helper()
	w.run("apply", "-refresh-only", "-auto-approve", "-json", "-input=false").mustSucceed()
}

// promotedCase is one resource of TestPromotedReference_Plan.
type promotedCase struct {
	before []string // additional arguments
	// change changes a registry, returns the new configuration, or both.
	change  func(s promotedFixture) string
	unknown bool
}

// promotedFixture is what a promotedCase can change. Each case has its own repository at both
// registries, named after the case.
type promotedFixture struct {
	t        *testing.T
	src, dst *registrytest.Registry
	name     string
	image    registrytest.Index
}

func (s promotedFixture) block(arguments ...string) string {
	return imageCopy(s.name, s.src.Ref(s.name, "1"), s.dst.Ref(s.name, "1"), arguments...)
}

func (s promotedFixture) blockTo(destination string) string {
	return imageCopy(s.name, s.src.Ref(s.name, "1"), destination)
}

var promotedCases = map[string]promotedCase{
	"source_moved": {unknown: true, change: func(s promotedFixture) string {
		s.src.Push(s.t, s.name, "1", registrytest.MultiArch("second"))
		return s.block()
	}},
	"source_changed": {unknown: true, change: func(s promotedFixture) string {
		other := s.src.Push(s.t, s.name, "2", registrytest.MultiArch("second"))
		return imageCopy(s.name, other.Ref, s.dst.Ref(s.name, "1"))
	}},
	"source_unknown": {unknown: true, change: func(s promotedFixture) string {
		return unknownUntilApply(s.name, s.src.Ref(s.name, "1")) + "\n" + imageCopyFrom(s.name, "terraform_data."+s.name+".output", s.dst.Ref(s.name, "1"))
	}},
	"source_elsewhere_same_digest": {change: func(s promotedFixture) string {
		return imageCopy(s.name, s.src.Push(s.t, s.name, "2", s.image).Ref, s.dst.Ref(s.name, "1"))
	}},
	"platforms": {unknown: true, change: func(s promotedFixture) string {
		return s.block(`platforms = ["linux/amd64"]`)
	}},
	"tag_moved": {unknown: true, change: func(s promotedFixture) string {
		s.dst.Push(s.t, s.name, "1", registrytest.DockerList("theirs"))
		return s.block()
	}},
	"tag_moved_to_the_new_digest": {unknown: true, change: func(s promotedFixture) string {
		s.src.Push(s.t, s.name, "1", registrytest.MultiArch("second"))
		s.dst.Push(s.t, s.name, "1", registrytest.MultiArch("second"))
		return s.block()
	}},
	"tag_missing": {unknown: true, change: func(s promotedFixture) string {
		s.dst.DeleteTag(s.t, s.name, "1")
		return s.block()
	}},
	"repository": {unknown: true, change: func(s promotedFixture) string { return s.blockTo(s.dst.Ref(s.name+"/moved", "1")) }},
	"tag":        {unknown: true, change: func(s promotedFixture) string { return s.blockTo(s.dst.Ref(s.name, "2")) }},
	"replaced":   {unknown: true, change: func(s promotedFixture) string { return s.block() }},
	"source_pinned": {change: func(s promotedFixture) string {
		return imageCopy(s.name, s.src.Ref(s.name, "1")+"@"+string(s.image.Build().Digest), s.dst.Ref(s.name, "1"))
	}},
	"missing_content": {before: []string{"deep_check = true"}, change: func(s promotedFixture) string {
		s.dst.DeleteBlob(s.t, s.name, s.image.Manifests[0].Build().Blobs[0].Descriptor().Digest)
		return s.block("deep_check = true")
	}},
	"additional_tag_added": {change: func(s promotedFixture) string { return s.block(`additional_tags = ["stable"]`) }},
	"additional_tag_moved": {before: []string{`additional_tags = ["stable"]`}, change: func(s promotedFixture) string {
		s.dst.Push(s.t, s.name, "stable", registrytest.DockerList("theirs"))
		return s.block(`additional_tags = ["stable"]`)
	}},
	"referrer": {before: []string{"referrers = true"}, change: func(s promotedFixture) string {
		s.src.Attach(s.t, s.name, registrytest.Artifact{Seed: "sbom", Type: sbomType, Subject: s.image})
		return s.block("referrers = true")
	}},
	"on_destroy": {change: func(s promotedFixture) string { return s.block(`on_destroy = "untag"`) }},
}

// TestPromotedReference_Plan checks that promoted_reference is unknown in the plan if the
// digest or the destination changes, or if the tag is missing or was moved. Otherwise it is
// known.
func TestPromotedReference_Plan(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	var before, after []string
	ws := newWorkspace(t)
	image := registrytest.MultiArch("app")
	fixtures := map[string]promotedFixture{}
	for name, test := range promotedCases {
		s := promotedFixture{t, src, dst, name, image}
		src.Push(t, name, "1", image)
		fixtures[name], before = s, append(before, s.block(test.before...))
	}
	ws.configure(before...)
	created := ws.plan()
	ws.apply(created)
	ws.wantNoChanges()
	for name, test := range promotedCases {
		created.wantUnknown("registry_image_copy."+name, "promoted_reference")
		after = append(after, test.change(fixtures[name]))
	}
	ws.configure(after...)
	changed := ws.plan("-replace=registry_image_copy.replaced")
	for name, test := range promotedCases {
		t.Run(name, func(t *testing.T) {
			plan, address := changed, "registry_image_copy."+name
			plan.t = t
			if test.unknown {
				plan.wantUnknown(address, "promoted_reference")
				return
			}
			pinned := dst.Ref(name, string(image.Build().Digest))
			plan.wantAction(address, tfjson.ActionUpdate).wantChange(address, "promoted_reference", pinned, pinned)
		})
	}

	ws.apply(changed)
	ws.wantNoChanges()
	for name := range promotedCases {
		state := ws.state("registry_image_copy." + name)
		if got, want := state["promoted_reference"], state["pinned_reference"]; got != want || got == nil {
			t.Errorf("%s: promoted_reference after the apply = %v, want %v", name, got, want)
		}
	}
}

// TestPromotedReference_FailedApply checks outputs after a failed apply. Terraform saves an
// output that is known in the plan even if the apply fails. The saved pinned_reference
// therefore names an image that was not copied, and promoted_reference does not.
func TestPromotedReference_FailedApply(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.Intercept(t, registrytest.V3(t))
	first := src.Push(t, "app", "1", registrytest.MultiArch("first"))
	ws, reader := newWorkspace(t), newWorkspace(t)
	src.Push(t, "other", "1", registrytest.MultiArch("first"))
	ws.configure(
		imageCopy("app", first.Ref, dst.Ref("app", "1")), output("pinned", app+".pinned_reference"), output("promoted", app+".promoted_reference"),
		imageCopy("other", src.Ref("other", "1"), dst.Ref("other", "1")), output("all", "["+app+".promoted_reference, registry_image_copy.other.promoted_reference]"))
	reader.configure(fmt.Sprintf("data \"terraform_remote_state\" \"promotion\" {\n  backend = \"local\"\n  config = { path = %q }\n}", filepath.Join(ws.dir, "terraform.tfstate")),
		output("deployed", "try(data.terraform_remote_state.promotion.outputs.promoted, null)"))
	want := func(when string, pinned, promoted any) {
		t.Helper()
		if saved := ws.savedOutputs(); saved["pinned"] != pinned || saved["promoted"] != promoted {
			t.Errorf("%s: outputs = %v, want pinned = %v and promoted = %v", when, saved, pinned, promoted)
		}
		reader.apply(reader.plan())
		if got := reader.savedOutputs()["deployed"]; got != promoted {
			t.Errorf("%s: another configuration deploys %v, want %v", when, got, promoted)
		}
	}
	pinned := func(p registrytest.Pushed) string { return dst.Ref("app", string(p.Digest)) }

	dst.On("PUT", ".*/manifests/.*").Reply(403, nil, denied)
	ws.applyFails(ws.plan())
	want("failed create", pinned(first), nil)

	dst.Clear()
	ws.apply(ws.plan())
	want("create", pinned(first), pinned(first))

	second := src.Push(t, "app", "1", registrytest.MultiArch("second"))
	src.Push(t, "other", "1", registrytest.MultiArch("second"))
	all := ws.savedOutputs()["all"]
	dst.On("PUT", "/v2/app/manifests/.*").Reply(403, nil, denied)
	ws.applyFails(ws.plan())
	registrytest.Same(t, src.Read(t, "other", "1"), dst.Read(t, "other", "1"))
	if got := ws.savedOutputs()["all"]; !reflect.DeepEqual(got, all) {
		t.Errorf("output of two copies, of which one failed = %v, want %v", got, all)
	}
	want("failed update", pinned(second), pinned(first))
	if dst.HasManifest(t, "app", string(second.Digest)) {
		t.Error("the image was copied, although the apply failed")
	}
	if got := ws.state(app)["promoted_reference"]; got != pinned(first) {
		t.Errorf("promoted_reference after a failed update = %v, want %v", got, pinned(first))
	}

	dst.Clear()
	ws.apply(ws.plan())
	want("update", pinned(second), pinned(second))
}

// TestPromotedReference_Refresh checks that a push to the destination's tag does not change
// promoted_reference, as long as the image that it names exists at the destination.
func TestPromotedReference_Refresh(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.Intercept(t, registrytest.V3(t))
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	ws := newWorkspace(t)
	var blocks []string
	names := []string{"kept", "deleted", "unavailable"}
	for _, name := range names {
		blocks = append(blocks, imageCopy(name, pushed.Ref, dst.Ref(name, "1")))
	}
	ws.converge(blocks...)
	want := func(when, name string, promoted any) {
		t.Helper()
		if got := ws.state("registry_image_copy." + name)["promoted_reference"]; got != promoted {
			t.Errorf("%s, %s: promoted_reference = %v, want %v", when, name, got, promoted)
		}
	}
	pinned := func(name string) string { return dst.Ref(name, string(pushed.Digest)) }

	dst.DeleteManifest(t, "deleted", pushed.Digest)
	for _, name := range names {
		dst.Push(t, name, "1", registrytest.DockerList("theirs"))
	}
	unavailable := dst.On("GET|HEAD", "/v2/unavailable/manifests/sha256:.*").Reply(503, nil, "")
	ws.refreshOnly()
	if unavailable.Taken() == 0 {
		t.Error("promoted_reference was not resolved")
	}
	want("the tag was moved", "kept", pinned("kept"))
	want("the tag was moved and the image deleted", "deleted", nil)
	want("the tag was moved and the image cannot be looked up", "unavailable", pinned("unavailable"))
	plan := ws.plan()
	for _, name := range names {
		plan.wantUnknown("registry_image_copy."+name, "promoted_reference")
		dst.Push(t, name, "1", registrytest.MultiArch("app"))
	}

	dst.Clear()
	ws.refreshOnly()
	for _, name := range names {
		want("the tag was moved back", name, pinned(name))
	}
	ws.wantNoChanges()
}

// TestPromotedReference_UpdateFailsAfterTagMoved checks that an update that fails after it
// moved the destination's tag keeps the old value. The next refresh finds the new image, so
// that no other plan is needed.
func TestPromotedReference_UpdateFailsAfterTagMoved(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V2(t) // docker/distribution 2 cannot remove a tag
	first := src.Push(t, "app", "1", registrytest.MultiArch("first"))
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", first.Ref, dst.Ref("app", "1"), `additional_tags = ["old"]`, `on_destroy = "untag"`))
	second := src.Push(t, "app", "1", registrytest.MultiArch("second"))
	ws.configure(imageCopy("app", first.Ref, dst.Ref("app", "1"), `on_destroy = "untag"`))
	ws.applyFails(ws.plan())
	registrytest.Same(t, second.Tree, dst.Read(t, "app", "1"))
	if got, want := ws.state(app)["promoted_reference"], dst.Ref("app", string(first.Digest)); got != want {
		t.Errorf("promoted_reference after the failed update = %v, want %v", got, want)
	}
	pinned := dst.Ref("app", string(second.Digest))
	ws.plan().wantChange(app, "promoted_reference", pinned, pinned)
}

func TestPromotedReference_DestinationSpelling(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	destination := func(host string) string { return strings.Replace(dst.Ref("app", "1"), "127.0.0.1", host, 1) }
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", pushed.Ref, destination("localhost")))
	ws.configure(imageCopy("app", pushed.Ref, destination("LocalHost"), `on_destroy = "untag"`))
	promoted := ws.state(app)["promoted_reference"]
	ws.plan().wantAction(app, tfjson.ActionUpdate).wantChange(app, "promoted_reference", promoted, promoted)
}

func TestPromotedReference_Import(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	first := src.Push(t, "app", "1", registrytest.MultiArch("first"))
	dst.Push(t, "app", "1", registrytest.MultiArch("first"))
	ws := newWorkspace(t)
	ws.configure(imageCopy("app", first.Ref, dst.Ref("app", "1")))
	ws.importResource(app, dst.Ref("app", "1"))
	pinned := dst.Ref("app", string(first.Digest))
	if got := ws.state(app)["promoted_reference"]; got != pinned {
		t.Errorf("promoted_reference after an import = %v, want %v", got, pinned)
	}
	ws.plan().wantAction(app, tfjson.ActionUpdate).wantChange(app, "promoted_reference", pinned, pinned)

	src.Push(t, "app", "1", registrytest.MultiArch("second"))
	plan := ws.plan()
	plan.wantAction(app, tfjson.ActionUpdate).wantUnknown(app, "promoted_reference")
	ws.apply(plan)
	ws.wantNoChanges()
}

// TestPromotedReference_Chain uses the promoted_reference of a copy as the source of another
// one. Its plan has more unknown values than with pinned_reference, but the result is the same.
func TestPromotedReference_Chain(t *testing.T) {
	t.Parallel()
	build, staging, production := registrytest.V3(t), registrytest.V3(t), registrytest.V3(t)
	build.Push(t, "app", "1", registrytest.MultiArch("first"))
	ws := newWorkspace(t)
	ws.converge(imageCopy("stage", build.Ref("app", "1"), staging.Ref("app", "live")), imageCopyFrom("prod", stage+".promoted_reference", production.Ref("app", "live")))

	second := build.Push(t, "app", "1", registrytest.MultiArch("second"))
	plan := ws.plan()
	plan.wantAction(prod, tfjson.ActionUpdate).wantUnknown(prod, "source", "digest", "pinned_reference", "promoted_reference")
	ws.apply(plan)
	ws.wantNoChanges()
	registrytest.Same(t, second.Tree, production.Read(t, "app", "live"))
	if got, want := ws.state(prod)["promoted_reference"], production.Ref("app", string(second.Digest)); got != want {
		t.Errorf("promoted_reference = %v, want %v", got, want)
	}
}

// TestPromotedReference_DocumentedOutputs checks that every output of a copy in the examples
// and the documentation templates uses promoted_reference, because outputs are read outside of
// the configuration.
func TestPromotedReference_DocumentedOutputs(t *testing.T) {
	t.Parallel()
	blocks := regexp.MustCompile(`(?m)^ *output "\w+" \{(?s:.*?)\n *\}`)
	var copies int
	for _, root := range []string{"examples", "templates"} {
		err := fs.WalkDir(os.DirFS(projectRoot), root, func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			text, err := os.ReadFile(filepath.Join(projectRoot, name))
			for _, block := range blocks.FindAllString(string(text), -1) {
				if !strings.Contains(block, "registry_image_copy.") {
					continue
				}
				copies++
				if !strings.Contains(block, "promoted_reference") {
					t.Errorf("%s: the output does not use promoted_reference:\n%s", name, block)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if copies == 0 {
		t.Error("no output of a copy was found")
	}
}
