package auth

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"strings"
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

// kind says what a credential is and where it came from, and nothing of it: a
// user name can be a token, too.
func (c Credential) kind() string {
	what := "the user name and password"
	switch {
	case c.RegistryToken != "":
		what = "the registry token"
	case c.IdentityToken != "":
		what = "the identity token"
	}
	return what + " from " + cmp.Or(c.Origin, "the caller")
}

// advice says what was used and what to do where it was not enough.
func (c Credential) advice(host string) string {
	if c.Anonymous() {
		return fmt.Sprintf("The request was anonymous: %s. Give credentials for %q in registries, or log in with docker login %s.",
			cmp.Or(c.Origin, "no credentials were given"), host, host)
	}
	return fmt.Sprintf("Used was %s. Check that it is right and has not expired, and that it may do this.", c.kind())
}
