package registry_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

func TestRedactInput(t *testing.T) {
	digest := sum256.String()
	for s, want := range map[string]string{
		// References, and text that looks like one, are not changed.
		"ghcr.io/acme/app:1.4@" + digest:       "ghcr.io/acme/app:1.4@" + digest,
		"app@1.4":                              "app@1.4",
		"app@v1.4.2":                           "app@v1.4.2",
		"ghcr.io/app@1.4":                      "ghcr.io/app@1.4",
		"localhost:5000/app@1.4":               "localhost:5000/app@1.4",
		"app@SHA256:xyz":                       "app@SHA256:xyz",
		"[::1]:5000/app":                       "[::1]:5000/app",
		"ghcr.io/acme/app?":                    "ghcr.io/acme/app?",
		"@" + digest:                           "@" + digest,
		"oci:./dir/app:1.4@" + digest:          "oci:./dir/app:1.4@" + digest,
		`oci:C:\images\app:1.4`:                `oci:C:\images\app:1.4`,
		`oci:C:\Users\me@corp\img:1`:           `oci:C:\Users\me@corp\img:1`,
		"oci:app:1@" + digest:                  "oci:app:1@" + digest,
		"oci:./@scope/day=2026-03-01/a&b#1;%3": "oci:./@scope/day=2026-03-01/a&b#1;%3",
		// User names and passwords are replaced.
		"ci:canary@ghcr.io":                    "***@ghcr.io",
		"ci:canary@ghcr.io/acme/app:1":         "***@ghcr.io/acme/app:1",
		"ci:canary@localhost:5000/app":         "***@localhost:5000/app",
		"ci:can/ary@ghcr.io":                   "***@ghcr.io",
		"ci:can/ary@ghcr.io/acme/app":          "***@ghcr.io/acme/app",
		"ci:can@ary@ghcr.io/app@" + digest:     "***@ghcr.io/app@" + digest,
		"canary@ghcr.io":                       "***@ghcr.io",
		"canary@localhost:5000":                "***@localhost:5000",
		"can/ary@ghcr.io":                      "***@ghcr.io",
		"https://ci:canary@ghcr.io":            "https://***@ghcr.io",
		"oci://ci:canary@ghcr.io/charts/app:1": "oci://***@ghcr.io/charts/app:1",
		"https://ci:can/ary@ghcr.io":           "https://***@ghcr.io",
		"https://canary@ghcr.io/v2/":           "https://***@ghcr.io/v2/",
		"docker://ci:canary@ghcr.io/acme/app":  "docker://***@ghcr.io/acme/app",
		"oci:https://ci:canary@ghcr.io/app":    "oci:https://***@ghcr.io/app",
		"oci:ci:canary@ghcr.io/app:1":          "oci:***@ghcr.io/app:1",
		"oci:ci:canary@ghcr.io":                "oci:***@ghcr.io",
		// Values of parameters are replaced.
		"ghcr.io/acme/app:1?token=canary":           "ghcr.io/acme/app:1?***",
		"ghcr.io/acme/app?canary":                   "ghcr.io/acme/app?***",
		"ghcr.io/acme/app%3Ftoken%3Dcanary":         "ghcr.io/acme/app%3F***",
		"ghcr.io/acme/app#access_token=canary":      "ghcr.io/acme/app#***",
		"ghcr.io/acme/app&token=canary":             "ghcr.io/acme/app&***",
		"ghcr.io/acme/app;token=canary":             "ghcr.io/acme/app;***",
		"ghcr.io/token=canary/app":                  "ghcr.io/token=***",
		"ci:canary@ghcr.io/app?token=canary":        "***@ghcr.io/app?***",
		"https://ghcr.io/app?u=canary@x":            "https://***@x",
		"oci:./app?token=canary":                    "oci:./app?token=***",
		"oci:./app#token=canary:1":                  "oci:./app#token=***",
		"docker-archive:app.tar?sig=canary":         "docker-archive:app.tar?***",
		"ghcr.io/acme/app:1\n?token=canary\x1b[31m": "ghcr.io/acme/app:1 ?***",
	} {
		if got := registry.RedactInput(s); got != want {
			t.Errorf("RedactInput(%q) = %q, want %q", s, got, want)
		}
		if got := registry.HasSecret(s); got != strings.Contains(want, "***") {
			t.Errorf("HasSecret(%q) = %t, want %t", s, got, !got)
		}
		for name, parse := range map[string]func(string) (registry.Reference, error){
			"ParseReference": registry.ParseReference, "ParseDestination": registry.ParseDestination, "ParseRepository": registry.ParseRepository,
		} {
			_, err := parse(s)
			e, ok := errors.AsType[*registry.Error](err)
			if !ok {
				continue
			}
			for _, secret := range []string{"canary", "can/ary", "can@ary", "@ary", "/ary"} {
				if strings.Contains(e.Error()+e.Hint, secret) {
					t.Errorf("%s(%q) error contains the secret: %v %s", name, s, err, e.Hint)
				}
			}
		}
	}
}
