package registry_test

import (
	"net/url"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

func TestCleanLeavesHonestWordsAlone(t *testing.T) {
	for _, s := range []string{
		"", "manifest unknown", `unknown tag "1.4" of acme/app`, "Für Größeres: Kapazität erhöhen", "配額已滿", "naïve café",
		"at 2026-01-02T03:04:05Z: #12 [a] 100%", "http://[::1]:5000/v2/", "emoji 🚀 too",
		"http://[::ffff:1.2.3.4]:5000/v2/", `"[fe80::abcd]:5000"`,
	} {
		if got := registry.Sanitize(s); got != s {
			t.Errorf("Clean(%q) = %q", s, got)
		}
	}
}

func TestCleanMakesOneLineWithoutControlAndInvisibleCharacters(t *testing.T) {
	for name, test := range map[string]struct{ in, want string }{
		"line ends":               {"one\r\ntwo\nthree\u2028four\u0085five", "one two three four five"},
		"blanks at the ends":      {"\n\t one  two \v\f ", "one two"},
		"NUL and BEL":             {"a\x00b\x07c", "a b c"},
		"ANSI escapes":            {"\x1b[2J\x1b]0;title\x07red", "[2J ]0;title red"},
		"C1 escapes":              {"a\u009b31mb", "a 31mb"},
		"DEL":                     {"a\x7fb", "a b"},
		"bidirectional overrides": {"txt.\u202egnp\u2066x", "txt.?gnp?x"},
		"zero width":              {"gh\u200bcr\u200d.io\ufeff", "gh?cr?.io?"},
		"soft hyphen":             {"gh\u00adcr", "gh?cr"},
		"fillers that are letters, marks and symbols": {"a\u3164b\u115fc\u034fd\ufe0fe\u2800f", "a?b?c?d?e?f"},
		"tag characters":              {"a\U000e0041b", "a?b"},
		"blanks of other widths":      {"a\u00a0b\u3000c", "a b c"},
		"invalid UTF-8":               {"a\xff\xfeb\xc3", "a??b?"},
		"a surrogate in UTF-8":        {"a\xed\xa0\x80b", "a???b"},
		"the replacement character":   {"a\ufffdb", "a?b"},
		"private use and unassigned":  {"a\ue000b\U000effffc", "a?b?c"},
		"a GitHub command":            {"::set-output name=digest::evil", ": :set-output name=digest: :evil"},
		"a GitHub command in a line":  {"sorry\n::add-mask::x", "sorry : :add-mask: :x"},
		"a command split by a NUL":    {":\x00:warning", ": :warning"},
		"a command in brackets":       {"[::warning file=x::y]", "[: :warning file=x: :y]"},
		"a command behind colons":     {":::error", ":: :error"},
		"a GitHub command, old style": {"##[set-env name=x]y", "# #[set-env name=x]y"},
		"an Azure command":            {"x ##vso[task.setvariable variable=a]b", "x # #vso[task.setvariable variable=a]b"},
		"a TeamCity command":          {"##teamcity[buildStop]", "# #teamcity[buildStop]"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := registry.Sanitize(test.in); got != test.want {
				t.Errorf("Clean(%q) = %q, want %q", test.in, got, test.want)
			}
		})
	}
}

