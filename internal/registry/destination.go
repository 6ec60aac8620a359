package registry

import "fmt"

// ParseDestination parses the reference of a destination. Host, repository and tag
// are required, because a default could copy an image to the wrong repository. The error
// matches ErrInvalidReference, and its Message has the reason.
func ParseDestination(s string) (Reference, error) {
	ref, err := ParseReference(s)
	if err != nil {
		return Reference{}, err
	}
	var why string
	switch {
	case !HasHost(s):
		why = fmt.Sprintf("it names no registry; if Docker Hub is meant, write %q", ref.WithDefaultTag())
	case ref.Digest != "":
		why = "it has a digest, and which one goes there is the source's to say"
	case ref.Tag == "":
		why = "it has no tag"
	default:
		return ref, nil
	}
	return Reference{}, &Error{Op: "use the destination", Reference: Sanitize(s), Kind: ErrInvalidReference, Message: why,
		Hint: "A destination is host/repository:tag, as in registry.example.com/team/app:1.4."}
}
