package provider

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const guideFile = "../../templates/guides/troubleshooting.md"

// TestTroubleshooting_CoversAllErrors checks that the guide contains the beginning of every
// message that users can see, because users search for the error in front of them.
func TestTroubleshooting_CoversAllErrors(t *testing.T) {
	t.Parallel()
	guide := plainText(readGuide(t))
	for _, text := range allMessages(t) {
		if phrase := phraseOf(text.text); phrase != "" && !strings.Contains(guide, phrase) {
			t.Errorf("%s: %s has no row with %q", text.at, guideFile, phrase)
		}
	}
}

// TestTroubleshooting_QuotesExistingMessages checks that every `code` in the first column of
// the guide's tables is a part of a message, with … for variable parts. A row for a message
// that no longer exists is an error.
func TestTroubleshooting_QuotesExistingMessages(t *testing.T) {
	t.Parallel()
	texts := allMessages(t)
	rows := false
	for line := range strings.Lines(readGuide(t)) {
		rows = line == "| it says | it means | what to do |\n" || rows && strings.HasPrefix(line, "|")
		if !rows {
			continue
		}
		contains, _, _ := strings.Cut(line[2:], " | ")
		for _, quoted := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(contains, -1) {
			for part := range strings.SplitSeq(quoted[1], "…") {
				part = strings.TrimSpace(part)
				if !slices.ContainsFunc(texts, func(text messageText) bool { return strings.Contains(text.text, part) }) {
					t.Errorf("%s quotes %q, which is not a part of any message", guideFile, part)
				}
			}
		}
	}
}

// TestTroubleshooting_CoversExternalMessages checks that the guide has a row for words that are
// not the provider's own: a status, a registry's error code, or an error of the Go standard
// library.
func TestTroubleshooting_CoversExternalMessages(t *testing.T) {
	t.Parallel()
	var firsts strings.Builder
	for line := range strings.Lines(readGuide(t)) {
		if strings.HasPrefix(line, "| ") {
			contains, _, _ := strings.Cut(line[2:], " | ")
			firsts.WriteString(strings.ReplaceAll(contains, ", 502, 503, 504", ", HTTP 502, HTTP 503, HTTP 504") + "\n")
		}
	}
	phrases := strings.Split("HTTP 400,HTTP 401,HTTP 403,HTTP 404,HTTP 405,HTTP 413,HTTP 429,HTTP 500,HTTP 502,HTTP 503,HTTP 504,HTTP 507,connection refused,no such host", ",")
	source, err := os.ReadFile("../registry/remote/response_error.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range regexp.MustCompile(`"([A-Z_]{6,})"`).FindAllStringSubmatch(string(source), -1) {
		phrases = append(phrases, code[1])
	}
	const ssh = "SSH-2.0-OpenSSH_9.6\r\n"
	client, server := net.Pipe()
	go func() { _, _ = io.Copy(io.Discard, server) }()
	go func() { _, _ = io.WriteString(server, ssh) }()
	noTLS := tls.Client(client, &tls.Config{ServerName: "x", MinVersion: tls.VersionTLS12}).HandshakeContext(t.Context())
	_ = client.Close()
	_, noHTTP := http.ReadResponse(bufio.NewReader(strings.NewReader(ssh)), nil)
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	for words, err := range map[string]error{
		"certificate signed by unknown authority":         x509.UnknownAuthorityError{},
		"certificate has expired or is not yet valid":     x509.CertificateInvalidError{Reason: x509.Expired},
		"doesn't contain any IP SANs":                     (&x509.Certificate{}).VerifyHostname("127.0.0.1"),
		"first record does not look like a TLS handshake": noTLS,
		"malformed HTTP response":                         noHTTP,
		"unexpected EOF":                                  io.ErrUnexpectedEOF,
		"flag provided but not defined":                   flags.Parse([]string{"-x"}),
	} {
		if !strings.Contains(err.Error(), words) {
			t.Errorf("Go returns %q, want it to contain %q", err, words)
		}
		phrases = append(phrases, words)
	}
	for _, words := range phrases {
		if !strings.Contains(firsts.String(), words) {
			t.Errorf("%s has no row with %q", guideFile, words)
		}
	}
}

func readGuide(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile(guideFile)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// plainText returns text in one line, without code marks.
func plainText(text string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(text, "`", "")), " ")
}

// longestPhrase is how much of a message the guide has to contain: enough to find it, and
// little enough for short rows.
const longestPhrase = 40

