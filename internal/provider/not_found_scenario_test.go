package provider_test

import (
	"fmt"
	"net/http"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// TestNotFound_Gateway checks 404 responses of a gateway without a route to the registry, which
// look like those of a registry. The resource stays in state until the registry itself reports
// that the tag is gone.
func TestNotFound_Gateway(t *testing.T) {
	t.Parallel()
	const lost = `{"errors":[{"code":"NOT_FOUND","message":"no route matched"}]}`
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	gateway := registrytest.Intercept(t, dst)
	ws := newWorkspace(t)
	ws.configure(imageCopy("app", pushed.Ref, gateway.Ref("app", "1"), `on_destroy = "untag"`))
	ws.apply(ws.plan())

	gateway.On(".*", ".*").Reply(http.StatusNotFound, nil, lost)
	ws.planFails().wantError(gateway.Addr, "HTTP 404", "NOT_FOUND", "does not seem to be a registry")
	if ws.state(app) == nil {
		t.Error("the state is gone")
	}

	// A response of the registry counts, also with the error code of Harbor.
	gateway.Clear()
	gateway.On("HEAD|GET", "/v2/app/manifests/1").Reply(http.StatusNotFound, nil, lost)
	ws.plan().wantAction(app, tfjson.ActionCreate)
}

// TestNotFound_AnonymousClient checks a registry that returns 404 instead of a challenge to
// anonymous clients. The client then retries with the configured credentials, and a refresh
// does not treat the tag as gone.
func TestNotFound_AnonymousClient(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t, registrytest.BasicAuth("ci", "secret"))
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	hiding := registrytest.Intercept(t, dst)
	hiding.On("HEAD|GET", "/v2/app/.*").Do(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Header.Get("Authorization") != "" {
			next.ServeHTTP(w, r)
			return
		}
		w.WriteHeader(http.StatusNotFound)
		if r.Method == http.MethodGet {
			_, _ = w.Write(registrytest.ErrorBody("NAME_UNKNOWN", "repository name not known to registry"))
		}
	})
	provider := fmt.Sprintf("provider \"registry\" {\n  registries = { %q = { username = \"ci\", password = \"secret\" } }\n}", hiding.Addr)
	ws := newWorkspace(t)
	ws.configure(provider, imageCopy("app", pushed.Ref, hiding.Ref("app", "1")))
	ws.apply(ws.plan())
	ws.wantNoChanges()
	ws.converge(provider, imageCopy("app", pushed.Ref, hiding.Ref("app", "1")), manifest(hiding.Ref("app", "1")),
		fmt.Sprintf("data \"registry_tags\" \"app\" {\n  repository = \"%s/app\"\n}", hiding.Addr))
}
