package registry

import (
	"net/url"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxClean is how many bytes of a registry's words are shown: enough for
	// any honest message, too little to flood a terminal.
	maxClean = 1024
	// maxRaw is how many bytes are looked at to find them, so that megabytes of
	// blanks cost nothing.
	maxRaw = 16 * maxClean
	// maxPage is the same of a page, which may have much before its text.
	maxPage = 4 * maxRaw
)

// Sanitize makes text that a registry sent fit to be shown or logged: valid UTF-8
// in one line of at most 1 KiB, without control, format or invisible
// characters, and without what a CI system takes for a command. Everything that
// a registry said passes here before a person sees it. What is clean stays as
// it is.
func Sanitize(s string) string {
	s = s[:min(len(s), maxRaw)]
	var b strings.Builder
	space := false
	for i := 0; i < len(s) && b.Len() < maxClean; {
		r, size := utf8.DecodeRuneInString(s[i:])
		i += size
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r):
			space = b.Len() > 0
			continue
		case r == utf8.RuneError || invisible(r):
			r = '?'
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		b.WriteRune(r)
	}
	clean := ciCommand.ReplaceAllStringFunc(b.String(), func(match string) string {
		if match[0] == '[' {
			return match
		}
		return match[:1] + " " + match[1:]
	})
	if len(clean) > maxClean {
		clean = strings.TrimRight(strings.ToValidUTF8(clean[:maxClean], ""), " ")
	}
	return clean
}

// invisible says whether r leaves no mark of its own: what cannot be seen can
// make two texts look the same, or turn the direction in which one is read.
// Unicode counts some such characters among letters, marks and symbols.
func invisible(r rune) bool {
	const brailleBlank = '\u2800'
	return !unicode.IsGraphic(r) || r == brailleBlank || unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// ciCommand is what CI systems take for an instruction: "::set-output" and
// "##[set-output" on GitHub, "##vso[" on Azure, "##teamcity[". Some look for it
// at the beginning of a line alone, but lines are wrapped where nobody can
// foresee it. An IPv6 address between brackets is none: it matches first, so
// that it can be left as it is.
var ciCommand = regexp.MustCompile(`\[[0-9A-Fa-f:.]+\]|::[A-Za-z]|##[A-Za-z]*\[`)

// maxExcerpt is how many bytes are shown of a text that nobody expected.
const maxExcerpt = 200

// markup is what a page has besides its text.
var markup = regexp.MustCompile(`(?is)<(script|style)\b.*?</(script|style)\s*>|<!--.*?-->|<[^<>]*>`)

// Excerpt is the beginning of what a server answered where an explanation was
// expected, cleaned; of a page it is the text without the markup. "" where there
// is none.
func Excerpt(body string) string {
	text := body[:min(len(body), maxPage)]
	if strings.HasPrefix(strings.TrimSpace(text), "<") {
		text = markup.ReplaceAllString(text, " ")
	}
	if text = Sanitize(text); len(text) > maxExcerpt {
		text = strings.ToValidUTF8(text[:maxExcerpt], "") + "…"
	}
	return text
}

// shownQuery are the query parameters that say something to a reader and never
// carry a secret.
var shownQuery = map[string]bool{
	"digest": true, "from": true, "mount": true, "n": true, "last": true,
	"scope": true, "service": true, "artifactType": true,
}

// RedactURL is u fit to be shown or logged: without userinfo and fragment, and
// with the values of all query parameters but a few well-known ones replaced,
// because presigned URLs carry their signature there. "" for nil.
func RedactURL(u *url.URL) string {
	if u == nil {
		return ""
	}
	shown := *u
	shown.User, shown.Fragment, shown.RawFragment = nil, "", ""
	if shown.Opaque != "" {
		// "https:user:password@host": nobody took it apart.
		shown.Opaque = "***"
	}
	shown.RawQuery = cleanQuery(u.RawQuery)
	return Sanitize(shown.String())
}

// cleanQuery keeps order and spelling of a query, for whoever compares it with
// a registry's log. Semicolons separate parameters for some servers, so that
// what follows one belongs to no parameter that is known.
func cleanQuery(raw string) string {
	pairs := strings.FieldsFunc(raw, func(r rune) bool { return r == '&' || r == ';' })
	for i, pair := range pairs {
		key, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(key)
		switch {
		case err == nil && shownQuery[name]:
		case strings.Trim(value, "=") != "": // and no padding of base64
			pairs[i] = key + "=***"
		default:
			pairs[i] = "***" // a value without a name, as likely as the reverse
		}
	}
	return strings.Join(pairs, "&")
}
