package registrytest

// Option configures a registry.
type Option func(*settings)

type settings struct {
	noDelete, readOnly, schema1 bool
	root                        string
	user, password              string
	tokens                      *TokenServer
	identity                    *identity
	names                       []string
	tls                         bool
}

// NoDelete disables deletion, which is the default of the distribution registries.
func NoDelete() Option { return func(s *settings) { s.noDelete = true } }

// ReadOnly makes the registry reject every write.
func ReadOnly() Option { return func(s *settings) { s.readOnly = true } }

// Schema1 makes docker/distribution 2.8.3 accept schema 1 manifests. V3 fails the test with
// this option, because it does not support them.
func Schema1() Option { return func(s *settings) { s.schema1 = true } }

// Root stores content in a directory instead of in memory, for blobs that are too large for
// memory.
func Root(dir string) Option { return func(s *settings) { s.root = dir } }

// BasicAuth requires Basic authentication with the given user and password.
func BasicAuth(user, password string) Option {
	return func(s *settings) { s.user, s.password = user, password }
}

// TokenAuth requires bearer tokens of the given token server. A scripted registry also serves
// the token server below its own path /token. server.URL determines which of the two clients
// use.
func TokenAuth(server *TokenServer) Option {
	return func(s *settings) { s.tokens = server }
}

// TLS serves HTTPS with a certificate for 127.0.0.1, ::1, localhost and the given names. The
// certificate is signed by an authority of the test, see Registry.CA.
func TLS(names ...string) Option {
	return func(s *settings) { s.tls, s.names = true, names }
}