// phraseOf returns the search phrase of a message: the beginning of its longest constant part.
// It returns "" for a single word.
func phraseOf(words string) string {
	phrase := ""
	for part := range strings.SplitSeq(words, "…") {
		if part = strings.Trim(part, " .,:;()[]\"'"); len(part) > len(phrase) {
			phrase = part
		}
	}
	if space := strings.LastIndexByte(phrase[:min(len(phrase), longestPhrase)], ' '); len(phrase) > longestPhrase && space > 0 {
		phrase = phrase[:space]
	}
	if len(phrase) < 8 || !strings.Contains(phrase, " ") {
		return ""
	}
	return phrase
}

// messageText is a message that users can see, with … for variable parts.
type messageText struct {
	text string
	at   token.Position
}

// allMessages returns the messages of all packages with user-visible texts: the string literals
// without a use that messageCollector excludes.
func allMessages(t *testing.T) []messageText {
	t.Helper()
	l := &messageCollector{files: token.NewFileSet()}
	for _, room := range []string{".", "../registry", "../cmd/imagecopy"} {
		err := filepath.WalkDir(room, func(name string, entry fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case entry.Name() == "registrytest":
				return fs.SkipDir // texts for developers of tests
			case filepath.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") || name == "../cmd/imagecopy/progress.go": // messages about success
				return nil
			}
			file, err := parser.ParseFile(l.files, name, nil, parser.SkipObjectResolution)
			if err == nil {
				ast.Walk(l, file)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return l.messages
}

// messageCollector collects messages from the syntax tree of a program.
type messageCollector struct {
	files    *token.FileSet
	messages []messageText
}

var (
	// The arguments of these functions are logged or searched for.
	ignoredCalls = strings.Fields("Debug DebugContext Log MustCompile Contains HasPrefix HasSuffix Cut Fields")
	// These functions take a summary and its details.
	summaryCalls = strings.Fields("AddError AddWarning AddAttributeError AddAttributeWarning addProblem")
	// These contain documentation, the help of imagecopy, or replacements of secrets.
	documentationNames = regexp.MustCompile(`Description$|^(Summary|usage|help|Format)$`)
	// The verbs of fmt.
	formatVerb = regexp.MustCompile(`%[+#]?[a-zA-Z]`)
)

// Visit collects the messages of a node. It returns nil if its children contain no other
// messages.
func (l *messageCollector) Visit(n ast.Node) ast.Visitor {
	switch n := n.(type) {
	case *ast.ImportSpec, *ast.Field: // struct tags
		return nil
	case *ast.FuncDecl:
		if documentationNames.MatchString(n.Name.Name) {
			return nil
		}
	case *ast.ValueSpec:
		if documentationNames.MatchString(n.Names[0].Name) {
			return nil
		}
	case *ast.KeyValueExpr:
		if key, ok := n.Key.(*ast.Ident); ok && documentationNames.MatchString(key.Name) {
			return nil
		}
	case *ast.CallExpr:
		switch called := calleeName(n); {
		case slices.Contains(ignoredCalls, called):
			return nil
		case slices.Contains(summaryCalls, called):
			for before, i := len(l.messages), 0; i < len(n.Args) && !l.hasPhrase(before); i++ {
				ast.Walk(l, n.Args[i])
			}
			return nil
		}
	case *ast.BasicLit:
		l.messages = append(l.messages, messageText{l.textOf(n), l.files.Position(n.Pos())})
	case *ast.BinaryExpr:
		switch n.Op {
		case token.ADD:
			l.messages = append(l.messages, messageText{l.textOf(n), l.files.Position(n.Pos())})
			return nil
		case token.EQL, token.NEQ: // only compared
			return nil
		}
	}
	return l
}

// hasPhrase reports whether a message with a search phrase was collected since the given index.
func (l *messageCollector) hasPhrase(since int) bool {
	return slices.ContainsFunc(l.messages[since:], func(text messageText) bool { return phraseOf(text.text) != "" })
}

// textOf joins the parts of a concatenated message. It replaces other expressions and collects
// them separately.
func (l *messageCollector) textOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if text, err := strconv.Unquote(e.Value); err == nil && e.Kind == token.STRING {
			return strings.ReplaceAll(formatVerb.ReplaceAllString(strings.ReplaceAll(text, "`", ""), "…"), "\n", "…")
		}
	case *ast.BinaryExpr:
		if e.Op == token.ADD {
			return l.textOf(e.X) + l.textOf(e.Y)
		}
		ast.Walk(l, e)
	default:
		ast.Walk(l, e)
	}
	return "…"
}

// calleeName returns the name of the called function, without its package.
func calleeName(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}
