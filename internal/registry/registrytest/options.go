package registrytest

// Option is a setting of a registry.
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

// NoDelete disables deletion, as it is by default in the distribution
// registries.
func NoDelete() Option { return func(s *settings) { s.noDelete = true } }

// ReadOnly refuses every write.
func ReadOnly() Option { return func(s *settings) { s.readOnly = true } }

// Schema1 lets docker/distribution 2.8.3 accept schema 1 manifests. V3 fails
// the test with it: it knows none.
func Schema1() Option { return func(s *settings) { s.schema1 = true } }

// Root keeps content in a directory instead of memory, for blobs that are too
// large for it.
func Root(dir string) Option { return func(s *settings) { s.root = dir } }

// BasicAuth asks for a user and password.
func BasicAuth(user, password string) Option {
	return func(s *settings) { s.user, s.password = user, password }
}

// TokenAuth asks for bearer tokens that the token server issues. A scripted
// registry issues them itself too, below its path /token: where they are to be
// had is what the server's URL says.
func TokenAuth(server *TokenServer) Option {
	return func(s *settings) { s.tokens = server }
}

// TLS serves with a certificate for 127.0.0.1, ::1, localhost and the given
// names, signed by an authority of the test's own: Registry.CA.
func TLS(names ...string) Option {
	return func(s *settings) { s.tls, s.names = true, names }
}
