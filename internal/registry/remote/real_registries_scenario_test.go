package remote_test

import (
	"context"
	"io"
	"slices"
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
				t.Errorf("Resolve() = %+v, %v; want %s", d, err, m.Digest)
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

func TestRealRegistries_UploadModes(t *testing.T) {
	for version, start := range map[string]func(testing.TB, ...registrytest.Option) *registrytest.Registry{"v3": registrytest.V3, "2.8.3": registrytest.V2} {
		p := registrytest.Intercept(t, start(t))
		for name, setMode := range uploadModes {
			t.Run(version+"_"+name, func(t *testing.T) {
				c := newClient(t)
				setMode(c, p.Addr)
				p.Forget()
				putBlob(t, c, p, huge)
				want := map[string]string{"monolithic": "POST, PUT", "streamed": "POST, PATCH, PUT", "chunked": "POST, PATCH, PATCH, PATCH, PUT"}[name]
				if got := sentRequests(p); got != want {
					t.Errorf("requests = %s, want %s", got, want)
				}
				// Upload the blob again, and interrupt the upload. How much of it the
				// registry has stored by the next request depends on the registry. Version
				// 2.8.3 discards all of it.
				p.On("PUT|PATCH", ".*").Where(hasBody).Times(1).Do(truncateBody(1<<20 - 100))
				putBlob(t, c, p, huge)
			})
		}
	}
}

func TestRealRegistries_Referrers(t *testing.T) {
	for name, start := range map[string]func(testing.TB, ...registrytest.Option) *registrytest.Registry{"v3": registrytest.V3, "v2": registrytest.V2} {
		t.Run(name, func(t *testing.T) {
			p := registrytest.Intercept(t, start(t))
			image := p.Push(t, "app", "1", registrytest.Image{Seed: "a"})
			repo := newClient(t).pull(t, p.Addr+"/app")
			for _, sboms := range []string{"", "one", "another"} {
				if sboms != "" {
					p.Attach(t, "app", registrytest.Artifact{Seed: sboms, Subject: image})
				}
				listing, err := repo.ListReferrers(t.Context(), image.Digest)
				if want := p.Referrers(t, "app", image.Digest); err != nil || !slices.Equal(digests(listing), want) || listing.Tag == "" {
					t.Errorf("ListReferrers() = %v with tag %q, %v, want %v", digests(listing), listing.Tag, err, want)
				}
			}
			if p.Count("GET", anyReferrers) != 1 || p.Count("GET", ".*") != 4 {
				t.Errorf("requests = %s", sentRequests(p))
			}
		})
	}
}
