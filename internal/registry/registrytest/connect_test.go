package registrytest_test

import (
	"errors"
	"io"
	"net/http"
	"syscall"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// A client with keep-alive must still open a connection for each request, so that the
// connection for a certain request is refused.
func TestRefuse(t *testing.T) {
	p, _ := front(t)
	other, _ := front(t)
	rule := p.On(".*", ".*").After(1).Times(2).Refuse()
	transport := &http.Transport{DialContext: registrytest.Dialer(p, other)}
	t.Cleanup(transport.CloseIdleConnections)
	get := func(p *registrytest.Proxy) error {
		res, err := (&http.Client{Transport: transport}).Get(p.URL() + "/v2/app/tags/list")
		if err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			err = res.Body.Close()
		}
		return err
	}
	for i, want := range []error{nil, syscall.ECONNREFUSED, syscall.ECONNREFUSED, nil} {
		if err := get(p); !errors.Is(err, want) {
			t.Errorf("Get() %d = %v, want %v", i, err, want)
		}
		if err := get(other); err != nil {
			t.Errorf("Get() through another proxy = %v", err)
		}
	}
	if rule.Taken() != 2 || p.Count("GET", ".*") != 2 {
		t.Errorf("Taken() = %d, Count() = %d, want 2 and 2", rule.Taken(), p.Count("GET", ".*"))
	}
}
