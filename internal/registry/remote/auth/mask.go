package auth

import (
	"encoding/base64"
	"html"
	"net/url"
	"regexp"
	"strings"
	"unicode"
)

// leastMasked is the length from which on a secret is looked for: to replace
// shorter text everywhere would show it rather than hide it.
const leastMasked = 4

// Mask returns text with the secrets replaced by "***", in the forms in which a
// server may echo them: as they are, URL-encoded, in HTML and in base64. It
// belongs before registry.Clean, which may cut a secret in two.
func Mask(text string, secrets ...Secret) string {
	for _, secret := range secrets {
		s := secret.Reveal()
		if len(s) < leastMasked {
			continue
		}
		query, path := url.QueryEscape(s), url.PathEscape(s)
		for _, form := range []string{
			s, query, path, lowerEscapes(query), lowerEscapes(path), html.EscapeString(s),
			strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(s)), "="),
			strings.TrimRight(base64.URLEncoding.EncodeToString([]byte(s)), "="),
		} {
			text = strings.ReplaceAll(text, form, redacted)
		}
	}
	return text
}

var percentEscape = regexp.MustCompile(`%[0-9A-F]{2}`)

// lowerEscapes spells %2F as %2f.
func lowerEscapes(s string) string { return percentEscape.ReplaceAllStringFunc(s, strings.ToLower) }

// Secrets are all that must not be shown of a credential, with what a server is sent
// of it: user name and password in base64, which whoever repeats them may pad or
// not.
func (c Credential) Secrets() []Secret {
	secrets := []Secret{c.Password, c.IdentityToken, c.RegistryToken}
	if basic(c) != "" {
		pair := []byte(c.Username + ":" + c.Password.Reveal())
		secrets = append(secrets, Secret(base64.RawStdEncoding.EncodeToString(pair)), Secret(base64.RawURLEncoding.EncodeToString(pair)))
	}
	return secrets
}

// plainWords are the words of a program that may hold secrets nobody knows of:
// what is not a plain word or a short number is replaced, and so is whatever
// follows a word such as "password:".
func plainWords(text string) string {
	words := strings.Fields(text)
	named, hide := false, false // the word before named a secret; what follows may be it
	for i, word := range words {
		bare := strings.Trim(word, "\"'`.,:;=()[]{}<>!?-")
		assigns := strings.ContainsAny(word, ":=") || bare == "is"
		if bare == "" || bare == "is" {
			hide = hide || named && assigns
			continue
		}
		if hide || !isPlain(bare) {
			words[i] = redacted
		}
		named = isSecretName(bare)
		hide = named && assigns
	}
	return strings.Join(words, " ")
}

func isPlain(word string) bool {
	letters, digits := 0, 0
	for _, r := range word {
		switch {
		case r < unicode.MaxASCII && unicode.IsLetter(r):
			letters++
		case '0' <= r && r <= '9':
			digits++
		default:
			return false
		}
	}
	return digits == 0 && letters <= 24 || letters == 0 && digits <= 5
}

func isSecretName(word string) bool {
	word = strings.ToLower(word)
	for _, name := range []string{"pass", "secret", "token", "key", "auth", "bearer", "basic", "credential"} {
		if strings.Contains(word, name) {
			return true
		}
	}
	return false
}
