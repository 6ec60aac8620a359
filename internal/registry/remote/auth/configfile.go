package auth

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

const (
	// maxConfig is the size limit of a configuration file.
	maxConfig = 4 << 20
	// configName is the name of docker's configuration file.
	configName = "config.json"
)

// configFile is a docker or podman configuration. It is loaded when first needed.
type configFile struct {
	name string // for messages
	load func() (dockerConfig, error)
}

// dockerConfig has the used fields of docker's config.json and of podman's
// auth.json, which has the same format (docker's "config.json" documentation;
// containers-auth.json(5)). It is decoded by encoding/json because docker does that
// too, so both accept the same keys.
type dockerConfig struct {
	Auths       map[string]authEntry `json:"auths"`
	CredHelpers map[string]string    `json:"credHelpers"`
	CredsStore  string               `json:"credsStore"`
}

type authEntry struct {
	Auth          Secret `json:"auth"` // base64 of user:password
	Username      string `json:"username"`
	Password      Secret `json:"password"`
	IdentityToken Secret `json:"identitytoken"`
	RegistryToken Secret `json:"registrytoken"`
}

// inlineName is the name of the configuration in docker_config_json.
const inlineName = "docker_config_json"

func inlineConfig(content Secret) *configFile {
	f := &configFile{name: inlineName}
	f.load = sync.OnceValues(func() (dockerConfig, error) { return f.parse([]byte(content.Reveal())) })
	return f
}

// fileConfig returns the configuration at path. If required is false, a missing
// file counts as empty.
func fileConfig(path, home string, required bool) *configFile {
	f := &configFile{name: abbreviateHome(path, home)}
	f.load = sync.OnceValues(func() (dockerConfig, error) {
		content, err := readFile(path, f.name)
		if errors.Is(err, fs.ErrNotExist) && !required {
			return dockerConfig{}, nil
		}
		if err != nil {
			return dockerConfig{}, f.fault(reasonOf(err))
		}
		return f.parse(content)
	})
	return f
}

// readFile reads the file at path. Messages call it name.
func readFile(path, name string) ([]byte, error) {
	// Opening a named pipe blocks until its other end is opened, without a timeout.
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case info.Mode()&fs.ModeNamedPipe != 0:
		return nil, errors.New("it is a pipe and not a file")
	case info.IsDir():
		return nil, fmt.Errorf("it is a directory and not a file; did you mean %s?", strings.TrimRight(name, "/")+"/"+configName)
	}
	file, err := os.Open(path) //nolint:gosec // the path is the user's own
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := registry.ReadLimited(file, maxConfig)
	if errors.Is(err, registry.ErrLimit) {
		err = fmt.Errorf("it is larger than %d bytes", maxConfig)
	}
	return content, err
}

// reasonOf returns why a file could not be read, without its path, which the
// message has already.
func reasonOf(err error) string {
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		err = failed.Err
	}
	return err.Error()
}

// parse parses a configuration. Its errors do not quote the content, which may
// contain passwords.
func (f *configFile) parse(content []byte) (dockerConfig, error) {
	var config dockerConfig
	if strings.TrimSpace(string(content)) == "" {
		return config, nil
	}
	err := json.Unmarshal(content, &config)
	if broken, ok := errors.AsType[*json.SyntaxError](err); ok {
		return dockerConfig{}, f.fault(fmt.Sprintf("it is not JSON (at byte %d)", broken.Offset))
	}
	if err != nil {
		return dockerConfig{}, f.fault("it is JSON, but not a docker configuration: auths must be an object of objects with text in them, credHelpers one of texts, credsStore a text")
	}
	return config, nil
}

// helper returns the suffix of the credential helper for a host, or "" if there is
// none.
func (d dockerConfig) helper(canonical func(string) string, host string) string {
	for _, key := range sortedKeys(d.CredHelpers) {
		if p, ok := parseFileKey(key, canonical); ok && p == (hostPrefix{host: canonical(host)}) {
			return d.CredHelpers[key]
		}
	}
	return d.CredsStore
}

