package registry

import (
	"fmt"
	"regexp"
	"strings"
)

// RedactInput makes user input safe to display or log: text that was written as a
// reference, a host or a key of registries. It sanitizes the text like Sanitize. It
// also replaces possible secrets, because users paste URLs, and errors are logged. A
// possible secret is a user name and password before an @, and everything after a
// character that starts a query, parameter, value or fragment. Valid references have
// none of these characters and are not changed.
func RedactInput(s string) string {
	s = s[:min(len(s), maxInput)]
	if rest, found := strings.CutPrefix(s, layoutScheme); found {
		return Sanitize(layoutScheme + redactPath(rest))
	}
	if start, end := userinfo(s); end > 0 {
		s = s[:start] + "***" + s[end:]
	}
	return Sanitize(withoutParameters(s, parameters))
}

// HasSecret reports whether RedactInput replaces a part of s.
func HasSecret(s string) bool { return RedactInput(s) != Sanitize(s) }

// layoutScheme is the prefix of a reference to an image layout. The path after it
// may contain nearly any character.
const layoutScheme = "oci:"

// redactPath is RedactInput for the path of an image layout. The drive letter of a
// Windows path is not a user name.
func redactPath(path string) string {
	drive := windowsDrive.FindString(path)
	path = path[len(drive):]
	// Two slashes make the path look like a URL, which may contain a password.
	if url := strings.TrimLeft(path, "/"); drive == "" && len(path)-len(url) > 1 {
		if start, end := userinfo("x://" + url); end > 0 {
			path = path[:len(path)-len(url)+start-len("x://")] + "***" + url[end-len("x://"):]
		}
	}
	first := path[:strings.IndexAny(path+"/", `/\`)]
	if start, end := userinfo(path); end > 0 && (start > 0 || end <= len(first) && strings.Contains(first[:end], ":")) {
		path = path[:start] + "***" + path[end:]
	}
	return drive + withoutParameters(path, pathParameters)
}

var (
	windowsDrive = regexp.MustCompile(`^[A-Za-z]:[/\\]`)
	// parameters matches the characters that start a query, parameter, value or
	// fragment in URLs, including their percent-encoded forms. Valid references
	// have none of these characters.
	parameters = regexp.MustCompile(`[?#&;=]|%(?i:3f|23|26|3b|3d)`)
	// pathParameters is the same for a path, which may have one of these characters
	// by itself.
	pathParameters = regexp.MustCompile(`[?#][^/?#=]*=`)
)

// withoutParameters returns s with everything after the first match of from
// replaced.
func withoutParameters(s string, from *regexp.Regexp) string {
	if at := from.FindStringIndex(s); len(at) > 0 && at[1] < len(s) {
		return s[:at[1]] + "***"
	}
	return s
}

// secretFault describes why text with a secret is invalid, without quoting the text.
func secretFault(s string) string {
	s = s[:min(len(s), maxInput)] // like RedactInput
	if _, end := userinfo(s); end > 0 {
		return "it has a user name before an @, and credentials do not belong in a reference"
	}
	at := parameters.FindStringIndex(s)
	if len(at) == 0 {
		return "it may contain a secret"
	}
	return fmt.Sprintf("it has the character %+q, which no reference has", s[at[0]])
}

// scheme matches the scheme of a URL (RFC 3986, section 3.1).
var scheme = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://`)

// userinfo returns the position of the user name and password of a URL: the text before
// the last @ that is not part of the reference. The result is 0, 0 if there is none.
func userinfo(s string) (start, end int) {
	if i := strings.Index(s, "://"); i >= 0 {
		start = i + len("://")
	}
	for end = len(s); ; {
		at := strings.LastIndexByte(s[start:end], '@')
		if at <= 0 {
			return 0, 0
		}
		if end = start + at; endsUserinfo(s[start:end], s[end+1:], start > 0) {
			return start, end
		}
	}
}

// endsUserinfo reports whether an @ separates the user name and password from the
// rest of a URL. It does not in "app@1.4", which is a misspelled tag, or before a
// digest.
func endsUserinfo(before, after string, url bool) bool {
	first, _, slashBefore := strings.Cut(before, "/")
	_, password, colon := strings.Cut(first, ":")
	switch {
	case digestLike.MatchString(after):
		return false
	case url, strings.Contains(after, "/"):
		return true
	case hostLike.MatchString(after):
		return true
	case slashBefore: // as in "user:pass/word@host", but not in "host:5000/app@1.4"
		return colon && !allDigits.MatchString(password)
	}
	return colon
}

// digestLike matches text that was meant to be a digest, even a malformed one.
var digestLike = regexp.MustCompile(`(?i)^(sha|md|blake)\d[\da-z]*(:|$)`)

// hostLike matches text that begins with a host name of several labels, or that is
// a host name and a port. The last label must not have digits, because the last
// part of a version has digits.
var hostLike = regexp.MustCompile(`(?i)^([a-z0-9-]+\.)+[a-z]{2,}(:|$)|^[a-z][a-z0-9.-]*:[0-9]+$`)
