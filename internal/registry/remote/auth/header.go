package auth

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// basic is the Authorization header of RFC 7617, "" where there is neither a
// user name nor a password.
func basic(c Credential) string {
	if c.Username == "" && c.Password == "" {
		return ""
	}
	return "Basic " + basicValue(c)
}

func basicValue(c Credential) string {
	return base64.StdEncoding.EncodeToString([]byte(c.Username + ":" + c.Password.Reveal()))
}

func bearer(token Secret) string { return "Bearer " + token.Reveal() }

// isHeaderSafe says whether a token has only characters that a header can
// carry, and nothing that would end it.
func isHeaderSafe(token string) bool {
	return token != "" && !strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' })
}

// Kind says what a credential is, and of it no more than a user name that has a
// password: one without may be the secret itself.
func (c Credential) Kind() string {
	switch {
	case c.Anonymous():
		return "none, anonymous"
	case c.RegistryToken != "":
		return "the registry token"
	case c.IdentityToken != "":
		return "the identity token"
	case c.Username != "" && c.Password != "":
		return fmt.Sprintf("the login of the user %q", registry.Clean(c.Username))
	}
	return "the login"
}

// source says where a credential was found.
func (c Credential) source() string { return cmp.Or(c.Origin, "the caller") }

// Advice says which credential was not enough for a host, where it came from,
// and what to do.
func (c Credential) Advice(host string) string {
	if c.Anonymous() {
		return fmt.Sprintf("The registry wants a login and there was none: %s. Set %s, or run docker login %s.",
			cmp.Or(c.Origin, "no credentials were given"), registry.Setting(host, `username = "…", password = "…"`), host)
	}
	return fmt.Sprintf("The credentials at hand are %s, from %s. Check that they are right and have not expired, and that they may use this repository.", c.Kind(), c.source())
}
