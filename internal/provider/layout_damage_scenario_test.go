package provider_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// damageLayer changes one byte of a layer of the first image in a layout.
func damageLayer(t *testing.T, dir string, built registrytest.Manifest) {
	t.Helper()
	file := registrytest.BlobFile(built.Manifests[0].Blobs[1].Descriptor().Digest)
	content, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	content[0] ^= 1
	registrytest.WriteFile(t, dir, file, content)
}

func TestDeepCheck_DamagedLayout(t *testing.T) {
	t.Parallel()
	image := registrytest.MultiArch("app")
	built := image.Build()
	build, dir := registrytest.Layout(t, map[string]registrytest.Content{"1": image}), newLayoutPath(t)
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", "oci:"+build+":1", "oci:"+dir+":1", `deep_check = true`))
	ws.wantNoChanges().wantNoWarnings()
	damageLayer(t, dir, built)
	plan := ws.plan()
	plan.wantAction(app, tfjson.ActionUpdate)
	ws.apply(plan)
	registrytest.Same(t, registrytest.ReadLayout(t, build, "1"), registrytest.ReadLayout(t, dir, "1"))
	ws.wantNoChanges().wantNoWarnings()
}

func TestLayout_RepairsDamagedBlob(t *testing.T) {
	t.Parallel()
	image := registrytest.MultiArch("app")
	build, dir := registrytest.Layout(t, map[string]registrytest.Content{"1": image}), registrytest.Layout(t, map[string]registrytest.Content{"earlier": image})
	damageLayer(t, dir, image.Build())
	newWorkspace(t).converge(imageCopy("app", "oci:"+build+":1", "oci:"+dir+":1"))
	registrytest.Same(t, registrytest.ReadLayout(t, build, "1"), registrytest.ReadLayout(t, dir, "1"))
}

func TestDestroy_LayoutEntriesOfOtherTools(t *testing.T) {
	t.Parallel()
	image := registrytest.Image{Seed: "app"}
	built := image.Build()
	build := registrytest.Layout(t, map[string]registrytest.Content{"1": image})
	for _, policy := range []string{"untag", "delete"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			dir := newLayoutPath(t)
			ws := newWorkspace(t)
			ws.converge(imageCopy("app", "oci:"+build+":1", "oci:"+dir+":1", fmt.Sprintf("on_destroy = %q", policy), `additional_tags = ["stable"]`))
			// Add the image as a builder does: once without a tag, and once with containerd's
			// name.
			content, err := os.ReadFile(filepath.Join(dir, ocispec.ImageIndexFile))
			if err != nil {
				t.Fatal(err)
			}
			var index ocispec.Index
			if err := json.Unmarshal(content, &index); err != nil {
				t.Fatal(err)
			}
			unnamed, named := built.Descriptor(), built.Descriptor()
			named.Annotations = map[string]string{"io.containerd.image.name": "docker.io/library/app:1"}
			index.Manifests = append(index.Manifests, unnamed, named)
			if content, err = json.Marshal(index); err != nil {
				t.Fatal(err)
			}
			registrytest.WriteFile(t, dir, ocispec.ImageIndexFile, content)
			ws.destroy()
			if content, err = os.ReadFile(filepath.Join(dir, ocispec.ImageIndexFile)); err != nil {
				t.Fatal(err)
			}
			if got := strings.Count(string(content), built.Digest.String()); got != 2 || strings.Contains(string(content), ocispec.AnnotationRefName) {
				t.Errorf("the index is %s, want the two entries of the builder", content)
			}
		})
	}
}
