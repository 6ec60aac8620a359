package registry

import (
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"

	// go-digest does not register any algorithm itself. The algorithms that a
	// reference may use must be imported to be available.
	_ "crypto/sha256"
	_ "crypto/sha512"
)

// ValidateDigest returns an error if d is malformed, or if its algorithm is not
// supported (sha256, sha384, sha512). The error matches ErrInvalidReference.
func ValidateDigest(d digest.Digest) error {
	if why := digestFault(d); why != "" {
		return &Error{Op: "read the digest", Reference: Sanitize(d.String()), Kind: ErrInvalidReference, Message: why, Hint: DefaultHint(ErrInvalidReference)}
	}
	return nil
}

// digestFault returns why a digest is invalid, or "" if it is valid.
func digestFault(d digest.Digest) string {
	if d.Validate() == nil {
		return ""
	}
	name, hex, found := strings.Cut(string(d), ":")
	algorithm := digest.Algorithm(name)
	switch {
	case d == "":
		return "it is empty"
	case !found:
		return fmt.Sprintf("%q names no algorithm, and a digest is algorithm:hex", Sanitize(name))
	case !algorithm.Available():
		return fmt.Sprintf("the digest algorithm %q is not supported; sha256, sha384 and sha512 are", Sanitize(name))
	case len(hex) != 2*algorithm.Size():
		return fmt.Sprintf("%s has %d hexadecimal digits, and here there are %d characters", name, 2*algorithm.Size(), len(hex))
	case digest.Digest(name+":"+lowerASCII(hex)).Validate() == nil:
		return "its hexadecimal digits are not in lower case"
	}
	return fmt.Sprintf("%q has characters that are no hexadecimal digits", Sanitize(hex))
}

// SameDigest reports whether two digests may describe the same content. Digests of
// different algorithms may, because a registry can choose its own algorithm.
func SameDigest(a, b digest.Digest) bool {
	algorithmA, _, _ := strings.Cut(a.String(), ":")
	algorithmB, _, _ := strings.Cut(b.String(), ":")
	return algorithmA != algorithmB || a == b
}
