package auth

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// Store finds credentials. It reads each file once, when first needed. It is safe
// for concurrent use.
type Store struct {
	canonical  func(host string) string // returns the same spelling for all spellings of a host
	registries []registryEntry
	files      []*configFile
	path       *string // Options.DockerConfigPath
	helpers    *helpers
}

// registryEntry is an entry of Options.Registries.
type registryEntry struct {
	hostPrefix
	credential Credential
}

// NewStore returns a Store. It reads no files. The error matches
// registry.ErrCredentials if a key of Options.Registries is invalid, or if
// DockerConfigJSON is.
func NewStore(o Options) (*Store, error) {
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.HelperTimeout == 0 {
		o.HelperTimeout = 30 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.CanonicalHost == nil {
		o.CanonicalHost = func(host string) string { return host }
	}
	if path := o.DockerConfigPath; path != nil && isConfigContent(*path) {
		// Every message about the file would quote its path.
		return nil, &registry.Error{Op: "read credentials from", Reference: "docker_config_path", Kind: registry.ErrCredentials,
			Message: "it holds the content of a docker configuration and not the path of one", Hint: "Write the content as docker_config_json, which is sensitive."}
	}
	s := &Store{canonical: o.CanonicalHost, path: o.DockerConfigPath, helpers: &helpers{timeout: o.HelperTimeout, now: o.Now}}
	for key, credential := range o.Registries {
		p, err := parseKey(key, s.canonical)
		if err != nil {
			return nil, err
		}
		for _, host := range credential.TokenHosts {
			if _, err := normalHost(host); err != nil {
				return nil, &registry.Error{Op: "read the registries", Reference: p.String(), Kind: registry.ErrCredentials,
					Message: fmt.Sprintf("%q in token_hosts is not a host", registry.RedactInput(host)),
					Hint:    `Write a host alone, with a port where it has one: "auth.example.com" or "auth.example.com:8443".`}
			}
		}
		if credential.Source == "" {
			credential.Source = fmt.Sprintf("registries[%q] in the provider's configuration", key)
		}
		s.registries = append(s.registries, registryEntry{p, credential})
	}
	// Sort by descending length of the path, so that the first match is the most
	// specific one.
	slices.SortFunc(s.registries, func(a, b registryEntry) int { return len(b.path) - len(a.path) })
	for i, e := range s.registries {
		if slices.ContainsFunc(s.registries[:i], func(other registryEntry) bool { return other.hostPrefix == e.hostPrefix }) {
			return nil, &registry.Error{Op: "read the registries", Reference: e.String(), Kind: registry.ErrCredentials,
				Message: "two keys mean the same place", Hint: "Keep one of them."}
		}
	}
	if o.DockerConfigJSON != "" {
		inline := inlineConfig(o.DockerConfigJSON)
		if _, err := inline.load(); err != nil {
			return nil, err
		}
		s.files = append(s.files, inline)
	}
	s.files = append(s.files, configFiles(o)...)
	return s, nil
}

// isConfigContent reports whether a value that should be the path of a Docker configuration is
// probably its content: JSON or YAML, also in base64 or after a byte order mark.
func isConfigContent(path string) bool {
	path = strings.TrimSpace(strings.TrimPrefix(path, "\ufeff"))
	decoded, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(path), ""))
	return strings.HasPrefix(path, "{") || strings.Contains(path, "\n") || err == nil && strings.HasPrefix(strings.TrimSpace(string(decoded)), "{")
}

// configFiles returns the docker and podman files to read, in order.
func configFiles(o Options) []*configFile {
	home := o.Getenv("HOME")
	if runtime.GOOS == "windows" {
		home = o.Getenv("USERPROFILE")
	}
	if path := o.DockerConfigPath; path != nil {
		if *path == "" {
			return nil
		}
		return []*configFile{fileConfig(expandHome(*path, home), home, true)}
	}
	var files []*configFile
	add := func(path string) { files = append(files, fileConfig(path, home, false)) }
	if dir := o.Getenv("DOCKER_CONFIG"); dir != "" {
		add(filepath.Join(dir, configName))
	} else if home != "" {
		add(filepath.Join(home, ".docker", configName))
	}
	if path := o.Getenv("REGISTRY_AUTH_FILE"); path != "" {
		add(path)
	} else if dir := o.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		add(filepath.Join(dir, "containers", "auth.json"))
	}
	return files
}

// Credential returns the credential for a repository of a host. host is as in
// registry.Reference ("docker.io", "localhost:5000"), and repository is the path
// without the host. Credentials for other spellings of the host are found too. If
// there is none, the result is anonymous, and its Source describes where none was
// found.
//
// The error matches registry.ErrCredentials. Causes are an invalid host, a file that cannot
// be read, and a credential helper that is missing, fails, times out or returns no
// credential. The result of a helper is cached for ten minutes, because the credential may
// expire soon.
func (s *Store) Credential(ctx context.Context, host, repository string) (Credential, error) {
	written, err := normalHost(host)
	if err != nil {
		return Credential{}, err
	}
	host = s.canonical(written)
	var tokenHosts []string
	for _, e := range s.registries {
		if !e.contains(host, repository) {
			continue
		}
		if !e.credential.Anonymous() {
			return e.credential, nil
		}
		tokenHosts = append(tokenHosts, e.credential.TokenHosts...)
	}
	for _, file := range s.files {
		c, err := s.fromFile(ctx, file, written, repository)
		if err != nil || !c.Anonymous() {
			c.TokenHosts = tokenHosts
			return c, err
		}
	}
	return Credential{Source: s.searchedSources(host), Elsewhere: s.loginHint(host), TokenHosts: tokenHosts}, nil
}

