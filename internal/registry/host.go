package registry

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// dockerHubNames are the host names of Docker Hub. The last one is the host of its
// API.
var dockerHubNames = []string{DockerHub, "index.docker.io", "registry-1.docker.io"}

// NormalHost returns host[:port] in normal form, which is the same for all
// spellings of a host that are equal with any scheme:
//
//   - names are in lower case (RFC 4343), and internationalized names are in Punycode
//     (RFC 5891),
//   - IPv6 addresses are in the form of RFC 5952, and IPv4-mapped IPv6 addresses are
//     IPv4 addresses,
//   - ports have no leading zeros,
//   - the aliases of Docker Hub are replaced by DockerHub.
//
// A default port is kept, because it depends on the scheme. The error says why host is not
// valid. Names that end in a dot and addresses with a zone are not valid. Neither are Unicode
// names that are another spelling of an ASCII name.
func NormalHost(host string) (string, error) {
	name, port := SplitPort(host)
	if port != "" || strings.HasSuffix(host, ":") {
		normal, err := normalPort(port)
		if err != nil {
			return "", err
		}
		port = normal
	}
	name, err := normalName(name)
	if err != nil {
		return "", err
	}
	if slices.Contains(dockerHubNames, name) && (port == "" || port == "443") { // Docker Hub supports only TLS
		return DockerHub, nil
	}
	return JoinPort(name, port), nil
}

// SplitPort splits host[:port] into name and port. The port is "" if host has
// none. An IPv6 address keeps its brackets.
func SplitPort(host string) (name, port string) {
	if colon := strings.LastIndexByte(host, ':'); colon > strings.LastIndexByte(host, ']') {
		return host[:colon], host[colon+1:]
	}
	return host, ""
}

// JoinPort joins the results of SplitPort.
func JoinPort(name, port string) string {
	if port == "" {
		return name
	}
	return name + ":" + port
}

func normalPort(port string) (string, error) {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", fmt.Errorf("the port %q of its host is not one of 1 to 65535", Sanitize(port))
	}
	return strconv.FormatUint(n, 10), nil
}

// normalName returns a host without a port in normal form.
func normalName(name string) (string, error) {
	if inner, bracketed := strings.CutPrefix(name, "["); bracketed {
		a, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		if err != nil || !strings.HasSuffix(inner, "]") || a.Is4() || a.Zone() != "" {
			return "", fmt.Errorf("%q is not an IPv6 address", Sanitize(name))
		}
		return bracket(a.Unmap()), nil
	}
	ascii, err := ASCIIName(name)
	if err != nil {
		return "", fmt.Errorf("%q is not a valid internationalized host name", Sanitize(name))
	}
	switch {
	case !isASCII(name) && !punycode.MatchString(ascii):
		foreign := name[strings.IndexFunc(name, notASCII):]
		r, _ := utf8.DecodeRuneInString(foreign)
		return "", fmt.Errorf("its host has the character %+q, which makes it another spelling of %q", r, Sanitize(ascii))
	case !wholeHost.MatchString(ascii) || strings.Contains(ascii, ":"):
		return "", fmt.Errorf("%q is not a host", Sanitize(name))
	}
	return ascii, nil
}

// punycode matches a name with an internationalized label.
var punycode = regexp.MustCompile(`(^|\.)xn--`)

// bracket returns the text of an address as in host[:port], with brackets for IPv6.
func bracket(a netip.Addr) string {
	if a.Is6() {
		return "[" + a.String() + "]"
	}
	return a.String()
}

func isASCII(s string) bool { return !strings.ContainsFunc(s, notASCII) }

func notASCII(r rune) bool { return r > unicode.MaxASCII }

// ASCIIName returns a host name as HTTP clients send it: in lower case, and with
// internationalized labels in Punycode. Unlike NormalHost, it does not validate a
// name that is already ASCII.
func ASCIIName(name string) (string, error) {
	if isASCII(name) {
		// Unicode lower case would replace the Kelvin sign, for example, by the
		// letter k.
		return lowerASCII(name), nil
	}
	return idna.Lookup.ToASCII(name)
}

// DefaultPort returns the default port of a URL scheme, or "" for an unknown
// scheme.
func DefaultPort(scheme string) string {
	switch scheme {
	case "https":
		return "443"
	case "http":
		return "80"
	}
	return ""
}

// SameHostname reports whether Endpoint returns the same name for two URLs. Their
// ports may differ.
func SameHostname(a, b *url.URL) bool {
	nameA, _ := Endpoint(a)
	nameB, _ := Endpoint(b)
	return nameA == nameB
}

// Endpoint returns the host and port of u in one spelling. The name is normalized
// like that of NormalHost, with two exceptions. The aliases of Docker Hub are not
// replaced, because they are different endpoints. A name that NormalHost does not
// accept is only converted to lower case. Without a port, u has the default port of
// its scheme.
func Endpoint(u *url.URL) (name, port string) {
	name = u.Hostname()
	if a, err := netip.ParseAddr(name); err == nil {
		name = bracket(a.Unmap())
	} else if ascii, err := ASCIIName(name); err == nil {
		name = ascii
	} else {
		name = lowerASCII(name)
	}
	if port, err := normalPort(u.Port()); err == nil {
		return name, port
	}
	if port = u.Port(); port == "" {
		port = DefaultPort(u.Scheme)
	}
	return name, port
}
