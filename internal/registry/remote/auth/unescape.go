package auth

import (
	"html"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf16"
)

// decodedText is a text with escapes decoded, and the positions in the original
// text.
type decodedText struct {
	text string
	from []int // original position of each byte and of the end; nil if nothing was decoded
}

// span is a range of the original text.
type span struct{ begin, end int }

// maxDecodings is how many nested levels of escapes are decoded. JSON in an HTML
// page that quotes a URL has three.
const maxDecodings = 5

// eachDecoding calls read with the text, and then repeatedly with one more level of
// escapes decoded, as long as there are any.
func eachDecoding(text string, read func(decodedText)) {
	r := decodedText{text: text}
	for range maxDecodings {
		read(r)
		unescaped := r.unescaped()
		if unescaped.text == r.text {
			return
		}
		r = unescaped
	}
	read(r)
}

// escapeChars are the characters that start an escape.
const escapeChars = `%+&\`

// unescaped returns r with each of its escapes decoded.
func (r decodedText) unescaped() decodedText {
	if !strings.ContainsAny(r.text, escapeChars) {
		return r
	}
	unescaped := decodedText{from: make([]int, 0, len(r.text)+1)}
	var b strings.Builder
	for i := 0; i < len(r.text); {
		meaning, size := unescape(r.text[i:])
		for range len(meaning) {
			unescaped.from = append(unescaped.from, r.offset(i))
		}
		b.WriteString(meaning)
		i += size
	}
	unescaped.from = append(unescaped.from, r.offset(len(r.text)))
	unescaped.text = b.String()
	return unescaped
}

// offset returns the position in the original text at which byte i of r begins.
func (r decodedText) offset(i int) int {
	if r.from == nil {
		return i
	}
	return r.from[i]
}

// find returns the positions of parts in the original text. The parts are in lower
// case. A multi-byte escape is included as a whole.
func (r decodedText) find(parts []string) (found []span) {
	text := lowerASCII(r.text)
	for _, part := range parts {
		for from := 0; ; {
			i := strings.Index(text[from:], part)
			if i < 0 {
				break
			}
			begin := from + i
			from = begin + len(part)
			found = append(found, span{r.offset(begin), r.endOffset(from - 1)})
		}
	}
	return found
}

// endOffset returns the position in the original text after byte i of r.
func (r decodedText) endOffset(i int) int {
	here := r.offset(i)
	for i < len(r.text) && r.offset(i) == here {
		i++
	}
	return r.offset(i)
}

// lowerASCII returns text with ASCII letters in lower case, byte by byte. It keeps
// the length, even for malformed UTF-8.
func lowerASCII(text string) string {
	b := []byte(text)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

var (
	htmlEscape = regexp.MustCompile(`^&#?[0-9A-Za-z]{1,31};`)
	jsonEscape = regexp.MustCompile(`^\\u[0-9A-Fa-f]{4}`)
)

// unescape decodes the first character of a non-empty text, and returns the size of
// its encoding. The character may be escaped as in a URL ("%2F", "+"), in HTML
// ("&quot;", "&#39;"), in JSON, or with other backslash escapes.
func unescape(text string) (meaning string, size int) {
	switch text[0] {
	case '+':
		return " ", 1
	case '%':
		if len(text) > 2 {
			if code, err := strconv.ParseUint(text[1:3], 16, 8); err == nil {
				return string([]byte{byte(code)}), 3
			}
		}
	case '&':
		if escape := htmlEscape.FindString(text); escape != "" {
			return html.UnescapeString(escape), len(escape)
		}
	case '\\':
		return unescapeBackslash(text)
	}
	return text[:1], 1
}

func unescapeBackslash(text string) (meaning string, size int) {
	if code, size := utf16Escape(text); size > 0 {
		if low, more := utf16Escape(text[size:]); utf16.IsSurrogate(code) && more > 0 {
			code, size = utf16.DecodeRune(code, low), size+more
		}
		return string(code), size
	}
	if code, multibyte, rest, err := strconv.UnquoteChar(text, '"'); err == nil {
		if multibyte {
			return string(code), len(text) - len(rest)
		}
		return string([]byte{byte(code)}), len(text) - len(rest) //nolint:gosec // rune values up to 255 fit
	}
	if len(text) > 1 && (text[1] == '/' || text[1] == '\'') {
		return text[1:2], 2
	}
	return text[:1], 1
}

// utf16Escape returns the code and the size of an escape such as "\u00e4" at the beginning
// of text. Without an escape, the size is 0.
func utf16Escape(text string) (code rune, size int) {
	escape := jsonEscape.FindString(text)
	if escape == "" {
		return 0, 0
	}
	n, _ := strconv.ParseUint(escape[2:], 16, 16)
	return rune(n), len(escape)
}
