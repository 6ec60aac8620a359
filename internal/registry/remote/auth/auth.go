// Package auth finds credentials and answers the authentication challenges of
// registries. It sends credentials only to the origin that requested them, and to
// token realms that belong to that origin.
package auth

import (
	"fmt"
	"io"
	"time"
)

// Secret is a string that formatting verbs, loggers and encoders do not reveal.
type Secret string

const redacted = "***"

// String returns "***".
func (Secret) String() string { return redacted }

// GoString returns "***".
func (Secret) GoString() string { return redacted }

// Format writes "***" for every verb. For verbs that do not apply to strings, such
// as %d, fmt would otherwise print the text itself.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText returns "***", so that encoders that use it do too, including those
// of slog.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// Credential authenticates a client to a registry. The zero value is anonymous.
type Credential struct {
	Username string
	Password Secret
	// IdentityToken is an OAuth 2 refresh token that is exchanged for access
	// tokens.
	IdentityToken Secret
	// RegistryToken is a bearer token that is sent as is.
	RegistryToken Secret
	// TokenHosts are additional hosts, as host[:port], that may receive the
	// credential in token requests.
	TokenHosts []string
	// Source is the source of the credential, for messages: `registries["ghcr.io"]`,
	// `~/.docker/config.json`. For an anonymous credential it lists the searched sources.
	Source string
	// Elsewhere is set for an anonymous credential. It is an instruction for
	// logging in other than by an entry of registries: "run docker login ghcr.io".
	// It may be empty.
	Elsewhere string
}

// Anonymous reports whether c contains nothing to authenticate with.
func (c Credential) Anonymous() bool {
	return c.Username == "" && c.Password == "" && c.IdentityToken == "" && c.RegistryToken == ""
}

// Options are the sources of credentials. The first source with a credential for a
// repository is used. Within a source, the entry with the longest prefix is used.
type Options struct {
	// CanonicalHost returns the same spelling of host[:port] for all spellings of a
	// host. If nil, hosts are compared as returned by registry.NormalHost.
	CanonicalHost func(host string) string
	// Registries are explicit credentials by host[:port] or host[:port]/prefix. An
	// anonymous entry only adds its TokenHosts to a credential of another source.
	Registries map[string]Credential
	// DockerConfigJSON is the content of a docker configuration file.
	DockerConfigJSON Secret
	// DockerConfigPath is a docker or podman auth file that replaces the default
	// files. "" means none, and nil means the default files: docker's config.json
	// in the directory DOCKER_CONFIG or else in ~/.docker, then podman's
	// REGISTRY_AUTH_FILE or else containers/auth.json under XDG_RUNTIME_DIR.
	DockerConfigPath *string
	// Getenv defaults to os.Getenv.
	Getenv func(string) string
	// HelperTimeout is the timeout of a credential helper. It defaults to 30 s.
	HelperTimeout time.Duration
	// Now is the clock for the expiry of cached helper results. It defaults to
	// time.Now.
	Now func() time.Time
}
