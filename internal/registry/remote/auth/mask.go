package auth

import (
	"context"
	"encoding/base64"
	"slices"
	"strings"
	"unicode"
)

// leastMasked is the length from which on a secret is looked for: to replace
// shorter text everywhere would show it rather than hide it.
const minSecretLength = 4

// Redact returns text with the secrets replaced by "***", in the forms in which a
// server may echo them: in base64, alone or anywhere in larger text that was encoded, and
// as they are or with any of their
// characters escaped as URLs, HTML or JSON have it, also one in the other. Case does
// not matter, because it is lost where a secret becomes a host or a media type. It
// belongs before registry.Sanitize, which may cut a secret in two.
func Redact(text string, secrets ...Secret) string {
	forms := secretForms(secrets, len(text))
	if text == "" || len(forms) == 0 {
		return text
	}
	var found []span
	eachDecoding(text, func(r decodedText) {
		found = append(found, r.find(forms)...)
		found = append(found, r.findEncoded(forms)...)
	})
	if len(found) == 0 {
		return text
	}
	slices.SortFunc(found, func(a, b span) int { return a.begin - b.begin })
	var b strings.Builder
	end := 0
	for _, s := range found {
		if s.begin >= end {
			b.WriteString(text[end:s.begin] + redacted)
		}
		end = max(end, s.end)
	}
	return b.String() + text[end:]
}

type redactKey struct{}

// WithMask returns a context in which what is told of a token request passes mask:
// it hides more than the credential, because whoever names the realm may have seen
// tokens before, and may name it after them.
func WithMask(ctx context.Context, mask func(string) string) context.Context {
	return context.WithValue(ctx, redactKey{}, mask)
}

// RedactWith is text after the mask of the context, if that has one.
func RedactWith(ctx context.Context, text string) string {
	if mask, ok := ctx.Value(redactKey{}).(func(string) string); ok {
		return mask(text)
	}
	return text
}

// redact is text without the credential, and after the mask of the context.
func (c Credential) redact(ctx context.Context, text string) string {
	return Redact(RedactWith(ctx, text), c.Secrets()...)
}

// formsOf are what to look for in the readings of a text, in lower case. What is an escape in a
// secret by itself is undone together with the others, so that a secret is looked
// for without it too. What is longer than the text, which no reading is, is not in it.
func secretForms(secrets []Secret, longest int) []string {
	var forms []string
	for i, secret := range secrets {
		s := secret.Reveal()
		tooLong := len(s) > longest && !strings.ContainsAny(s, escapeChars)
		if len(s) < minSecretLength || tooLong || slices.Contains(secrets[:i], secret) {
			continue
		}
		plain := s
		eachDecoding(s, func(r decodedText) { plain = r.text })
		for _, form := range []string{
			s, plain,
			strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(s)), "="),
			strings.TrimRight(base64.URLEncoding.EncodeToString([]byte(s)), "="),
		} {
			if form = lowerASCII(form); len(form) >= minSecretLength && len(form) <= longest && !slices.Contains(forms, form) {
				forms = append(forms, form)
			}
		}
	}
	return forms
}

// Secrets are all that must not be shown of a credential, with what a server is sent
// of it: user name and password together, and both in base64, which whoever repeats them may pad or
// not, or encode once more. A user name that is all there is, is a token.
func (c Credential) Secrets() []Secret {
	secrets := []Secret{c.Password, c.IdentityToken, c.RegistryToken}
	if c.Password == "" && c.IdentityToken == "" && c.RegistryToken == "" {
		secrets = append(secrets, Secret(c.Username))
	}
	if basic(c) != "" {
		pair := c.Username + ":" + c.Password.Reveal()
		secrets = append(secrets, Secret(pair),
			Secret(base64.RawStdEncoding.EncodeToString([]byte(pair))), Secret(base64.RawURLEncoding.EncodeToString([]byte(pair))))
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
