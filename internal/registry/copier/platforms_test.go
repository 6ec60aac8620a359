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

// platforms reads some.
func platforms(t *testing.T, names ...string) []registry.Platform {
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

// three is an image for three platforms, of which the first two have an
// attestation.
func three(docker bool) (index registrytest.Index, children []registrytest.Manifest) {
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
		index, children := three(docker)
		from.Push(t, "app", "1", index)
		e := newEngine(t)
		j := e.job(t, from.Ref("app", "1"), to.Ref("to", "1"))
		j.Platforms = platforms(t, "linux/arm64")
		r := await(t, e.start(t.Context(), j))
		if r.err != nil || r.report.Digest != children[1].Digest || r.report.Manifests != 1 {
			t.Errorf("%+v, %v", r.report, r.err)
		}
		want := from.Read(t, "app", string(children[1].Digest))
		registrytest.Same(t, want, to.Read(t, "to", "1"))
	}
}

func TestCopyPlatforms_MultiplePlatforms(t *testing.T) {
	t.Parallel()
	for _, docker := range []bool{false, true} {
		from, to := pair(t, registrytest.Behaviour{})
		index, children := three(docker)
		pushed := from.Push(t, "app", "1", index)
		e := newEngine(t)
		j := e.job(t, from.Ref("app", "1"), to.Ref("to", "1"))
		j.Platforms = platforms(t, "linux/s390x", "linux/amd64")
		r := await(t, e.start(t.Context(), j))
		if r.err != nil || r.report.Digest == pushed.Digest || r.report.MediaType != pushed.MediaType {
			t.Fatalf("%+v, %v", r.report, r.err)
		}
		got := to.Read(t, "to", "1")
		want := []digest.Digest{r.report.Digest, children[0].Digest, children[2].Digest}
		if !docker {
			want = append(want, index.Manifests[3].Build().Digest)
		}
		if len(got.Manifests) != len(want) || slices.ContainsFunc(want, func(d digest.Digest) bool { _, there := got.Manifests[d]; return !there }) {
			t.Errorf("docker %v: there is %v, want %v", docker, got.Manifests, want)
		}
		// The third platform's layers did not travel.
		for _, blob := range children[1].Blobs {
			if d := blob.Descriptor().Digest; from.Count("GET", ".*/blobs/"+string(d)) > 0 {
				t.Errorf("%s was read", d)
			}
		}
		again := await(t, e.start(t.Context(), j))
		if again.err != nil || again.report.Digest != r.report.Digest || again.report.Requests > 2 || again.report.Manifests > 0 {
			t.Errorf("a second time: %+v, %v", again.report, again.err)
		}
	}
}

func TestCopyPlatforms_SingleImage(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		content registrytest.Content
		wanted  []string
		says    string // "" where it is copied
	}{
		"its own":            {registrytest.Image{Seed: "a", Platform: "linux/arm64/v8"}, []string{"linux/arm64"}, ""},
		"another":            {registrytest.Image{Seed: "a", Platform: "linux/arm64/v8"}, []string{"linux/amd64"}, "it is no index but a single image for linux/arm64"},
		"its own and others": {registrytest.Image{Seed: "a", Platform: "linux/amd64"}, []string{"linux/amd64", "linux/arm64"}, "cannot find the platform linux/arm64 in sha256:"},
		"an artifact":        {registrytest.Artifact{Seed: "a"}, []string{"linux/amd64"}, "names no platform"},
		"not in an index":    {registrytest.MultiArch("a"), []string{"linux/s390x"}, "the index has linux/amd64, linux/arm64/v8"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from, to := pair(t, registrytest.Behaviour{})
			pushed := from.Push(t, "app", "1", c.content)
			e := newEngine(t)
			j := e.job(t, from.Ref("app", "1"), to.Ref("to", "1"))
			j.Platforms = platforms(t, c.wanted...)
			r := await(t, e.start(t.Context(), j))
			if c.says == "" {
				if r.err != nil {
					t.Fatal(r.err)
				}
				registrytest.Same(t, pushed.Tree, to.Read(t, "to", "1"))
				return
			}
			err := failure(t, r.err, registry.Source, registry.ErrNotFound)
			mentions(t, err.Error(), c.says, from.Addr+"/app")
			if err.Hint == "" || to.Count("P.*", ".*") > 0 {
				t.Errorf("the hint is %q; %d writes", err.Hint, to.Count("P.*", ".*"))
			}
		})
	}
}

// Between the plan and the apply a tag may move: what was planned is copied.
func TestCopyPlatforms_PlannedDigest(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	index, children := three(false)
	planned := from.Push(t, "app", "1", index)
	from.Push(t, "app", "1", registrytest.MultiArch("newer"))
	e := newEngine(t)
	j := e.job(t, from.Ref("app", "1"), to.Ref("to", "1"))
	j.Digest, j.Platforms = planned.Digest, platforms(t, "linux/s390x")
	if r := await(t, e.start(t.Context(), j)); r.err != nil || r.report.Digest != children[2].Digest {
		t.Errorf("%+v, %v", r.report, r.err)
	}
}

func TestSelect(t *testing.T) {
	t.Parallel()
	from := registrytest.Scripted(t, registrytest.Behaviour{})
	index, children := three(false)
	pushed := from.Push(t, "app", "1", index)
	e := newEngine(t)
	source, s, err := copier.Select(t.Context(), e.client.Repository(parse(t, pushed.Ref), remote.Pull), "1", platforms(t, "linux/amd64"))
	if err != nil || source.Digest != pushed.Digest || s.Root.Digest != children[0].Digest {
		t.Errorf("%s and %s, %v", source.Digest, s.Root.Digest, err)
	}
	if _, _, err := copier.Select(t.Context(), e.client.Repository(parse(t, pushed.Ref), remote.Pull), "2", platforms(t, "linux/amd64")); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("of nothing: %v", err)
	}
}
