package main

import (
	"net/http"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/cmd/internal/child"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

func TestRaw_Copy(t *testing.T) {
	from, to := registrytest.V3(t), registrytest.V3(t)
	small := func(seed string) image { return image{layers: []blob{layer(3000, "shared"), layer(70_000, seed)}} }
	index := image{children: []image{small("one"), small("two")}}
	s := &seeder{registry: registryOf(from), uploaded: map[digest.Digest]string{}}
	for _, repository := range []string{"first", "second"} { // the second push mounts the blobs
		if _, err := s.push(t.Context(), repository, tag, index); err != nil {
			t.Fatal(err)
		}
	}
	// Five blobs are uploaded once, and three manifests to each repository.
	if got, err := registryOf(from).requests(t.Context()); err != nil || got["PUT"] != 5+2*3 {
		t.Errorf("requests of push() = %v, %v, want 11 PUT", got, err)
	}
	before, err := registryOf(to).requests(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	source := from.Addr + "/second:" + tag
	for _, c := range []struct{ source, repository string }{{source, "copied"}, {to.Addr + "/copied:" + tag, "promoted"}} {
		if err := newRaw(&http.Client{}, "http").copy(t.Context(), c.source, to.Addr+"/"+c.repository+":"+tag); err != nil {
			t.Fatal(err)
		}
		registrytest.Same(t, from.Read(t, "first", tag), to.Read(t, c.repository, tag))
	}
	if found, err := registryOf(to).digest(t.Context(), "promoted"); err != nil || found != string(from.Digest(t, "first", tag)) {
		t.Errorf("digest() = %s, %v, want that of the source", found, err)
	}
	// Each blob is uploaded or mounted once. Reading the copies adds only GET and HEAD
	// requests.
	after, err := registryOf(to).requests(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := difference(after, before); got["POST"] != 10 || got["PUT"] != 5+2*3 {
		t.Errorf("requests of copy() = %v, want 10 POST and 11 PUT", got)
	}
}

// serving converts a registry of registrytest.
func registryOf(r *registrytest.Registry) *registry {
	return &registry{Registry: &child.Registry{Address: r.Addr}, base: "http://" + r.Addr, client: &http.Client{}}
}
