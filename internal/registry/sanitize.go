package registry

import (
	"net/url"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxSanitized is the length limit of Sanitize, in bytes. It is enough for an
	// honest message and too little to flood a terminal.
	maxSanitized = 1024
	// maxInput is how many bytes of its input Sanitize reads, so that megabytes of
	// whitespace cost nothing.
	maxInput = 16 * maxSanitized
	// maxPage is how many bytes of a page Excerpt reads. A page may have much
	// markup before its text.
	maxPage = 4 * maxInput
)

// Sanitize makes registry-controlled text safe to display or log. It returns one line of
// valid UTF-8 of at most 1 KiB. Control, format and invisible characters are replaced, and
// text that a CI system interprets as a command is changed. All text from a registry is
// sanitized before it is displayed. Sanitize does not change text that is already safe.
func Sanitize(s string) string {
	s = s[:min(len(s), maxInput)]
	var b strings.Builder
	space := false
	for i := 0; i < len(s) && b.Len() < maxSanitized; {
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
	if len(clean) > maxSanitized {
		clean = strings.TrimRight(strings.ToValidUTF8(clean[:maxSanitized], ""), " ")
	}
	return clean
}

// invisible reports whether r is not visible by itself. Such characters can make
// two different texts look the same, or reverse the direction in which text is
// displayed. Unicode counts some of them as letters, marks or symbols.
func invisible(r rune) bool {
	const brailleBlank = '\u2800'
	return !unicode.IsGraphic(r) || r == brailleBlank || unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// ciCommand matches what CI systems interpret as a command: "::set-output" and
// "##[set-output" on GitHub, "##vso[" on Azure, "##teamcity[". Some systems
// recognize a command only at the beginning of a line, but where lines are wrapped
// is not known here. The first alternative matches an IPv6 address in brackets, so
// that the address is not changed.
var ciCommand = regexp.MustCompile(`\[[0-9A-Fa-f:.]+\]|::[A-Za-z]|##[A-Za-z]*\[`)

// maxExcerpt is the length limit of Excerpt, in bytes.
const maxExcerpt = 200

// markup matches the parts of an HTML page that are not text.
var markup = regexp.MustCompile(`(?is)<(script|style)\b.*?</(script|style)\s*>|<!--.*?-->|<[^<>]*>`)

// Excerpt returns the sanitized beginning of a response body that should have
// explained an error. It removes the markup of an HTML page. It returns "" if
// nothing is left.
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

// shownQuery is the set of query parameters that help a reader and never contain a
// secret.
var shownQuery = map[string]bool{
	"digest": true, "from": true, "mount": true, "n": true, "last": true,
	"scope": true, "service": true, "artifactType": true,
}

// RedactURL makes a URL safe to display or log. It removes the userinfo and the
// fragment, and replaces the values of all query parameters except a few well-known
// ones, because presigned URLs have their signature there. It returns "" if u is
// nil.
func RedactURL(u *url.URL) string {
	if u == nil {
		return ""
	}
	shown := *u
	shown.User, shown.Fragment, shown.RawFragment = nil, "", ""
	if shown.Opaque != "" {
		// The URL was not parsed further, as in "https:user:password@host".
		shown.Opaque = "***"
	}
	shown.RawQuery = redactQuery(u.RawQuery)
	return Sanitize(shown.String())
}

// redactQuery redacts a query. It keeps the order and the spelling, so that the URL
// can be found in a registry's log. Some servers split parameters at semicolons
// too, so the text after a semicolon is a parameter of its own.
func redactQuery(raw string) string {
	pairs := strings.FieldsFunc(raw, func(r rune) bool { return r == '&' || r == ';' })
	for i, pair := range pairs {
		key, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(key)
		switch {
		case err == nil && shownQuery[name]:
		case strings.Trim(value, "=") != "": // the value is more than base64 padding
			pairs[i] = key + "=***"
		default:
			pairs[i] = "***" // without a name, this may be a value as well as a key
		}
	}
	return strings.Join(pairs, "&")
}
