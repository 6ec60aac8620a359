package auth

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// Kind describes the type of a credential for messages. It includes the user name
// only if there is a password, because a user name without one may be the secret
// itself.
func (c Credential) Kind() string {
	switch {
	case c.Anonymous():
		return "none, anonymous"
	case c.RegistryToken != "":
		return "the registry token"
	case c.IdentityToken != "":
		return "the identity token"
	case c.Username != "" && c.Password != "":
		// Quote before sanitizing, so that trailing whitespace stays visible.
		return "the login of the user " + registry.Sanitize(strconv.Quote(c.Username))
	}
	return "the login"
}

// source returns the source of a credential for messages.
func (c Credential) source() string { return cmp.Or(c.Source, "the caller") }

// Advice returns a hint for a host that rejected the credential. It has the type and the
// source of the credential, and what to do.
func (c Credential) Advice(host string) string {
	return c.AdviceTo(host, "Check that they are right and have not expired, and that they may use this repository.")
}

// AdviceTo is like Advice, but with another instruction if there is a credential.
func (c Credential) AdviceTo(host, act string) string {
	if !c.Anonymous() {
		return fmt.Sprintf("The credentials at hand are %s, from %s.%s %s", c.Kind(), c.source(), c.whitespaceHint(), act)
	}
	login := registry.Setting(host, `username = "…", password = "…"`)
	if c.Elsewhere != "" {
		login += ", or " + c.Elsewhere
	}
	return fmt.Sprintf("The registry wants a login and there was none: %s. Set %s.", cmp.Or(c.Source, "no credentials were given"), login)
}

// whitespaceHint returns a hint about leading or trailing whitespace in the parts
// of a credential. It is invisible and nearly always a mistake.
func (c Credential) whitespaceHint() string {
	var hint strings.Builder
	for _, part := range []struct{ name, text string }{
		{"user name", c.Username}, {"password", c.Password.Reveal()},
		{"identity token", c.IdentityToken.Reveal()}, {"registry token", c.RegistryToken.Reveal()},
	} {
		if strings.TrimSpace(part.text) != part.text {
			hint.WriteString(" The " + part.name + " begins or ends with white space, such as the line break at the end of a file: trimspace(file(…)) takes it away.")
		}
	}
	return hint.String()
}

// loginHint returns how to log in to a host other than by registries, as an
// instruction. It depends on the files that the store reads.
func (s *Store) loginHint(host string) string {
	switch {
	case s.path == nil:
		return "run docker login " + registry.ShellWord(host)
	case *s.path == "":
		return ""
	}
	return "put one into " + s.files[len(s.files)-1].name + ", which docker_config_path names"
}

// configHint returns how to fix a configuration that is invalid.
func (f *configFile) configHint() string {
	if f.name == inlineName {
		return "Correct docker_config_json in the provider's configuration."
	}
	return `Correct the file, or set docker_config_path to another one, or to none ("").`
}

// disableHelperHint returns how to stop using a helper that a configuration names.
func (f *configFile) disableHelperHint() string {
	if f.name == inlineName {
		return "take it out of docker_config_json"
	}
	return `set docker_config_path = "" so that the file is not read`
}
