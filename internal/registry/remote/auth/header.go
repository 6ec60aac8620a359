package auth

import (
	"encoding/base64"
	"strings"
)

// basic returns the Authorization header of RFC 7617, or "" if c has neither a user
// name nor a password.
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

// isHeaderSafe reports whether a token is valid in a header.
func isHeaderSafe(token string) bool {
	return token != "" && !strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' })
}