// Known returns the secrets of all credentials for a host, except those that only a
// helper has. It includes unused ones and those for other repositories, because a
// server may echo a secret that it received earlier. Files that cannot be read are
// skipped.
func (s *Store) Known(host string) []Secret {
	host = s.canonical(host)
	var secrets []Secret
	for _, e := range s.registries {
		if e.host == host {
			secrets = append(secrets, e.credential.Secrets()...)
		}
	}
	for _, file := range s.files {
		config, err := file.load()
		if err != nil {
			continue
		}
		for key, entry := range config.Auths {
			c, err := entry.credential()
			if p, ok := parseFileKey(key, s.canonical); ok && err == nil && p.host == host {
				secrets = append(secrets, c.Secrets()...)
			}
		}
	}
	return secrets
}

// fromFile asks the helper in a file for the host, and then returns the longest
// matching entry. Like docker, it uses the helper of the host instead of the
// general one. Helpers do not distinguish repositories.
func (s *Store) fromFile(ctx context.Context, file *configFile, written, repository string) (Credential, error) {
	config, err := file.load()
	if err != nil {
		return Credential{}, err
	}
	if helper := config.helper(s.canonical, written); helper != "" {
		for _, spelling := range config.spellings(s.canonical, written) {
			c, err := s.helpers.get(ctx, helper, spelling, file)
			if err != nil || !c.Anonymous() {
				return c, err
			}
		}
	}
	return config.credential(s.canonical, s.canonical(written), repository, file)
}

// searchedSources returns the searched sources for a host, as a message.
func (s *Store) searchedSources(host string) string {
	var names []string
	if len(s.registries) > 0 {
		names = append(names, "registries")
	}
	for _, e := range s.registries {
		if e.host != host && hostname(e.host) == hostname(host) && !e.credential.Anonymous() {
			names[0] = fmt.Sprintf("registries (its entry %q is not for %q)", e.String(), host)
		}
	}
	for _, file := range s.files {
		names = append(names, file.name)
	}
	if len(names) == 0 {
		return "no credentials were found, and there is no place to look for them"
	}
	return "no credentials were found in " + strings.Join(names, ", ")
}

// Format writes no secrets.
func (Store) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "credential store") }

// hostPrefix is a host, or all of its repositories under path.
type hostPrefix struct{ host, path string }

func (p hostPrefix) String() string { return strings.TrimSuffix(p.host+"/"+p.path, "/") }

// contains reports whether p contains a repository. Paths match at slashes: team-a
// does not contain team-ab.
func (p hostPrefix) contains(host, repository string) bool {
	return p.host == host && (p.path == "" || p.path == repository || strings.HasPrefix(repository, p.path+"/"))
}

// hostname returns a host without its port.
func hostname(host string) string { return (&url.URL{Host: host}).Hostname() }

var pathForm = regexp.MustCompile(`^[a-z0-9._-]+(/[a-z0-9._-]+)*$`)

// parseKey parses a key of Options.Registries. canonical returns the canonical
// spelling of a host in normal form.
func parseKey(key string, canonical func(host string) string) (hostPrefix, error) {
	fail := func(why string) (hostPrefix, error) {
		return hostPrefix{}, &registry.Error{Op: "read the registries", Reference: registry.RedactInput(key), Kind: registry.ErrCredentials, Message: why,
			Hint: `A key is a host, as in "registry.example.com" or "localhost:5000", or a host and the beginning of a repository's path, as in "registry.example.com/team-a".`}
	}
	if strings.Contains(key, "://") {
		return fail("the key has a scheme; write it without")
	}
	if strings.HasSuffix(key, "/") {
		return fail("the key has a slash at the end; write it without")
	}
	name, path, hasPath := strings.Cut(key, "/")
	host, err := normalHost(name)
	if err != nil {
		return fail("the key has no valid host")
	}
	if hasPath && !pathForm.MatchString(path) {
		return fail("the key has no valid path")
	}
	return hostPrefix{canonical(host), path}, nil
}

// normalHost returns a host as in references. It returns an error if the host is
// invalid, so that nothing else is passed to a helper.
func normalHost(host string) (string, error) {
	normal, err := registry.NormalHost(host)
	if err != nil {
		return "", &registry.Error{Op: "look for credentials for", Reference: registry.RedactInput(host), Kind: registry.ErrCredentials,
			Message: "this is not a host", Hint: "A host is written as it stands in references: registry.example.com or localhost:5000."}
	}
	return normal, nil
}
