package remote_test

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

func TestRealRegistries_Operations(t *testing.T) {
	for name, start := range map[string]func(testing.TB, ...registrytest.Option) *registrytest.Registry{"v3": registrytest.V3, "2.8.3": registrytest.V2} {
		t.Run(name, func(t *testing.T) {
			p := registrytest.Intercept(t, start(t))
			repo := newClient(t).push(t, p.Ref("app", "1"))
			m := registrytest.Image{Seed: "a"}.Build()
			for _, b := range m.Blobs {
				content := registry.Content{Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(b.Open()), nil }}
				for _, want := range []registry.Outcome{registry.Copied, registry.AlreadyExists} {
					if got, err := repo.PutBlob(t.Context(), b.Descriptor(), content); err != nil || got != want {
						t.Fatalf("PutBlob() = %q, %v; want %q", got, err, want)
					}
				}
			}
			err := repo.PutManifest(t.Context(), "1", registry.Manifest{MediaType: m.MediaType, Digest: m.Digest, Content: m.Bytes})
			if err != nil {
				t.Fatal(err)
			}
			if d, err := repo.Resolve(t.Context(), "1"); err != nil || d.Digest != m.Digest {
				t.Errorf("Resolve() = %+v, %v", d, err)
			}
			for _, reference := range []string{"none", string(descriptor("none").Digest)} {
				_, err = repo.GetManifest(t.Context(), reference)
				assertErrorKind(t, err, registry.ErrNotFound)
			}
			_, err = repo.StatBlob(t.Context(), descriptor("none").Digest)
			assertErrorKind(t, err, registry.ErrNotFound)
			if tags, err := repo.ListTags(t.Context()); err != nil || strings.Join(tags, " ") != "1" {
				t.Errorf("ListTags() = %q, %v", tags, err)
			}
			index := registrytest.DockerList("a").Build()
			err = repo.PutManifest(t.Context(), "2", registry.Manifest{MediaType: registry.MediaTypeDockerManifest, Digest: index.Digest, Content: index.Bytes})
			assertErrorKind(t, err, registry.ErrInvalidManifest)
			incomplete := registrytest.Image{Seed: "b"}.Build()
			err = repo.PutManifest(t.Context(), "2", registry.Manifest{MediaType: incomplete.MediaType, Digest: incomplete.Digest, Content: incomplete.Bytes})
			assertErrorKind(t, err, registry.ErrMissingContent)
			if err := repo.DeleteTag(t.Context(), "1"); name == "v3" && err != nil {
				t.Error(err)
			} else if name != "v3" {
				assertErrorKind(t, err, registry.ErrUnsupported)
			}
			if err := repo.DeleteManifest(t.Context(), m.Digest); err != nil {
				t.Error(err)
			}
			old := registrytest.Schema1Image{Seed: "old"}.Build()
			err = repo.PutManifest(t.Context(), "old", registry.Manifest{MediaType: old.MediaType, Digest: old.Digest, Content: old.Bytes})
			assertContains(t, registryError(t, err).Hint, "schema 1")
		})
	}
}
