package auth

import (
	"context"
	"encoding/base64"
	"slices"
	"strings"
	"unicode"
)

// minSecretLength is the length of the shortest secrets that are redacted.
// Replacing shorter text everywhere would reveal it rather than hide it.
const minSecretLength = 4

// Redact returns text with the secrets replaced by "***", in all forms in which a
// server may echo them: unchanged, with characters escaped for URLs, HTML or JSON,
// also nested, or base64-encoded, alone or inside larger encoded text. Case is
// ignored, because secrets lose it in a host or a media type. Call Redact before
// registry.Sanitize, which may truncate a secret.
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

// WithMask returns a context in which text about a token request is passed through
// mask. mask redacts more than the credential, because a realm may contain tokens
// that its server received earlier.
func WithMask(ctx context.Context, mask func(string) string) context.Context {
	return context.WithValue(ctx, redactKey{}, mask)
}

// RedactWith returns text passed through the mask of the context, if it has one.
func RedactWith(ctx context.Context, text string) string {
	if mask, ok := ctx.Value(redactKey{}).(func(string) string); ok {
		return mask(text)
	}
	return text
}

// redact returns text without the credential, passed through the mask of the
// context.
func (c Credential) redact(ctx context.Context, text string) string {
	return Redact(RedactWith(ctx, text), c.Secrets()...)
}

// secretForms returns the texts to search for in the decodings of a text, in lower
// case. A secret may itself contain escapes, which are decoded with those of the
// text, so its decoded form is included. Forms that are longer than the text are
// omitted.
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

// Secrets returns all secrets of a credential, including what servers receive: the
// user name and password together, and both in base64 without padding. A user name
// without any other part is a token.
func (c Credential) Secrets() []Secret {
	secrets := []Secret{c.Password, c.IdentityToken, c.RegistryToken}
	if c.Password == "" && c.IdentityToken == "" && c.RegistryToken == "" {
		secrets = append(secrets, Secret(c.Username))
	}
	if basic(c) != "" {
		pair := c.Username + ":" + c.Password.Reveal()
		// A server may trim white space, such as a line break at the end of a password.
		secrets = append(secrets, Secret(strings.TrimSpace(c.Password.Reveal())), Secret(pair),
			Secret(base64.RawStdEncoding.EncodeToString([]byte(pair))), Secret(base64.RawURLEncoding.EncodeToString([]byte(pair))))
	}
	return secrets
}

// plainWords redacts the output of a program that may contain unknown secrets. It
// replaces everything except plain words and short numbers, and whatever follows a
// word such as "password:".
func plainWords(text string) string {
	words := strings.Fields(text)
	named, hide := false, false // named: the previous word names a secret; hide: the next word may be one
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
