package provider_test

import (
	"fmt"
	"net/http"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

const signaturesWarning = "Signatures Do Not Apply to Platforms"

// platformsOf returns an index and its images by platform, with the media types of Docker or
// OCI.
func platformsOf(seed string, docker bool) (index registrytest.Index, images map[string]registrytest.Manifest) {
	images = map[string]registrytest.Manifest{}
	index.Docker = docker
	for _, name := range []string{"linux/amd64", "linux/arm/v7", "linux/arm64/v8"} {
		images[name] = registrytest.Image{Docker: docker, Seed: seed + name, Platform: name}.Build()
		index.Manifests = append(index.Manifests, images[name])
	}
	if !docker {
		index.Manifests = append(index.Manifests, registrytest.Attestation(seed, images["linux/amd64"]))
	}
	return index, images
}

func TestPlatforms_Selection(t *testing.T) {
	t.Parallel()
	for name, docker := range map[string]bool{"oci": false, "docker": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, dst := registrytest.V3(t), registrytest.V2(t)
			index, images := platformsOf("app", docker)
			pushed := src.Push(t, "app", "1", index)
			proxy := registrytest.Intercept(t, src)
			copyOf := func(platforms string) string {
				return imageCopy("app", proxy.Ref("app", "1"), dst.Ref("app", "1"), "platforms = "+platforms)
			}
			ws := newWorkspace(t)

			// One platform selects its manifest.
			arm := images["linux/arm/v7"]
			ws.configure(copyOf(`["linux/arm"]`))
			plan := ws.plan()
			plan.wantAction(app, tfjson.ActionCreate).
				wantChange(app, "digest", nil, arm.Digest).
				wantChange(app, "source_digest", nil, pushed.Digest).
				wantChange(app, "media_type", nil, arm.MediaType).
				wantChange(app, "pinned_reference", nil, dst.Ref("app", string(arm.Digest))).
				wantWarning(signaturesWarning, string(pushed.Digest), string(arm.Digest))
			ws.apply(plan)
			registrytest.Same(t, src.Read(t, "app", string(arm.Digest)), dst.Read(t, "app", "1"))
			ws.wantNoChanges().wantNoWarnings()

			// Another spelling selects the same platform.
			proxy.Forget()
			ws.converge(copyOf(`["linux/armhf"]`))
			if n := proxy.Count("GET", ".*"); n != 0 {
				t.Errorf("%d GET requests to the source, want 0", n)
			}
			registrytest.Same(t, src.Read(t, "app", string(arm.Digest)), dst.Read(t, "app", "1"))

			// Several platforms create an index, which replaces the manifest.
			ws.configure(copyOf(`["linux/arm64", "linux/amd64"]`))
			plan = ws.plan()
			plan.wantAction(app, tfjson.ActionUpdate).wantChange(app, "media_type", arm.MediaType, pushed.MediaType)
			ws.apply(plan)
			there := dst.Read(t, "app", "1")
			if got := ws.state(app)["digest"]; fmt.Sprint(got) != string(there.Root) {
				t.Errorf("digest in state = %v, of the tag = %s", got, there.Root)
			}
			want := 3 // the index and two images
			if !docker {
				want++ // and an attestation
			}
			if _, other := there.Manifests[arm.Digest]; len(there.Manifests) != want || other {
				t.Errorf("there are %d manifests, want %d", len(there.Manifests), want)
			}
			ws.wantNoChanges().wantNoWarnings()

			// All platforms together are the unchanged image.
			ws.configure(copyOf(`["linux/arm64", "linux/amd64", "linux/arm/v7"]`))
			plan = ws.plan()
			plan.wantChange(app, "digest", there.Root, pushed.Digest).wantNoWarnings()
			ws.apply(plan)
			ws.converge(copyOf("null"))
			registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "1"))
			ws.wantNoChanges().wantNoWarnings()
		})
	}
}

