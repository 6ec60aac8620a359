package registry

import (
	"net/url"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxClean is how many bytes of a registry's words are shown: enough for any
// honest message, too little to flood a terminal.
const maxClean = 1024

// Clean makes text that a registry sent fit to be shown or logged: valid UTF-8
// in one line of at most 1 KiB, without control, format or invisible
// characters. Everything that a registry said passes here before a person sees
// it.
func Clean(s string) string {
	var b strings.Builder
	space := false
	for i := 0; i < len(s) && b.Len() < maxClean; {
		r, size := utf8.DecodeRuneInString(s[i:])
		i += size
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r):
			space = b.Len() > 0
			continue
		case r == utf8.RuneError || !unicode.IsGraphic(r):
			r = '?'
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		b.WriteRune(r)
	}
	return ciCommand.ReplaceAllString(b.String(), ": :$1")
}

// ciCommand is what some CI systems take for an instruction where it begins a
// line, and lines are wrapped where nobody can foresee it.
var ciCommand = regexp.MustCompile(`::([A-Za-z])`)

// shownQuery are the query parameters that say something to a reader and never
// carry a secret.
var shownQuery = map[string]bool{
	"digest": true, "from": true, "mount": true, "n": true, "last": true,
	"scope": true, "service": true, "artifactType": true,
}

// CleanURL is u fit to be shown or logged: without userinfo and fragment, and
// with the values of all query parameters but a few well-known ones replaced,
// because presigned URLs carry their signature there.
func CleanURL(u *url.URL) string {
	if u == nil {
		return ""
	}
	shown := *u
	shown.User, shown.Fragment, shown.RawFragment = nil, "", ""
	if u.RawQuery != "" {
		query, err := url.ParseQuery(u.RawQuery)
		if err != nil {
			query = url.Values{"unreadable": nil}
		}
		for key := range query {
			if !shownQuery[key] {
				query[key] = []string{"***"}
			}
		}
		shown.RawQuery = query.Encode()
	}
	return Clean(shown.String())
}
