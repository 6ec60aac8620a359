package copier_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// small is an index of one image with one layer.
func small(seed string) registrytest.Index {
	return registrytest.Index{Manifests: []registrytest.Content{
		registrytest.Image{Seed: seed, Layers: []registrytest.Blob{registrytest.Layer(seed+" layer", 5000)}},
	}}
}

func TestAnyOneRequestMayFailUnseen(t *testing.T) {
	t.Parallel()
	faults := map[string]func(*registrytest.Rule){
		"503":                 func(r *registrytest.Rule) { r.Reply(http.StatusServiceUnavailable, nil, "") },
		"429, come again now": func(r *registrytest.Rule) { r.Reply(http.StatusTooManyRequests, http.Header{"Retry-After": {"0"}}, "") },
		"reset":               func(r *registrytest.Rule) { r.Reset() },
		"cut in mid answer":   func(r *registrytest.Rule) { r.Cut(1) },
		"cut in mid upload":   func(r *registrytest.Rule) { r.CutUpload(1) },
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from, to := pair(t, registrytest.Behaviour{})
			pushed := from.Push(t, "app", "1", small("a"))
			undisturbed := newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("count", "1"))
			for side, p := range map[registry.Side]*registrytest.Proxy{registry.Source: from, registry.Destination: to} {
				for k := range undisturbed.Requests {
					rule := p.On(".*", ".*").After(k).Times(1)
					fault(rule)
					repo := fmt.Sprintf("%s-%d", side, k)
					newEngine(t).copy(t, from.Ref("app", "1"), to.Ref(repo, "1"))
					registrytest.Same(t, pushed.Tree, to.Read(t, repo, "1"))
					p.Clear()
					if rule.Taken() == 0 {
						break // that was one more than there are
					}
				}
			}
		})
	}
}

func TestAThrottledRequestIsSentAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		side         registry.Side
		method, path string
	}{
		"resolve":             {registry.Source, "HEAD", "/v2/app/manifests/1"},
		"fetch a manifest":    {registry.Source, "GET", "/v2/app/manifests/.*"},
		"fetch a blob":        {registry.Source, "GET", "/v2/app/blobs/.*"},
		"look at the tag":     {registry.Destination, "HEAD", "/v2/app/manifests/1"},
		"open an upload":      {registry.Destination, "POST", "/v2/app/blobs/uploads/"},
		"upload":              {registry.Destination, "PUT", "/v2/app/blobs/uploads/.*"},
		"push the manifest":   {registry.Destination, "PUT", "/v2/app/manifests/1"},
		"push a child's":      {registry.Destination, "PUT", "/v2/app/manifests/sha256:.*"},
		"look what was taken": {registry.Destination, "HEAD", "/v2/app/manifests/1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from, to := pair(t, registrytest.Behaviour{})
			pushed := from.Push(t, "app", "1", small("a"))
			p := map[registry.Side]*registrytest.Proxy{registry.Source: from, registry.Destination: to}[c.side]
			rule := p.On(c.method, c.path).Times(1)
			if name == "look what was taken" {
				rule.After(1)
			}
			rule.Reply(http.StatusTooManyRequests, http.Header{"Retry-After": {"1"}}, string(registrytest.ErrorBody("TOOMANYREQUESTS", "slow down")))
			report := newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("app", "1"))
			if report.Retries == 0 {
				t.Error("the report says nothing of a retry")
			}
			registrytest.Same(t, pushed.Tree, to.Read(t, "app", "1"))
		})
	}
}

func TestADownloadThatBreaksGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	const size = 3 << 20
	from, to := registrytest.Intercept(t, registrytest.V3(t)), registrytest.Intercept(t, registrytest.V2(t))
	layer := registrytest.Layer("large", size)
	pushed := from.Push(t, "app", "1", registrytest.Image{Seed: "a", Layers: []registrytest.Blob{layer}})
	d := string(layer.Descriptor().Digest)
	from.On("GET", "/v2/app/blobs/"+d).Times(3).Cut(1 << 20)
	report := newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("app", "1"))
	registrytest.Same(t, pushed.Tree, to.Read(t, "app", "1"))
	var ranges []string
	for _, r := range from.Requests() {
		if r.Path == "/v2/app/blobs/"+d {
			ranges = append(ranges, r.Header.Get("Range"))
		}
	}
	// How many of the last bytes before a cut arrive is the network's affair.
	if len(ranges) < 3 || ranges[0] != "" || ranges[1] == "" || ranges[2] == ranges[1] {
		t.Errorf("the blob was asked for with the ranges %q", ranges)
	}
	if n := to.Count("PUT", "/v2/app/blobs/uploads/.*"); n != 2 {
		t.Errorf("%d uploads for the configuration and the layer", n)
	}
	if report.Copied.Bytes < size || report.Retries == 0 {
		t.Errorf("the report says %+v", report)
	}
}
