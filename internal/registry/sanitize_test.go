package registry_test

import (
	"net/url"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

func TestSanitize_SafeText(t *testing.T) {
	for _, s := range []string{
		"", "manifest unknown", `unknown tag "1.4" of acme/app`, "Für Größeres: Kapazität erhöhen", "配額已滿", "naïve café",
		"at 2026-01-02T03:04:05Z: #12 [a] 100%", "http://[::1]:5000/v2/", "emoji 🚀 too",
		"http://[::ffff:1.2.3.4]:5000/v2/", `"[fe80::abcd]:5000"`,
	} {
		if got := registry.Sanitize(s); got != s {
			t.Errorf("Sanitize(%q) = %q, want it unchanged", s, got)
		}
	}
}

func TestSanitize_UnsafeText(t *testing.T) {
	for name, test := range map[string]struct{ in, want string }{
		"line_ends":                     {"one\r\ntwo\nthree\u2028four\u0085five", "one two three four five"},
		"surrounding_whitespace":        {"\n\t one  two \v\f ", "one two"},
		"nul_and_bel":                   {"a\x00b\x07c", "a b c"},
		"ansi_escapes":                  {"\x1b[2J\x1b]0;title\x07red", "[2J ]0;title red"},
		"c1_escapes":                    {"a\u009b31mb", "a 31mb"},
		"del":                           {"a\x7fb", "a b"},
		"bidirectional_overrides":       {"txt.\u202egnp\u2066x", "txt.?gnp?x"},
		"zero_width":                    {"gh\u200bcr\u200d.io\ufeff", "gh?cr?.io?"},
		"soft_hyphen":                   {"gh\u00adcr", "gh?cr"},
		"invisible_letters_and_symbols": {"a\u3164b\u115fc\u034fd\ufe0fe\u2800f", "a?b?c?d?e?f"},
		"tag_characters":                {"a\U000e0041b", "a?b"},
		"unicode_spaces":                {"a\u00a0b\u3000c", "a b c"},
		"invalid_utf_8":                 {"a\xff\xfeb\xc3", "a??b?"},
		"surrogate_in_utf_8":            {"a\xed\xa0\x80b", "a???b"},
		"replacement_character":         {"a\ufffdb", "a?b"},
		"private_use_and_unassigned":    {"a\ue000b\U000effffc", "a?b?c"},
		"github_command":                {"::set-output name=digest::evil", ": :set-output name=digest: :evil"},
		"github_command_in_line":        {"sorry\n::add-mask::x", "sorry : :add-mask: :x"},
		"command_split_by_nul":          {":\x00:warning", ": :warning"},
		"command_in_brackets":           {"[::warning file=x::y]", "[: :warning file=x: :y]"},
		"command_behind_colons":         {":::error", ":: :error"},
		"github_command_old_style":      {"##[set-env name=x]y", "# #[set-env name=x]y"},
		"azure_command":                 {"x ##vso[task.setvariable variable=a]b", "x # #vso[task.setvariable variable=a]b"},
		"teamcity_command":              {"##teamcity[buildStop]", "# #teamcity[buildStop]"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := registry.Sanitize(test.in); got != test.want {
				t.Errorf("Sanitize(%q) = %q, want %q", test.in, got, test.want)
			}
		})
	}
}

func TestExcerpt(t *testing.T) {
	for name, test := range map[string]struct{ in, want string }{
		"empty":       {"", ""},
		"plain_text":  {"Method not allowed\n", "Method not allowed"},
		"comparison":  {"3 < 4 and 5 > 4", "3 < 4 and 5 > 4"},
		"page":        {"<html><head><title>Blocked</title></head>\n<body>by the <b>firewall</b>, ref 12</body></html>", "Blocked by the firewall , ref 12"},
		"xml":         {`<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>`, "AccessDenied Request has expired"},
		"long_prefix": {"<html><style>" + strings.Repeat("a {}", 5000) + "</style><script>if (a<b) x()</script><!-- c --><h1>502 Bad Gateway</h1>", "502 Bad Gateway"},
		"no_text":     {"<html><br></html>", ""},
		"long_text":   {"<p>" + strings.Repeat("ä", 300), strings.Repeat("ä", 100) + "…"},
		"command":     {"<p>\n::error::x", ": :error: :x"},
	} {
		if got := registry.Excerpt(test.in); got != test.want {
			t.Errorf("%s: Excerpt() = %q, want %q", name, got, test.want)
		}
	}
}

func TestSanitize_Limit(t *testing.T) {
	const limit = 1024
	for name, unit := range map[string]string{
		"letters": "a", "four_byte_characters": "🚀", "invalid_bytes": "\xff", "commands": "::a", "azure_commands": "##[",
		"character_at_limit": "abc€", "words": "word ",
	} {
		t.Run(name, func(t *testing.T) {
			got := registry.Sanitize(strings.Repeat(unit, 10<<20/len(unit)))
			if len(got) > limit || len(got) < limit-4 {
				t.Errorf("len(Sanitize()) = %d, want %d, or up to 4 less", len(got), limit)
			}
			assertSanitized(t, got)
		})
	}
}

func TestSanitize_LongWhitespace(t *testing.T) {
	// Sanitize must not scan all of the input for the next word: it reads only
	// the beginning of megabytes of whitespace and control characters.
	for _, filler := range []string{" ", "\x00", "\n"} {
		if got := registry.Sanitize("start" + strings.Repeat(filler, 10<<20) + "end"); got != "start" {
			t.Errorf("Sanitize() with 10 MiB of %q = %q, want %q", filler, got, "start")
		}
	}
}

