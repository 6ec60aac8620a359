package provider_test

import (
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// TestDestroy_ChildOfIndex promotes a platform image of an index on its own and removes it
// again.
func TestDestroy_ChildOfIndex(t *testing.T) {
	t.Parallel()
	for name, image := range map[string]registrytest.Content{
		"index":        registrytest.MultiArch("app"),
		"docker_list":  registrytest.DockerList("app"),
		"nested_index": registrytest.Nested("app"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, dst := registrytest.V3(t), registrytest.V3(t)
			pushed := src.Push(t, "app", "1", image)
			child := src.Push(t, "app", "amd64", firstImage(t, image))
			whole := imageCopy("whole", pushed.Ref, dst.Ref("app", "v1"))
			ws := newWorkspace(t)
			ws.converge(whole, imageCopy("app", child.Ref, dst.Ref("app", "v1-amd64"), `on_destroy = "delete"`))
			ws.configure(whole)
			ws.apply(ws.plan()).wantWarning("not deleted", "part of an index that other tags name: v1", "removed: v1-amd64")
			assertTags(t, dst, "app", "v1")
			registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "v1"))
			ws.wantNoChanges()
		})
	}
}

// firstImage returns the first image of an index, including nested indexes.
func firstImage(t *testing.T, content registrytest.Content) registrytest.Content {
	t.Helper()
	for {
		index, is := content.(registrytest.Index)
		if !is {
			return content
		}
		content = index.Manifests[0]
	}
}
