package provider_test

import (
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// TestDestroy_SameTagByOtherHostName checks two resources with the same tag, one by an IP
// address and one by a host name.
func TestDestroy_SameTagByOtherHostName(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"untag", "delete"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			src, dst := registrytest.V3(t), registrytest.V3(t)
			pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
			byAddress := imageCopy("app", pushed.Ref, dst.Ref("app", "1"), `on_destroy = "`+policy+`"`)
			byName := imageCopy("named", pushed.Ref, strings.Replace(dst.Ref("app", "1"), "127.0.0.1", "localhost", 1))
			ws := newWorkspace(t)
			ws.converge(byAddress)
			ws.converge(byAddress, byName)
			ws.configure(byName)
			result := ws.apply(ws.plan())
			if len(result.diagnostics) == 0 {
				t.Error("no warning about the retained tag")
			}
			ws.wantNoChanges()
			registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "1"))
		})
	}
}

// TestDestroy_SamePathOnOtherRegistry checks that different registries with the same path are
// not treated as aliases.
func TestDestroy_SamePathOnOtherRegistry(t *testing.T) {
	t.Parallel()
	src, dev, prod := registrytest.V3(t), registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	ofProd := imageCopy("prod", pushed.Ref, prod.Ref("app", "1"))
	ws := newWorkspace(t)
	ws.converge(ofProd, imageCopy("app", pushed.Ref, dev.Ref("app", "1"), `on_destroy = "untag"`))
	ws.configure(ofProd)
	ws.apply(ws.plan()).wantNoWarnings()
	assertTags(t, dev, "app")
	registrytest.Same(t, pushed.Tree, prod.Read(t, "app", "1"))
}
