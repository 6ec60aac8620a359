package auth

import (
	"errors"
	"strings"
)

// challenge is an authentication method that a server accepts (RFC 9110, section
// 11.6.1). The scheme and the parameter names are in lower case.
type challenge struct {
	scheme  string
	token68 string
	params  map[string]string
}

var (
	errChallenge = errors.New("its WWW-Authenticate header is malformed")
	errRepeated  = errors.New("its WWW-Authenticate header has a parameter twice")
)

// parseChallenges parses the lines of a WWW-Authenticate header. Together they are
// one comma-separated list, whose elements contain commas too. It returns an error
// and no challenges if the header does not match the grammar.
func parseChallenges(lines []string) ([]challenge, error) {
	var all []challenge
	for _, line := range lines {
		s := scanner{rest: line}
		for s.skipCommas(); s.rest != ""; s.skipCommas() {
			c, err := s.challenge()
			if err != nil {
				return nil, err
			}
			all = append(all, c)
		}
	}
	return all, nil
}

// scanner parses a header value from its beginning.
type scanner struct{ rest string }

func (s *scanner) challenge() (challenge, error) {
	c := challenge{scheme: strings.ToLower(s.take(isTokenChar))}
	if c.scheme == "" {
		return c, errChallenge
	}
	if s.atEnd() {
		return c, nil
	}
	if !strings.HasPrefix(s.rest, " ") {
		return c, errChallenge
	}
	if s.skipSpace(); !s.atParam() {
		c.token68 = s.take(isToken68Char) + s.take(func(b byte) bool { return b == '=' })
		if c.token68 == "" || c.token68[0] == '=' || !s.atEnd() {
			return c, errChallenge
		}
		return c, nil
	}
	c.params = map[string]string{}
	for s.atParam() {
		name, value, err := s.param()
		if err != nil {
			return c, err
		}
		if _, repeated := c.params[name]; repeated {
			return c, errRepeated
		}
		c.params[name] = value
		if !s.atEnd() {
			return c, errChallenge
		}
		s.skipCommas()
	}
	return c, nil
}

// atEnd reports whether an element of the list ends here.
func (s *scanner) atEnd() bool {
	rest := strings.TrimLeft(s.rest, " \t")
	return rest == "" || rest[0] == ','
}

// atParam reports whether name=value follows, rather than a scheme or a token68
// that ends in "=".
func (s *scanner) atParam() bool {
	ahead := *s
	if ahead.take(isTokenChar) == "" {
		return false
	}
	ahead.skipSpace()
	if !strings.HasPrefix(ahead.rest, "=") {
		return false
	}
	ahead.rest = ahead.rest[1:]
	ahead.skipSpace()
	return ahead.rest != "" && (ahead.rest[0] == '"' || isTokenChar(ahead.rest[0]))
}

func (s *scanner) param() (name, value string, err error) {
	name = strings.ToLower(s.take(isTokenChar))
	s.skipSpace()
	s.rest = s.rest[1:] // the "=" that atParam found
	s.skipSpace()
	if s.rest[0] != '"' {
		return name, s.take(isTokenChar), nil
	}
	value, err = s.quoted()
	return name, value, err
}

// quoted parses a quoted-string (RFC 9110, section 5.6.4).
func (s *scanner) quoted() (string, error) {
	var b strings.Builder
	for i := 1; i < len(s.rest); i++ {
		switch char := s.rest[i]; {
		case char == '"':
			s.rest = s.rest[i+1:]
			return b.String(), nil
		case char < ' ' && char != '\t', char == 0x7f:
			return "", errChallenge
		case char == '\\' && i+1 < len(s.rest) && (s.rest[i+1] >= ' ' || s.rest[i+1] == '\t') && s.rest[i+1] != 0x7f:
			i++
			b.WriteByte(s.rest[i])
		case char == '\\':
			return "", errChallenge
		default:
			b.WriteByte(char)
		}
	}
	return "", errChallenge
}

func (s *scanner) take(want func(byte) bool) string {
	n := 0
	for n < len(s.rest) && want(s.rest[n]) {
		n++
	}
	taken := s.rest[:n]
	s.rest = s.rest[n:]
	return taken
}

func (s *scanner) skipSpace()  { s.rest = strings.TrimLeft(s.rest, " \t") }
func (s *scanner) skipCommas() { s.rest = strings.TrimLeft(s.rest, " \t,") }

func isAlphanumeric(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9'
}

func isTokenChar(b byte) bool {
	return isAlphanumeric(b) || strings.IndexByte("!#$%&'*+-.^_`|~", b) >= 0
}

func isToken68Char(b byte) bool {
	return isAlphanumeric(b) || strings.IndexByte("-._~+/", b) >= 0
}