func TestPlatforms_Invalid(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	index, _ := platformsOf("app", false)
	src.Push(t, "app", "index", index)
	src.Push(t, "app", "image", registrytest.Image{Seed: "single", Platform: "linux/arm64/v8"})
	src.Push(t, "app", "artifact", registrytest.Artifact{Seed: "chart"})
	ws := newWorkspace(t)
	for source, contains := range map[string]string{
		"index":    "the index has linux/amd64, linux/arm/v7, linux/arm64/v8",
		"image":    "it is no index but a single image for linux/arm64/v8",
		"artifact": "it is no index, and its configuration names no platform",
	} {
		ws.configure(imageCopy("app", src.Ref("app", source), dst.Ref("app", "1"), `platforms = ["linux/s390x"]`))
		result := ws.planFails()
		result.wantError("cannot find the platform linux/s390x in", contains).assertAt(result, "platforms")
	}
	for platforms, contains := range map[string]string{
		`[]`:                       "An empty set promotes nothing",
		`["linux"]`:                `"linux" cannot be read as a platform`,
		`["linux/amd64", "a/b c"]`: `"a/b c" cannot be read as a platform`,
	} {
		ws.configure(imageCopy("app", src.Ref("app", "index"), dst.Ref("app", "1"), "platforms = "+platforms))
		ws.planFails().wantError(contains)
	}
	// A single image with the selected platform is copied unchanged.
	ws.converge(imageCopy("app", src.Ref("app", "image"), dst.Ref("app", "1"), `platforms = ["linux/arm64"]`))
	registrytest.Same(t, src.Read(t, "app", "image"), dst.Read(t, "app", "1"))
	ws.wantNoChanges()
}

// TestPlatforms_SourceTagMoved checks that a refresh resolves the source tag and sends no other
// request if the digest is the same. If it differs, the plan shows the new digest for the
// selected platforms.
func TestPlatforms_SourceTagMoved(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	index, images := platformsOf("first", false)
	first := src.Push(t, "app", "1", index)
	proxy := registrytest.Intercept(t, src)
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", proxy.Ref("app", "1"), dst.Ref("app", "1"), `platforms = ["linux/amd64"]`))
	proxy.Forget()
	ws.wantNoChanges()
	if n := proxy.Count("GET", ".*"); n != 0 || len(proxy.Requests()) != 1 {
		t.Errorf("%d requests to the source, %d of them GET", len(proxy.Requests()), n)
	}

	// Another index with the same image for this platform: nothing is copied.
	changed := index
	changed.Annotations = map[string]string{"changed": "yes"}
	second := src.Push(t, "app", "1", changed)
	plan := ws.plan()
	amd64 := images["linux/amd64"].Digest
	plan.wantAction(app, tfjson.ActionUpdate).wantChange(app, "source_digest", first.Digest, second.Digest).
		wantChange(app, "digest", amd64, amd64).wantNoWarnings()
	ws.apply(plan)
	ws.wantNoChanges()

	// The planned digest is copied, although the tag moves again.
	newer, images := platformsOf("newer", false)
	src.Push(t, "app", "1", newer)
	plan = ws.plan()
	plan.wantChange(app, "digest", amd64, images["linux/amd64"].Digest)
	src.Push(t, "app", "1", index)
	ws.apply(plan)
	registrytest.Same(t, src.Read(t, "app", string(images["linux/amd64"].Digest)), dst.Read(t, "app", "1"))

	// A source that cannot be read is a warning, and the destination does not change.
	proxy.On(".*", ".*").Reply(http.StatusForbidden, nil, string(registrytest.ErrorBody("DENIED", "not now")))
	ws.wantNoChanges().wantWarning("not now")
}

// TestPlatforms_Chain checks that the platforms of another copy in the same run are known when
// its image exists.
func TestPlatforms_Chain(t *testing.T) {
	t.Parallel()
	src, staging, production := registrytest.V3(t), registrytest.V3(t), registrytest.V3(t)
	index, images := platformsOf("app", false)
	pushed := src.Push(t, "app", "1", index)
	ws := newWorkspace(t)
	ws.configure(
		imageCopy("staging", pushed.Ref, staging.Ref("app", "1")),
		fmt.Sprintf("resource \"registry_image_copy\" \"app\" {\n  source = registry_image_copy.staging.pinned_reference\n  destination = %q\n  platforms = [\"linux/arm64\"]\n}\n",
			production.Ref("app", "1")))
	plan := ws.plan()
	plan.wantUnknown(app, "digest", "pinned_reference", "source_digest")
	ws.apply(plan)
	registrytest.Same(t, src.Read(t, "app", string(images["linux/arm64/v8"].Digest)), production.Read(t, "app", "1"))
	ws.wantNoChanges()
}

func TestPlatforms_Import(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	index, images := platformsOf("app", false)
	pushed := src.Push(t, "app", "1", index)
	dst.Push(t, "app", "1", images["linux/amd64"])
	ws := newWorkspace(t)
	ws.configure(imageCopy("app", pushed.Ref, dst.Ref("app", "1"), `platforms = ["linux/amd64"]`),
		fmt.Sprintf("import {\n  to = registry_image_copy.app\n  id = %q\n}\n", dst.Ref("app", "1")))
	plan := ws.plan()
	plan.wantChange(app, "digest", images["linux/amd64"].Digest, images["linux/amd64"].Digest).
		wantChange(app, "source_digest", images["linux/amd64"].Digest, pushed.Digest)
	ws.apply(plan)
	ws.wantNoChanges()
}
