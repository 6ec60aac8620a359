// Package auth knows where credentials come from and turns a registry's
// challenge into the header that answers it. It sends credentials to the
// origin that asked for them and to token realms that belong to it, and
// nowhere else.
package auth

import (
	"fmt"
	"io"
	"time"
)

// Secret is text that no formatting verb, logger or encoder shows.
type Secret string

const redacted = "***"

// String returns "***".
func (Secret) String() string { return redacted }

// GoString returns "***".
func (Secret) GoString() string { return redacted }

// Format writes "***" whatever the verb: to one that does not go with text,
// such as %d, fmt would otherwise answer with the text itself.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText returns "***", and so does every encoder that uses it, slog's
// included.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// Credential is what proves who asks. The zero value is anonymous.
type Credential struct {
	Username string
	Password Secret
	// IdentityToken is an OAuth 2 refresh token, exchanged for access tokens.
	IdentityToken Secret
	// RegistryToken is a bearer token that is used as it is.
	RegistryToken Secret
	// TokenHosts are further hosts, as host[:port], that the credential may be
	// sent to for a token.
	TokenHosts []string
	// Source says where the credential was found, for people:
	// `registries["ghcr.io"]`, `~/.docker/config.json`. Of an anonymous one it
	// says where none was found.
	Source string
	// Elsewhere is, of an anonymous one, what a person can do about it besides
	// an entry of registries: "run docker login ghcr.io". It may be empty.
	Elsewhere string
}

// Anonymous says whether there is nothing in c to prove anything with.
func (c Credential) Anonymous() bool {
	return c.Username == "" && c.Password == "" && c.IdentityToken == "" && c.RegistryToken == ""
}

// Options say where credentials come from; the first that has one for a
// repository gives it, and within each the longest prefix wins.
type Options struct {
	// CanonicalHost returns one spelling of host[:port] for all those that mean
	// one host. If nil, hosts are compared in the form of registry.NormalHost.
	CanonicalHost func(host string) string
	// Registries are explicit, by host[:port] or host[:port]/prefix. One that
	// is anonymous only adds its TokenHosts to what is found elsewhere.
	Registries map[string]Credential
	// DockerConfigJSON is the content of a docker configuration file.
	DockerConfigJSON Secret
	// DockerConfigPath is a docker or podman auth file to use in place of the
	// ambient ones. "" means none, nil the ambient ones: docker's, which is
	// config.json in the directory DOCKER_CONFIG or else in ~/.docker, then
	// podman's, which is REGISTRY_AUTH_FILE or else containers/auth.json under
	// XDG_RUNTIME_DIR.
	DockerConfigPath *string
	// Getenv is os.Getenv where nil.
	Getenv func(string) string
	// HelperTimeout is how long a credential helper may take; 30 s where 0.
	HelperTimeout time.Duration
	// Now is the clock by which what a helper said grows old; time.Now where
	// nil.
	Now func() time.Time
}