func TestAnExcerptIsTheTextOfAPage(t *testing.T) {
	for name, test := range map[string]struct{ in, want string }{
		"nothing":        {"", ""},
		"words":          {"Method not allowed\n", "Method not allowed"},
		"a comparison":   {"3 < 4 and 5 > 4", "3 < 4 and 5 > 4"},
		"a page":         {"<html><head><title>Blocked</title></head>\n<body>by the <b>firewall</b>, ref 12</body></html>", "Blocked by the firewall , ref 12"},
		"XML":            {`<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>`, "AccessDenied Request has expired"},
		"much before it": {"<html><style>" + strings.Repeat("a {}", 5000) + "</style><script>if (a<b) x()</script><!-- c --><h1>502 Bad Gateway</h1>", "502 Bad Gateway"},
		"no text":        {"<html><br></html>", ""},
		"a long one":     {"<p>" + strings.Repeat("ä", 300), strings.Repeat("ä", 100) + "…"},
		"a command":      {"<p>\n::error::x", ": :error: :x"},
	} {
		if got := registry.Excerpt(test.in); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

func TestCleanIsBounded(t *testing.T) {
	const limit = 1024
	for name, unit := range map[string]string{
		"letters": "a", "characters of four bytes": "🚀", "invalid bytes": "\xff", "commands": "::a", "other commands": "##[",
		"characters across the limit": "abc€", "words": "word ",
	} {
		t.Run(name, func(t *testing.T) {
			got := registry.Sanitize(strings.Repeat(unit, 10<<20/len(unit)))
			if len(got) > limit || len(got) < limit-4 {
				t.Errorf("it has %d bytes, want all of %d but for a part of one character", len(got), limit)
			}
			cleanLine(t, got)
		})
	}
}

func TestCleanLooksAtTheBeginningAlone(t *testing.T) {
	// What lies beyond the beginning must not be seen: ten megabytes of blanks
	// and control characters are skipped, not read to find one word.
	for _, filler := range []string{" ", "\x00", "\n"} {
		if got := registry.Sanitize("start" + strings.Repeat(filler, 10<<20) + "end"); got != "start" {
			t.Errorf("10 MiB of %q give %q", filler, got)
		}
	}
}

func TestCleanURLHidesWhatMayBeSecret(t *testing.T) {
	for name, test := range map[string]struct{ in, want string }{
		"nothing to hide":   {"https://ghcr.io/v2/acme/app/manifests/1.4", "https://ghcr.io/v2/acme/app/manifests/1.4"},
		"user and password": {"https://user:canary@ghcr.io/v2/", "https://ghcr.io/v2/"},
		"user alone":        {"https://canary@ghcr.io/v2/", "https://ghcr.io/v2/"},
		"an S3 signature":   {"https://s3.example.com/b?X-Amz-Credential=canary&X-Amz-Signature=canary", "https://s3.example.com/b?X-Amz-Credential=***&X-Amz-Signature=***"},
		"an Azure signature": {
			"https://x.blob.core.windows.net/c?sv=canary&sig=canary%3D&n=5", "https://x.blob.core.windows.net/c?sv=***&sig=***&n=5",
		},
		"an upload's state": {"/v2/app/blobs/uploads/1?_state=canary&digest=sha256:abc", "/v2/app/blobs/uploads/1?_state=***&digest=sha256:abc"},
		"a mount":           {"/v2/app/blobs/uploads/?mount=sha256:abc&from=acme/base", "/v2/app/blobs/uploads/?mount=sha256:abc&from=acme/base"},
		"a token request": {
			"https://auth.docker.io/token?service=registry.docker.io&scope=repository:a/b:pull&account=canary",
			"https://auth.docker.io/token?service=registry.docker.io&scope=repository:a/b:pull&account=***",
		},
		"a known parameter in another case": {"/x?Digest=canary", "/x?Digest=***"},
		"a known parameter, escaped":        {"/x?%64igest=sha256:abc", "/x?%64igest=sha256:abc"},
		"one parameter twice":               {"/x?n=1&sig=canary&n=2&sig=canary", "/x?n=1&sig=***&n=2&sig=***"},
		"a value without a name":            {"/x?canary", "/x?***"},
		"a semicolon":                       {"/x?digest=a;sig=canary", "/x?digest=a&sig=***"},
		"a broken escape":                   {"/x?%zz=canary&sig%=canary&%zz", "/x?%zz=***&sig%=***&***"},
		"empty parameters":                  {"/x?&&n=1&", "/x?n=1"},
		"a fragment":                        {"https://ghcr.io/x#access_token=canary", "https://ghcr.io/x"},
		"an escaped fragment":               {"https://ghcr.io/x#a%2Fcanary", "https://ghcr.io/x"},
		"without a scheme":                  {"//user:canary@ghcr.io/x", "//ghcr.io/x"},
		"padding and no value":              {"/x?canary==&canary=", "/x?***&***"},
		"relative":                          {"uploads/1?sig=canary", "uploads/1?sig=***"},
		"never taken apart":                 {"https:user:canary@ghcr.io/x?sig=canary", "https:***?sig=***"},
		"escaped line ends":                 {"https://ghcr.io/x%0d%0a::set-output", "https://ghcr.io/x%0d%0a: :set-output"},
	} {
		t.Run(name, func(t *testing.T) {
			u, err := url.Parse(test.in)
			if err != nil {
				t.Fatal(err)
			}
			before := u.String()
			got := registry.RedactURL(u)
			if got != test.want {
				t.Errorf("RedactURL(%s) = %s, want %s", test.in, got, test.want)
			}
			if strings.Contains(got, "canary") {
				t.Errorf("%s shows a secret", got)
			}
			if after := u.String(); after != before {
				t.Errorf("the URL itself became %s", after)
			}
		})
	}
	if got := registry.RedactURL(nil); got != "" {
		t.Errorf("RedactURL(nil) = %q", got)
	}
}

func TestCleanURLIsBoundedAndOneLine(t *testing.T) {
	u := &url.URL{Scheme: "https", Host: "ghcr.io", Path: "/" + strings.Repeat("a", 1<<20), RawQuery: "n=\r\n\x1b[31m"}
	got := registry.RedactURL(u)
	cleanLine(t, got)
	u.Path = "/x"
	if got, want := registry.RedactURL(u), "https://ghcr.io/x?n= [31m"; got != want {
		t.Errorf("RedactURL of a query with control characters = %q, want %q", got, want)
	}
}

// cleanLine checks all that Clean promises.
func cleanLine(t *testing.T, s string) {
	t.Helper()
	if len(s) > 1024 {
		t.Errorf("it has %d bytes", len(s))
	}
	if !utf8.ValidString(s) {
		t.Errorf("%q is not UTF-8", s)
	}
	for _, r := range s {
		if r != ' ' && (unicode.IsControl(r) || unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) || !unicode.IsPrint(r)) {
			t.Errorf("%q has %U", s, r)
		}
	}
	if strings.TrimSpace(s) != s || strings.Contains(s, "  ") {
		t.Errorf("%q has blanks that nobody needs", s)
	}
}

func FuzzClean(f *testing.F) {
	for _, s := range []string{
		"", "plain", " \t\r\n", "\x1b[31mred", "::set-output name=a::b", ":::::a", "##[x]##vso[", "\xff\xc3\x28", "a\u202eb\u200b\u3164", "\U000e0001",
		strings.Repeat("::a", 400), strings.Repeat("€", 400), strings.Repeat(" ", 5000) + "x",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := registry.Sanitize(s)
		cleanLine(t, got)
		if again := registry.Sanitize(got); again != got {
			t.Errorf("cleaned again, %q becomes %q", got, again)
		}
	})
}
