package copier_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

// parsePlatforms parses platforms.
func parsePlatforms(t *testing.T, names ...string) []registry.Platform {
	t.Helper()
	var all []registry.Platform
	for _, name := range names {
		p, err := registry.ParsePlatform(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

// threePlatformIndex returns an index of images for three platforms. Unless docker is true, the
// first two have an attestation.
func threePlatformIndex(docker bool) (index registrytest.Index, children []registrytest.Manifest) {
	for _, name := range []string{"linux/amd64", "linux/arm64/v8", "linux/s390x"} {
		children = append(children, registrytest.Image{Docker: docker, Seed: name, Platform: name}.Build())
	}
	index.Docker = docker
	for _, child := range children {
		index.Manifests = append(index.Manifests, child)
	}
	if !docker {
		index.Annotations = map[string]string{"org.opencontainers.image.title": "three"}
		for _, child := range children[:2] {
			index.Manifests = append(index.Manifests, registrytest.Attestation("three", child))
		}
	}
	return index, children
}

func TestCopyPlatforms_SinglePlatform(t *testing.T) {
	t.Parallel()
	for _, docker := range []bool{false, true} {
		from, to := pair(t, registrytest.Behaviour{})
		index, children := threePlatformIndex(docker)
		from.Push(t, "app", "1", index)
		e := newEngine(t)
		j := e.job(t, from.Ref("app", "1"), to.Ref("to", "1"))
		j.Platforms = parsePlatforms(t, "linux/arm64")
		r := await(t, e.start(t.Context(), j))
		if r.err != nil || r.report.Digest != children[1].Digest || r.report.Manifests != 1 {
			t.Errorf("Copy() = %+v, %v, want digest %s and 1 manifest", r.report, r.err, children[1].Digest)
		}
		want := from.Read(t, "app", string(children[1].Digest))
		registrytest.Same(t, want, to.Read(t, "to", "1"))
	}
}

func TestCopyPlatforms_MultiplePlatforms(t *testing.T) {
	t.Parallel()
	for _, docker := range []bool{false, true} {
		from, to := pair(t, registrytest.Behaviour{})
		index, children := threePlatformIndex(docker)
		pushed := from.Push(t, "app", "1", index)
		e := newEngine(t)
		j := e.job(t, from.Ref("app", "1"), to.Ref("to", "1"))
		j.Platforms = parsePlatforms(t, "linux/s390x", "linux/amd64")
		r := await(t, e.start(t.Context(), j))
		if r.err != nil || r.report.Digest == pushed.Digest || r.report.MediaType != pushed.MediaType {
			t.Fatalf("Copy() = %+v, %v, want a new index of type %s", r.report, r.err, pushed.MediaType)
		}
		got := to.Read(t, "to", "1")
		want := []digest.Digest{r.report.Digest, children[0].Digest, children[2].Digest}
		if !docker {
			want = append(want, index.Manifests[3].Build().Digest)
		}
		if len(got.Manifests) != len(want) || slices.ContainsFunc(want, func(d digest.Digest) bool { _, ok := got.Manifests[d]; return !ok }) {
			t.Errorf("with docker %t, destination has the manifests %v, want %v", docker, got.Manifests, want)
		}
		// The layers of the platform that was not selected are not read.
		for _, blob := range children[1].Blobs {
			if d := blob.Descriptor().Digest; from.Count("GET", ".*/blobs/"+string(d)) > 0 {
				t.Errorf("blob %s was read, want no request", d)
			}
		}
		again := await(t, e.start(t.Context(), j))
		if again.err != nil || again.report.Digest != r.report.Digest || again.report.Requests > 2 || again.report.Manifests > 0 {
			t.Errorf("second Copy() = %+v, %v, want the same digest and no pushes", again.report, again.err)
		}
	}
}

func TestCopyPlatforms_SingleImage(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		content   registrytest.Content
		platforms []string
		wantText  string // part of the error; "" if the copy succeeds
	}{
		"same_platform":       {registrytest.Image{Seed: "a", Platform: "linux/arm64/v8"}, []string{"linux/arm64"}, ""},
		"other_platform":      {registrytest.Image{Seed: "a", Platform: "linux/arm64/v8"}, []string{"linux/amd64"}, "it is no index but a single image for linux/arm64"},
		"additional_platform": {registrytest.Image{Seed: "a", Platform: "linux/amd64"}, []string{"linux/amd64", "linux/arm64"}, "cannot find the platform linux/arm64 in sha256:"},
		"artifact":            {registrytest.Artifact{Seed: "a"}, []string{"linux/amd64"}, "names no platform"},
		"missing_in_index":    {registrytest.MultiArch("a"), []string{"linux/s390x"}, "the index has linux/amd64, linux/arm64/v8"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from, to := pair(t, registrytest.Behaviour{})
			pushed := from.Push(t, "app", "1", c.content)
			e := newEngine(t)
			j := e.job(t, from.Ref("app", "1"), to.Ref("to", "1"))
			j.Platforms = parsePlatforms(t, c.platforms...)
			r := await(t, e.start(t.Context(), j))
			if c.wantText == "" {
				if r.err != nil {
					t.Fatal(r.err)
				}
				registrytest.Same(t, pushed.Tree, to.Read(t, "to", "1"))
				return
			}
			err := assertError(t, r.err, registry.Source, registry.ErrNotFound)
			assertContains(t, err.Error(), c.wantText, from.Addr+"/app")
			if err.Hint == "" || to.Count("P.*", ".*") > 0 {
				t.Errorf("error hint = %q with %d write requests, want a hint and 0", err.Hint, to.Count("P.*", ".*"))
			}
		})
	}
}

// TestCopyPlatforms_PlannedDigest verifies that the planned digest is copied even if the tag
// has moved.
func TestCopyPlatforms_PlannedDigest(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	index, children := threePlatformIndex(false)
	planned := from.Push(t, "app", "1", index)
	from.Push(t, "app", "1", registrytest.MultiArch("newer"))
	e := newEngine(t)
	j := e.job(t, from.Ref("app", "1"), to.Ref("to", "1"))
	j.Digest, j.Platforms = planned.Digest, parsePlatforms(t, "linux/s390x")
	if r := await(t, e.start(t.Context(), j)); r.err != nil || r.report.Digest != children[2].Digest {
		t.Errorf("Copy() = %+v, %v, want digest %s", r.report, r.err, children[2].Digest)
	}
}

func TestSelect(t *testing.T) {
	t.Parallel()
	from := registrytest.Scripted(t, registrytest.Behaviour{})
	index, children := threePlatformIndex(false)
	pushed := from.Push(t, "app", "1", index)
	e := newEngine(t)
	source, s, err := copier.Select(t.Context(), e.client.Repository(parse(t, pushed.Ref), remote.Pull), "1", parsePlatforms(t, "linux/amd64"))
	if err != nil || source.Digest != pushed.Digest || s.Root.Digest != children[0].Digest {
		t.Errorf("Select() = %s and %s, %v, want %s and %s", source.Digest, s.Root.Digest, err, pushed.Digest, children[0].Digest)
	}
	if _, _, err := copier.Select(t.Context(), e.client.Repository(parse(t, pushed.Ref), remote.Pull), "2", parsePlatforms(t, "linux/amd64")); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("Select() of a missing tag: error = %v, want ErrNotFound", err)
	}
}
