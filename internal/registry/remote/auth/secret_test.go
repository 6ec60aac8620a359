package auth_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

func base64Of(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// TestNothingShowsASecret formats and encodes everything that holds secrets, in
// every way there is.
func TestNothingShowsASecret(t *testing.T) {
	everything := auth.Credential{Username: "ci", Password: password, IdentityToken: identityToken, RegistryToken: registryToken}
	options := auth.Options{
		Registries:       map[string]auth.Credential{"ghcr.io": everything},
		DockerConfigJSON: auth.Secret(config(map[string]string{"quay.io": "ci"})),
	}
	store, err := auth.NewStore(options)
	if err != nil {
		t.Fatal(err)
	}
	authorizer := challenged(t, optionsFor(&issuer{}, "ghcr.io", "https://ghcr.io"), ghcr, ci, pull)
	authorize(t, authorizer, ci, pull)

	for name, value := range map[string]any{
		"secret": auth.Secret(password), "credential": everything, "credential pointer": &everything,
		"options": options, "store": store, "store value": *store, "authorizer": authorizer,
		"slice": []auth.Secret{password}, "map": map[string]auth.Secret{"password": password},
	} {
		t.Run(name, func(t *testing.T) {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%T", "%z"} {
				noSecret(t, fmt.Sprintf(verb, value))
			}
			if encoded, err := json.Marshal(value); err == nil {
				noSecret(t, string(encoded))
			}
			var log bytes.Buffer
			slog.New(slog.NewTextHandler(&log, nil)).Info("x", "value", value)
			slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "value", value)
			noSecret(t, log.String())
		})
	}
}

func TestASecretPrintsAsStars(t *testing.T) {
	s := auth.Secret(password)
	for _, got := range []string{s.String(), s.GoString(), fmt.Sprintf("%d", s), fmt.Sprintf("%#v", s)} {
		if got != "***" {
			t.Errorf("it prints as %q", got)
		}
	}
	if s.Reveal() != password {
		t.Error("it does not reveal itself")
	}
}

func TestMaskFindsEveryFormOfASecret(t *testing.T) {
	const secret = "p/w d+?=&é"
	for _, text := range []string{
		"said " + secret + " twice " + secret,
		"password=p%2Fw+d%2B%3F%3D%26%C3%A9&x=1",
		"/p%2Fw%20d+%3F=&%C3%A9/",
		"password=p%2fw+d%2b%3f%3d%26%c3%a9&x=1",
		"/p%2fw%20d+%3f=&%c3%a9/",
		"<p>p/w d+?=&amp;é</p>",
		"Basic " + base64Of(secret),
		base64.RawURLEncoding.EncodeToString([]byte(secret)),
	} {
		masked := auth.Mask(text, secret)
		if masked == text || !bytes.Contains([]byte(masked), []byte("***")) {
			t.Errorf("%q was not masked: %q", text, masked)
		}
	}
	if got := auth.Mask("an apple a day", "a", ""); got != "an apple a day" {
		t.Errorf("a secret of one letter was masked: %q", got)
	}
}

func TestACredentialIsMaskedInTheFormInWhichItIsSent(t *testing.T) {
	c := auth.Credential{Username: "deploy", Password: "~~~???~~~"}
	pair := []byte("deploy:~~~???~~~")
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if sent := encoding.EncodeToString(pair); strings.Trim(auth.Mask(sent, c.Secrets()...), "=") != "***" {
			t.Errorf("%q is shown as %q", sent, auth.Mask(sent, c.Secrets()...))
		}
	}
}
