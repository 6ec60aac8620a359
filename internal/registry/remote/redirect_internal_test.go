package remote

import (
	"errors"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

func TestCheckRedirectByName(t *testing.T) {
	for _, name := range []string{"cdn.example.net", "cdn.example.net.", "CDN.example.net", "1.example.net", "0x.example", "8.8.8.8", "8.8.8.8.", "2606:4700::1"} {
		if err := checkRedirectByName(name, public); err != nil {
			t.Errorf("checkRedirectByName(%s) = %v, want nil", name, err)
		}
	}
	for name, from := range map[string]addrScope{"10.0.0.1": private, "10.0.0.1.": private, "localhost": loopback, "127.0.0.1": loopback} {
		if err := checkRedirectByName(name, from); err != nil {
			t.Errorf("checkRedirectByName(%s) from a %s registry = %v, want nil", name, from, err)
		}
		if err := checkRedirectByName(name, public); !errors.Is(err, registry.ErrForbiddenRedirect) {
			t.Errorf("checkRedirectByName(%s) from a public registry = %v, want ErrForbiddenRedirect", name, err)
		}
	}
}
