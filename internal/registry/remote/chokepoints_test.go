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

// Each security check is in one place that reviewers know. This test finds code that
// bypasses one of them in another file.
func TestSecurityChokepoints(t *testing.T) {
	sources := sourceFiles(t)
	for pattern, files := range map[string][]string{
		// The credential of a request: that of a registry, and that of a token server.
		`"Authorization"`:    {"registry/remote/auth/token.go", "registry/remote/exchange.go"},
		`"WWW-Authenticate"`: {"registry/remote/auth/challenged.go"},
		`\.Authorize\(`:      {"registry/remote/request.go"},
		`\.Challenged\(`:     {"registry/remote/request.go"},
		`Cookie|Proxy-Auth`:  nil,
		// A redirect: its target, whether it is followed, and over which connections.
		`\.ResolveReference\(`:     {"registry/remote/redirect.go"},
		`\.RoundTrip\(`:            {"registry/remote/exchange.go", "registry/remote/redirect.go"},
		`&http\.Transport\{`:       {"registry/remote/transport.go"},
		`\bhttp\.(Client|Default)`: nil,
		`\bDialer\{|\bnet\.Dial\(`: {"registry/remote/dial.go"},
		`InsecureSkipVerify`:       {"registry/remote/transport.go"},
		// A body that is read into memory.
		`\bio\.ReadAll\(|\breadPieces\(`:               {"registry/read.go"},
		`\.(NewDecoder|UnmarshalRead)\([a-z.]*[bB]ody`: nil,
		// The text of a registry.
		`\berrorDocument\b`: {"registry/remote/response_error.go"},
	} {
		re := regexp.MustCompile(pattern)
		var found []string
		for file, code := range sources {
			if re.MatchString(code) {
				found = append(found, file)
			}
		}
		slices.Sort(found)
		if !slices.Equal(found, files) {
			t.Errorf("files that match %s = %s, want %s", pattern, found, files)
		}
	}
}

// sourceFiles returns the code that talks to registries, without comments, keyed by file.
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
