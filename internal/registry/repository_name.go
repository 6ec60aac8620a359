package registry

import "fmt"

// ParseRepository parses the name of a repository ("ghcr.io/acme/app", "alpine"),
// which is a reference without tag and digest. The error matches
// ErrInvalidReference, and its Message has the reason.
func ParseRepository(s string) (Reference, error) {
	ref, err := ParseReference(s)
	if err != nil {
		return Reference{}, err
	}
	var why string
	switch {
	case ref.Digest != "":
		why = "it has a digest, and a repository alone has none"
	case ref.Tag != "":
		why = fmt.Sprintf("it has the tag %q, and a repository alone has none", ref.Tag)
	default:
		return ref, nil
	}
	return Reference{}, &Error{Op: "use the repository", Reference: Sanitize(s), Kind: ErrInvalidReference, Message: why,
		Hint: fmt.Sprintf("Write the repository alone: %q.", ref.Name())}
}
