package auth_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// The test formats and encodes all values that contain secrets, with all verbs and encoders.
func TestSecret_NotFormatted(t *testing.T) {
	everything := auth.Credential{Username: "ci", Password: password, IdentityToken: identityToken, RegistryToken: registryToken}
	options := auth.Options{
		Registries:       map[string]auth.Credential{"ghcr.io": everything},
		DockerConfigJSON: auth.Secret(config(map[string]string{"quay.io": "ci"})),
	}
	store, err := auth.NewStore(options)
	if err != nil {
		t.Fatal(err)
	}
	authorizer := challenged(t, optionsFor(&issuer{}, "ghcr.io", "https://ghcr.io"), ghcrChallenge, ci, pull)
	authorize(t, authorizer, ci, pull)
	result := authorization(t, authorizer, auth.Credential{RegistryToken: registryToken}, pull)

	for name, value := range map[string]any{
		"secret": auth.Secret(password), "credential": everything, "credential_pointer": &everything,
		"options": options, "store": store, "store_value": *store, "authorizer": authorizer, "authorization": result,
		"slice": []auth.Secret{password}, "map": map[string]auth.Secret{"password": password},
	} {
		t.Run(name, func(t *testing.T) {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%T", "%z"} {
				assertNoSecret(t, fmt.Sprintf(verb, value))
			}
			if encoded, err := json.Marshal(value); err == nil {
				assertNoSecret(t, string(encoded))
			}
			var log bytes.Buffer
			slog.New(slog.NewTextHandler(&log, nil)).Info("x", "value", value)
			slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "value", value)
			assertNoSecret(t, log.String())
		})
	}
}

func TestSecret_String(t *testing.T) {
	s := auth.Secret(password)
	for _, got := range []string{s.String(), s.GoString(), fmt.Sprintf("%d", s), fmt.Sprintf("%#v", s)} {
		if got != "***" {
			t.Errorf("formatted secret = %q, want ***", got)
		}
	}
	if s.Reveal() != password {
		t.Errorf("Reveal() = %q, want %q", s.Reveal(), password)
	}
}
