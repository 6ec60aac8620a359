package provider_test

import (
	"io/fs"
	"os"
	"path"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

// projectRoot is the root of the project.
const projectRoot = "../.."

// repositoryURL is the prefix of links to the project's own files on the web.
const repositoryURL = "https://github.com/terraform-provider-registry/terraform-provider-registry/blob/main/"

// TestDocumentation_Links checks that every link refers to an existing file, and every link to
// a heading to an existing one. The files under docs/ are published on their own, so their
// relative links must stay within docs/.
func TestDocumentation_Links(t *testing.T) {
	t.Parallel()
	all := pages(t)
	files := os.DirFS(projectRoot)
	for _, p := range all {
		for _, link := range p.links() {
			target, anchor, _ := strings.Cut(link, "#")
			own, onWeb := strings.CutPrefix(target, repositoryURL)
			switch {
			case onWeb:
				target = own
			case strings.Contains(target, "://"):
				continue // tests do not access the network
			case target == "":
				target = p.name
			default:
				target = path.Join(path.Dir(p.name), target)
				if published(p.name) && !published(target) {
					t.Errorf("%s links to %s, which is not published with it", p.name, link)
				}
			}
			if _, err := fs.Stat(files, target); err != nil {
				t.Errorf("%s links to %s: %v", p.name, link, err)
			} else if anchor != "" && !all[target].anchors()[anchor] {
				t.Errorf("%s links to %s, and %s has no such heading", p.name, link, target)
			}
		}
	}
}

func published(name string) bool { return strings.HasPrefix(name, "docs/") }

// TestDocumentation_IndexLinksToAllPages checks that the first page links to all other pages.
func TestDocumentation_IndexLinksToAllPages(t *testing.T) {
	t.Parallel()
	all := pages(t)
	linked := map[string]bool{"docs/index.md": true}
	for _, link := range all["docs/index.md"].links() {
		target, _, _ := strings.Cut(link, "#")
		linked[path.Join("docs", target)] = true
	}
	for name := range all {
		if published(name) && !linked[name] {
			t.Errorf("docs/index.md does not link to %s", name)
		}
	}
}

// markdown is a page of the documentation.
type markdown struct {
	name    string // relative to the root of the project
	content []byte
}

// pages returns the pages at the root of the project and under docs/, by name.
func pages(t *testing.T) map[string]markdown {
	t.Helper()
	found := map[string]markdown{}
	files := os.DirFS(projectRoot)
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md"} {
		names, err := fs.Glob(files, pattern)
		if err != nil || len(names) == 0 {
			t.Fatalf("%s: %d pages, %v", pattern, len(names), err)
		}
		for _, name := range names {
			content, err := fs.ReadFile(files, name)
			if err != nil {
				t.Fatal(err)
			}
			found[name] = markdown{name, content}
		}
	}
	return found
}

var (
	fenced  = regexp.MustCompile("(?ms)^( *)```(\\w*)\n(.*?\n) *```") // indentation, language and content
	inline  = regexp.MustCompile("`[^`\n]*`")
	linking = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	marked  = regexp.MustCompile(`<a id="([^"]+)">`)
)

// prose returns the page without its code blocks.
func (p markdown) prose() string { return string(fenced.ReplaceAll(p.content, nil)) }

// links returns the link targets of a page, as written.
func (p markdown) links() (found []string) {
	for _, link := range linking.FindAllStringSubmatch(inline.ReplaceAllString(p.prose(), ""), -1) {
		found = append(found, link[1])
	}
	return found
}

// anchors returns the fragments of links to headings of the page.
func (p markdown) anchors() map[string]bool {
	found := map[string]bool{}
	for _, h := range heading.FindAllStringSubmatch(p.prose(), -1) {
		name := slug(h[1])
		for i, first := 1, name; found[name]; i++ {
			name = first + "-" + strconv.Itoa(i)
		}
		found[name] = true
	}
	for _, mark := range marked.FindAllStringSubmatch(p.prose(), -1) {
		found[mark[1]] = true
	}
	return found
}

// slug returns the anchor that GitHub and the Terraform Registry create for a heading.
func slug(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, heading)
}
