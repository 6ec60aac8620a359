package remote_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What everything must pass is in one place, which is looked at when it is
// changed. What goes past it is in another file, which is found here.
func TestSecurityChokepoints(t *testing.T) {
	sources := sourceFiles(t)
	for what, places := range map[string][]string{
		// A request's credential: a registry's, and a token service's.
		`"Authorization"`:    {"registry/remote/auth/token.go", "registry/remote/exchange.go"},
		`"WWW-Authenticate"`: {"registry/remote/auth/challenged.go"},
		`\.Authorize\(`:      {"registry/remote/request.go"},
		`\.Challenged\(`:     {"registry/remote/request.go"},
		`Cookie|Proxy-Auth`:  nil,
		// A hop: where it leads, who goes there, and over which connections.
		`\.ResolveReference\(`:     {"registry/remote/redirect.go"},
		`\.RoundTrip\(`:            {"registry/remote/exchange.go", "registry/remote/redirect.go"},
		`&http\.Transport\{`:       {"registry/remote/transport.go"},
		`\bhttp\.(Client|Default)`: nil,
		`\bDialer\{|\bnet\.Dial\(`: {"registry/remote/dial.go"},
		`InsecureSkipVerify`:       {"registry/remote/transport.go"},
		// A body that is read into memory.
		`\bio\.ReadAll\(|\breadPieces\(`:               {"registry/read.go"},
		`\.(NewDecoder|UnmarshalRead)\([a-z.]*[bB]ody`: nil,
		// A registry's words.
		`\berrorDocument\b`: {"registry/remote/response_error.go"},
	} {
		pattern := regexp.MustCompile(what)
		var found []string
		for file, code := range sources {
			if pattern.MatchString(code) {
				found = append(found, file)
			}
		}
		slices.Sort(found)
		if !slices.Equal(found, places) {
			t.Errorf("%s is in %s, and belongs into %s", what, found, places)
		}
	}
}

// program is the code of what talks to registries, without its comments, by
// file.
func sourceFiles(t *testing.T) map[string]string {
	t.Helper()
	sources := map[string]string{}
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		name, _ := filepath.Rel(root, path)
		name = filepath.ToSlash(name)
		switch {
		case err != nil:
			return err
		case slices.Contains([]string{"cmd", "registry/registrytest"}, name):
			return fs.SkipDir
		case entry.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		code, err := os.ReadFile(path)
		sources[name] = comment.ReplaceAllString(string(code), "")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sources
}

var comment = regexp.MustCompile(`(?m)^\s*//.*$`)
