package registrytest_test

import (
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

func TestLeaks_Goroutine(t *testing.T) {
	if failure := failures(t, func(t testing.TB) {
		registrytest.NoLeaks(t)
		reg := registrytest.Scripted(t, registrytest.Behaviour{}, registrytest.TLS())
		registrytest.Intercept(t, reg).Through().Push(t, "app", "1.0", registrytest.MultiArch("a"))
		registrytest.V3(t)
	}); failure != "" {
		t.Errorf("NoLeaks() after registries = %s, want no leak", failure)
	}
	stop := make(chan struct{})
	failure := failures(t, func(t testing.TB) {
		registrytest.NoLeaks(t)
		go func() { <-stop }()
	})
	close(stop)
	if !strings.Contains(failure, "found unexpected goroutines") {
		t.Errorf("NoLeaks() failure = %q, want the goroutine", failure)
	}
}
