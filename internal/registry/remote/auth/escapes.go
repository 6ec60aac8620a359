package auth

import (
	"html"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf16"
)

// decodedText is a text with escapes undone, and where in the text that was.
type decodedText struct {
	text string
	from []int // of each byte, and of the end, where it begins; nil: nothing was undone
}

// span is a part of a text.
type span struct{ begin, end int }

// maxReadings is how often escapes are undone that stood in others: JSON in a
// page of HTML that quotes a URL is three times.
const maxDecodings = 5

// eachReading gives a text as it is, and then with its escapes undone once more as
// long as there are any.
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

// escaping are the characters that escapes begin with.
const escapeChars = `%+&\`

// undone is r with each of its escapes replaced by what it means.
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

// offset is where in the text byte i of the reading begins.
func (r decodedText) offset(i int) int {
	if r.from == nil {
		return i
	}
	return r.from[i]
}

// find is where in the text the reading has one of the parts, which are in lower
// case. An escape of several bytes belongs to a part as a whole.
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

// endOffset is where in the text begins what is behind byte i of the reading.
func (r decodedText) endOffset(i int) int {
	here := r.offset(i)
	for i < len(r.text) && r.offset(i) == here {
		i++
	}
	return r.offset(i)
}

// lowered is text with the letters of ASCII in lower case, byte by byte: it stays
// as long as it is, well formed or not.
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

// unescape is what a text that is not empty begins with, and how many bytes that
// takes: a character, or one that is escaped as in a URL ("%2F", "+"), in HTML
// ("&quot;", "&#39;"), or in JSON and what has more such escapes than JSON.
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
		return string([]byte{byte(code)}), len(text) - len(rest) //nolint:gosec // it is one
	}
	if len(text) > 1 && (text[1] == '/' || text[1] == '\'') {
		return text[1:2], 2
	}
	return text[:1], 1
}

// utf16Escape is the code that text begins with as in "\u00e4", and the size of
// that; none where it does not.
func utf16Escape(text string) (code rune, size int) {
	escape := jsonEscape.FindString(text)
	if escape == "" {
		return 0, 0
	}
	n, _ := strconv.ParseUint(escape[2:], 16, 16)
	return rune(n), len(escape)
}
