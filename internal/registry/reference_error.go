package registry

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// The grammar reports that a reference is invalid, but not why. The functions in
// this file find the reason. They are called only for rejected references.

// invalidReference returns the error for text that is not a reference. If the text
// may contain a secret, why may quote it and is replaced.
func invalidReference(s, why string) error {
	if HasSecret(s) && !scheme.MatchString(s) {
		why = secretFault(s)
	}
	return &Error{Op: "read the reference", Reference: RedactInput(s), Kind: ErrInvalidReference, Message: why,
		Hint: "A reference is host/repository:tag or host/repository@sha256:…, as in registry.example.com/team/app:1.4."}
}

// referenceFault returns why the grammar rejected a reference. It checks the parts in the
// order in which they are written.
func referenceFault(s string) string {
	if s == "" {
		return "it is empty"
	}
	if filePath.MatchString(s) {
		return fmt.Sprintf("it is a path on this machine, and an image layout there, or the tar archive of one, is written %q", Sanitize("oci:"+s))
	}
	if begins := scheme.FindString(s); begins != "" {
		return fmt.Sprintf("it begins with the scheme %q, and a reference has none", begins)
	}
	if host, _, found := strings.Cut(s, "/"); found && isHost(host) && !isASCII(host) {
		if _, err := NormalHost(host); err != nil {
			return err.Error()
		}
	}
	for _, r := range withoutHost(s) {
		if r <= ' ' || r > '~' || strings.ContainsRune(`?#%\`, r) {
			return fmt.Sprintf("it has the character %+q, which no reference has", r)
		}
	}
	name, hash, hasDigest := strings.Cut(s, "@")
	host, path := "", name
	if first, rest, found := strings.Cut(name, "/"); found && isHost(first) {
		host, path = first, rest
	}
	path, tag, hasTag := strings.Cut(path, ":")
	switch {
	case host != "" && !wholeHost.MatchString(host) && withoutHost(s) == s:
		return fmt.Sprintf("%q is not a host", Sanitize(host))
	case pathFault(path) != "":
		return pathFault(path)
	case reference.IdentifierRegexp.FindString(s) == s:
		return "64 hexadecimal digits are the ID of an image on one machine, and name no repository"
	case hasTag && !wholeTag.MatchString(tag):
		return tagFault(tag)
	case hasDigest:
		return "its digest is refused: " + digestFault(digest.Digest(hash))
	}
	return "it is not of the form host/repository:tag or host/repository@digest"
}

var (
	wholeHost = regexp.MustCompile(`^` + reference.DomainRegexp.String() + `$`)
	wholeName = regexp.MustCompile(`^` + reference.NameRegexp.String() + `$`)
	wholeTag  = regexp.MustCompile(`^` + reference.TagRegexp.String() + `$`)
)

// filePath matches text that begins as only a path does, or an absolute path that
// ends in a tar archive. Any other leading slash does not match, because it is
// usually a mistake in a reference.
var filePath = regexp.MustCompile(`^(\.\.?|~)/|^/.*\.tar(:[^/]*)?$`)

// transports matches the transports of other tools. This program reads some of them
// in another syntax and does not support the others.
var transports = regexp.MustCompile(`^(oci-archive|docker-archive|docker-daemon|containers-storage|dir|(?i:oci)):(.*)$`)

// transportFault returns why s is invalid if it begins with a transport of another tool,
// and "" otherwise. Docker Hub has no images with these names.
func transportFault(s string) string {
	parts := transports.FindStringSubmatch(s)
	switch {
	case len(parts) == 0 || parts[1] == "oci" || strings.HasPrefix(parts[2], "//"): // referenceFault rejects a scheme
		return ""
	case parts[1] == "oci-archive" || strings.EqualFold(parts[1], "oci"):
		return fmt.Sprintf("an image layout, or the tar archive of one, is written %q", Sanitize("oci:"+parts[2]))
	}
	return fmt.Sprintf("%q is a place that other tools read, and only registries and image layouts are read here: skopeo copy %s oci:./image:TAG makes a layout of it", Sanitize(parts[1]+":"), ShellWord(s))
}

// withoutHost returns s without its host if it begins with a valid one. A host may
// have characters that no other part of a reference has.
func withoutHost(s string) string {
	host, rest, found := strings.Cut(s, "/")
	if _, err := NormalHost(host); !found || !isHost(host) || err != nil {
		return s
	}
	return rest
}

// hostFault returns why a host of the grammar is not valid, or "" if it is.
func hostFault(host string) string {
	if _, err := NormalHost(host); err != nil {
		return err.Error()
	}
	name, _ := SplitPort(host)
	if _, err := netip.ParseAddr(name); err != nil && numeric.MatchString(name) {
		return fmt.Sprintf("%q is not an IPv4 address of four decimal numbers, such as 127.0.0.1", Sanitize(name))
	}
	if name != lowerASCII(name) {
		// The grammar reads it as a host because a repository has no upper-case
		// letters, but no registry can have this name.
		return fmt.Sprintf("%q is no host, because it has neither a dot nor a port, and repositories are in lower case", Sanitize(name))
	}
	return ""
}

// numeric matches a name whose last label is a number. Some resolvers read such a name
// as an IPv4 address, others as a name (WHATWG URL Standard, "ends in a number checker").
var numeric = regexp.MustCompile(`(^|\.)([0-9]+|0x[0-9a-f]*)$`)

// hostOnlyFault returns why s is invalid if it is a host and port without a repository,
// and "" otherwise. Docker Hub has no image with such a name.
func hostOnlyFault(s string) string {
	name, _, _ := strings.Cut(s, "@")
	host, port, _ := strings.Cut(name, ":")
	if strings.Contains(host, "/") || !isHost(host) || !allDigits.MatchString(port) {
		return ""
	}
	return fmt.Sprintf("it has no repository: %q would be read as the repository library/%s on Docker Hub with the tag %s", Sanitize(name), Sanitize(host), Sanitize(port))
}

var allDigits = regexp.MustCompile(`^[0-9]+$`)

// pathFault returns why the path of a repository is invalid, or "" if it is valid.
func pathFault(path string) string {
	const form = "lower-case letters and digits, with single dots, one or two underscores or any number of dashes in between"
	if path == "" {
		return "it has no repository"
	}
	if path != lowerASCII(path) {
		return fmt.Sprintf("the repository %q is not in lower case", Sanitize(path))
	}
	for component := range strings.SplitSeq(path, "/") {
		if component == "" {
			return fmt.Sprintf("the path of the repository %q has an empty part, so that there is a slash too many", Sanitize(path))
		}
		if !wholeName.MatchString(component) {
			return fmt.Sprintf("%q cannot be a part of a repository, which has %s", Sanitize(component), form)
		}
	}
	if len(path) > reference.RepositoryNameTotalLengthMax {
		return fmt.Sprintf("its repository is longer than %d characters", reference.RepositoryNameTotalLengthMax)
	}
	return ""
}

func tagFault(tag string) string {
	switch {
	case tag == "":
		return "it has a colon and no tag after it"
	case len(tag) > 128:
		return fmt.Sprintf("its tag has %d characters, and at most 128 are allowed", len(tag))
	}
	return fmt.Sprintf("%q cannot be a tag, which has letters, digits, underscores, dots and dashes, and begins with neither a dot nor a dash", Sanitize(tag))
}