// spellings returns the spellings of a host that a helper may have stored: as
// written, in canonical form, and those in the file. docker login passes the user's
// spelling to the helper, and adds it to the file as a key.
func (d dockerConfig) spellings(canonical func(string) string, written string) []string {
	canonicalHost := canonical(written)
	spellings := []string{written, canonicalHost}
	for _, key := range slices.Concat(sortedKeys(d.CredHelpers), sortedKeys(d.Auths)) {
		if host, path, err := keyParts(key); err == nil && path == "" && canonical(host) == canonicalHost {
			spellings = append(spellings, host)
		}
	}
	unique := spellings[:0]
	for _, spelling := range spellings {
		if !slices.Contains(unique, spelling) {
			unique = append(unique, spelling)
		}
	}
	return unique
}

// credential returns the credential of the longest matching entry that has one.
// Docker adds empty entries for credentials that a helper stores; they are skipped.
func (d dockerConfig) credential(canonical func(string) string, host, repository string, file *configFile) (Credential, error) {
	best, found := hostPrefix{}, Credential{}
	for _, key := range sortedKeys(d.Auths) {
		p, ok := parseFileKey(key, canonical)
		if !ok || !p.contains(host, repository) || !found.Anonymous() && len(p.path) <= len(best.path) {
			continue
		}
		c, err := d.Auths[key].credential()
		if err != nil {
			return Credential{}, file.fault(fmt.Sprintf("the entry for %q %s", registry.RedactInput(key), err))
		}
		if !c.Anonymous() {
			best, found = p, c
			found.Source = file.name
		}
	}
	return found, nil
}

func (e authEntry) credential() (Credential, error) {
	c := Credential{Username: e.Username, Password: e.Password, IdentityToken: e.IdentityToken, RegistryToken: e.RegistryToken}
	if e.Auth != "" {
		decoded, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(e.Auth.Reveal(), "="))
		username, password, ok := strings.Cut(string(decoded), ":")
		if err != nil || !ok {
			return Credential{}, errors.New("has an auth that is not base64 of user:password")
		}
		// Old versions of docker padded the password with NUL.
		c.Username, c.Password = username, Secret(strings.Trim(password, "\x00"))
	}
	return asToken(c), nil
}

// asToken converts a password to an identity token if the user name is "<token>".
func asToken(c Credential) Credential {
	if c.Username == "<token>" {
		if c.IdentityToken == "" {
			c.IdentityToken = c.Password
		}
		c.Username, c.Password = "", ""
	}
	return c
}

// sortedKeys returns the keys of an object in the file in the order in which they
// are tried. Keys without a scheme are first, which is today's format. The order is
// the same in every run.
func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b string) int {
		if sa, sb := strings.Contains(a, "://"), strings.Contains(b, "://"); sa != sb {
			if sa {
				return 1
			}
			return -1
		}
		return strings.Compare(a, b)
	})
	return keys
}

// parseFileKey parses a key of a configuration file.
func parseFileKey(key string, canonical func(string) string) (hostPrefix, bool) {
	host, path, err := keyParts(key)
	if err != nil {
		return hostPrefix{}, false
	}
	return hostPrefix{canonical(host), path}, true
}

// keyParts splits a key of a file into its host, in normal form, and its path.
// Docker's keys are hosts, or URLs of which only the host is used
// ("https://index.docker.io/v1/"). Podman's keys are hosts or namespaces.
func keyParts(key string) (host, path string, err error) {
	_, bare, isURL := strings.Cut(key, "://")
	if !isURL {
		bare = key
	}
	name, path, _ := strings.Cut(bare, "/")
	path = strings.TrimRight(path, "/")
	if isURL || strings.HasSuffix(bare, "/v1/") || strings.HasSuffix(bare, "/v2/") {
		path = ""
	}
	host, err = normalHost(name)
	return host, path, err
}

func (f *configFile) fault(why string) error {
	return &registry.Error{Op: "read credentials from", Reference: f.name, Kind: registry.ErrCredentials, Message: why, Hint: f.configHint()}
}

func expandHome(path, home string) string {
	if home != "" && (path == "~" || strings.HasPrefix(path, "~/") || strings.HasPrefix(path, `~\`)) {
		return filepath.Join(home, path[1:])
	}
	return path
}

func abbreviateHome(path, home string) string {
	if rest, ok := strings.CutPrefix(path, home+string(filepath.Separator)); ok && home != "" {
		return "~/" + filepath.ToSlash(rest)
	}
	return path
}
