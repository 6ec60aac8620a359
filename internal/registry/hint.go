package registry

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Setting returns the settings of a host as hints display them:
//
//	registries = { "localhost:5000" = { plain_http = false } }
//
// host is the key of the entry, exactly as it is looked up. settings is the content
// of the entry, such as "plain_http = false". The caller writes "set" before the
// result, so that Retold finds it.
func Setting(host, settings string) string {
	return fmt.Sprintf("registries = { %q = { %s } }", Sanitize(host), settings)
}

// toSet matches the rest of a sentence from a setting on. The sentence ends with a
// full stop that a space or nothing follows. A setting outside of registries
// belongs to no host.
var toSet = regexp.MustCompile(`\b([Ss])et (?:registries = \{ "([^"]*)" = \{ (.*?) \} \}|(docker_config_path)\b).*?\.( |$)`)

// Retold returns a hint for users of a program other than the provider. It replaces
// "set", a setting of the provider and the rest of that sentence with the result of
// instead, which must not be empty. instead is called with the arguments of Setting,
// or with "" and "docker_config_path" for the credential file.
func Retold(hint string, instead func(host, settings string) string) string {
	return toSet.ReplaceAllStringFunc(hint, func(match string) string {
		part := toSet.FindStringSubmatch(match)
		words := instead(part[2], part[3]+part[4])
		if part[1] == "S" {
			words = strings.ToUpper(words[:1]) + words[1:]
		}
		return words + "." + part[5]
	})
}

// HintMissingTag returns a hint for a missing image whose reference was written
// without tag and digest. It returns "" for every other error.
func HintMissingTag(written string, err error) string {
	var e *Error
	ref, invalid := ParseReference(written)
	if invalid != nil || ref.Target() != "" || !errors.Is(err, ErrNotFound) || errors.As(err, &e) && e.Side == Destination {
		return ""
	}
	return fmt.Sprintf("%q gives no tag, so that %q was assumed. Write the tag that is meant.", written, DefaultTag)
}

// defaultHints maps each kind of error to its default hint.
var defaultHints = map[error]string{
	ErrInvalidReference:  "Give a tag, or a digest as in sha256:… with 64 hexadecimal digits.",
	ErrMismatch:          "What the registry holds under this digest is damaged, or something between it and this machine changes what passes. Push the image to it again, or take the proxy out of the way.",
	ErrInvalidManifest:   "The image is not well formed. Build it again with a current tool and push it anew, or report it to those who publish it.",
	ErrLimit:             "No ordinary image or list is as large as this. Look at what made it.",
	ErrUnsupported:       "The registry cannot do this, or it is switched off there. Ask those who run it.",
	ErrMissingContent:    "Something that the manifest names is not in the registry, or not any more: a garbage collection may run there. Try again.",
	ErrTagImmutable:      "The tag exists and the registry's settings do not let it move. Promote to a new tag, or allow this one to be changed.",
	ErrDenied:            "The registry does not allow this: a policy or a quota may be why. Ask those who run it.",
	ErrForbiddenRedirect: "No setting allows this. If the registry is yours, have it name another place; if it is not, tell those who run it.",
	ErrProtocol:          "What answered does not seem to be a registry: look at the host, the port, and any proxy on the way.",
	ErrUnavailable:       "The connection broke, or the registry is not well. Look at the network and at the registry's health, then try again.",
}

// DefaultHint returns the default hint for a kind of error, or "" if the kind has none.
func DefaultHint(kind error) string { return defaultHints[kind] }

// WithDefaultHint returns a copy of err with the hint for its kind, if err is an
// *Error without a hint. Any wrapping error is discarded. Other errors, and those
// of an ended context, are returned unchanged.
func WithDefaultHint(err error) error {
	var e *Error
	if !errors.As(err, &e) || e.Hint != "" || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	result := *e
	result.Hint = DefaultHint(e.Kind)
	return &result
}