func TestRedactURL(t *testing.T) {
	for name, test := range map[string]struct{ in, want string }{
		"no_secret":         {"https://ghcr.io/v2/acme/app/manifests/1.4", "https://ghcr.io/v2/acme/app/manifests/1.4"},
		"user_and_password": {"https://user:canary@ghcr.io/v2/", "https://ghcr.io/v2/"},
		"user_only":         {"https://canary@ghcr.io/v2/", "https://ghcr.io/v2/"},
		"s3_signature":      {"https://s3.example.com/b?X-Amz-Credential=canary&X-Amz-Signature=canary", "https://s3.example.com/b?X-Amz-Credential=***&X-Amz-Signature=***"},
		"azure_signature": {
			"https://x.blob.core.windows.net/c?sv=canary&sig=canary%3D&n=5", "https://x.blob.core.windows.net/c?sv=***&sig=***&n=5",
		},
		"upload_state": {"/v2/app/blobs/uploads/1?_state=canary&digest=sha256:abc", "/v2/app/blobs/uploads/1?_state=***&digest=sha256:abc"},
		"mount":        {"/v2/app/blobs/uploads/?mount=sha256:abc&from=acme/base", "/v2/app/blobs/uploads/?mount=sha256:abc&from=acme/base"},
		"token_request": {
			"https://auth.docker.io/token?service=registry.docker.io&scope=repository:a/b:pull&account=canary",
			"https://auth.docker.io/token?service=registry.docker.io&scope=repository:a/b:pull&account=***",
		},
		"known_parameter_other_case": {"/x?Digest=canary", "/x?Digest=***"},
		"known_parameter_escaped":    {"/x?%64igest=sha256:abc", "/x?%64igest=sha256:abc"},
		"repeated_parameter":         {"/x?n=1&sig=canary&n=2&sig=canary", "/x?n=1&sig=***&n=2&sig=***"},
		"value_without_name":         {"/x?canary", "/x?***"},
		"semicolon":                  {"/x?digest=a;sig=canary", "/x?digest=a&sig=***"},
		"malformed_escape":           {"/x?%zz=canary&sig%=canary&%zz", "/x?%zz=***&sig%=***&***"},
		"empty_parameters":           {"/x?&&n=1&", "/x?n=1"},
		"fragment":                   {"https://ghcr.io/x#access_token=canary", "https://ghcr.io/x"},
		"escaped_fragment":           {"https://ghcr.io/x#a%2Fcanary", "https://ghcr.io/x"},
		"without_scheme":             {"//user:canary@ghcr.io/x", "//ghcr.io/x"},
		"padding_and_no_value":       {"/x?canary==&canary=", "/x?***&***"},
		"relative":                   {"uploads/1?sig=canary", "uploads/1?sig=***"},
		"opaque":                     {"https:user:canary@ghcr.io/x?sig=canary", "https:***?sig=***"},
		"escaped_line_ends":          {"https://ghcr.io/x%0d%0a::set-output", "https://ghcr.io/x%0d%0a: :set-output"},
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
				t.Errorf("RedactURL() = %s, which contains a secret", got)
			}
			if after := u.String(); after != before {
				t.Errorf("RedactURL() changed its argument to %s", after)
			}
		})
	}
	if got := registry.RedactURL(nil); got != "" {
		t.Errorf("RedactURL(nil) = %q, want an empty string", got)
	}
}

func TestRedactURL_Sanitized(t *testing.T) {
	u := &url.URL{Scheme: "https", Host: "ghcr.io", Path: "/" + strings.Repeat("a", 1<<20), RawQuery: "n=\r\n\x1b[31m"}
	got := registry.RedactURL(u)
	assertSanitized(t, got)
	u.Path = "/x"
	if got, want := registry.RedactURL(u), "https://ghcr.io/x?n= [31m"; got != want {
		t.Errorf("RedactURL of a query with control characters = %q, want %q", got, want)
	}
}

// assertSanitized checks the properties that Sanitize guarantees.
func assertSanitized(t *testing.T, s string) {
	t.Helper()
	if len(s) > 1024 {
		t.Errorf("the text has %d bytes, want at most 1024", len(s))
	}
	if !utf8.ValidString(s) {
		t.Errorf("%q is not valid UTF-8", s)
	}
	for _, r := range s {
		if r != ' ' && (unicode.IsControl(r) || unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) || !unicode.IsPrint(r)) {
			t.Errorf("%q contains %U", s, r)
		}
	}
	if strings.TrimSpace(s) != s || strings.Contains(s, "  ") {
		t.Errorf("%q has redundant whitespace", s)
	}
}

func FuzzSanitize(f *testing.F) {
	for _, s := range []string{
		"", "plain", " \t\r\n", "\x1b[31mred", "::set-output name=a::b", ":::::a", "##[x]##vso[", "\xff\xc3\x28", "a\u202eb\u200b\u3164", "\U000e0001",
		strings.Repeat("::a", 400), strings.Repeat("€", 400), strings.Repeat(" ", 5000) + "x",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := registry.Sanitize(s)
		assertSanitized(t, got)
		if again := registry.Sanitize(got); again != got {
			t.Errorf("Sanitize(%q) = %q, want it unchanged", got, again)
		}
	})
}
