package auth

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestParseChallenges(t *testing.T) {
	bearer := challenge{scheme: "bearer", params: map[string]string{"realm": "https://auth.docker.io/token", "service": "registry.docker.io"}}
	basic := challenge{scheme: "basic", params: map[string]string{"realm": "Registry Realm"}}
	for name, test := range map[string]struct {
		lines []string
		want  []challenge
	}{
		"none":            {nil, nil},
		"empty":           {[]string{"", " , ,"}, nil},
		"docker":          {[]string{`Bearer realm="https://auth.docker.io/token",service="registry.docker.io"`}, []challenge{bearer}},
		"letter_case":     {[]string{`BEARER REALM="https://auth.docker.io/token", Service="registry.docker.io"`}, []challenge{bearer}},
		"whitespace":      {[]string{"  bearer   realm = \"https://auth.docker.io/token\"\t,\tservice\t=\tregistry.docker.io , "}, []challenge{bearer}},
		"two_on_one_line": {[]string{`Basic realm="Registry Realm", Bearer realm="https://auth.docker.io/token",service="registry.docker.io"`}, []challenge{basic, bearer}},
		"two_lines":       {[]string{`Basic realm="Registry Realm"`, `Bearer realm="https://auth.docker.io/token",service="registry.docker.io"`}, []challenge{basic, bearer}},
		"scheme_only":     {[]string{"Negotiate, NTLM,Basic realm=\"Registry Realm\""}, []challenge{{scheme: "negotiate"}, {scheme: "ntlm"}, basic}},
		"token68":         {[]string{"Negotiate YII+/-._~==, Basic realm=\"Registry Realm\""}, []challenge{{scheme: "negotiate", token68: "YII+/-._~=="}, basic}},
		"token68_unpadded": {[]string{"Negotiate abc", "Negotiate abc="},
			[]challenge{{scheme: "negotiate", token68: "abc"}, {scheme: "negotiate", token68: "abc="}}},
		"quoted_pairs":   {[]string{`Basic realm="a \"b\" \\ c, d=e"`}, []challenge{{scheme: "basic", params: map[string]string{"realm": `a "b" \ c, d=e`}}}},
		"empty_quoted":   {[]string{`Bearer realm=""`}, []challenge{{scheme: "bearer", params: map[string]string{"realm": ""}}}},
		"commas_in_text": {[]string{`Bearer scope="repository:a:pull,push"`}, []challenge{{scheme: "bearer", params: map[string]string{"scope": "repository:a:pull,push"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseChallenges(test.lines)
			if err != nil || !reflect.DeepEqual(got, test.want) {
				t.Errorf("parseChallenges() = %+v, %v; want %+v", got, err, test.want)
			}
		})
	}
}

func TestParseChallenges_Malformed(t *testing.T) {
	for _, line := range []string{
		`=`, `"Bearer"`, `Bearer realm="open`, `Bearer realm="open\`, `Bearer realm="a" service="b"`, `Bearer realm="a"x`,
		`Bearer realm="a",realm="b"`, `Bearer realm="a",REALM="a"`, "Bearer realm=\"a\x00\"", "Bearer realm=\"a\\\x01\"", "Bearer realm=\"a\x7f\"",
		`Bearer realm=https://auth.example.com/token`, `Bearer/x`, `Bearer ==`, "Bearer\trealm=\"a\"", `Bearer a b`, `Basic realm="a", é`,
	} {
		if got, err := parseChallenges([]string{line}); err == nil {
			t.Errorf("parseChallenges(%q) = %+v, want an error", line, got)
		}
	}
}

// FuzzParseChallenges checks that parsed challenges are parsed the same after they are
// formatted.
func FuzzParseChallenges(f *testing.F) {
	for _, seed := range []string{
		`Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"`,
		`Basic realm="Registry Realm", Bearer realm="x"`, `Negotiate YII==, NTLM`, `basic`, `Bearer realm="a\"b\\c"`, `a=b`, `a b=`, `,, ,`,
		`Bearer realm="open`, `Digest qop="auth, auth-int", nonce=abc, Basic`, "Bearer \t realm = x", "\x00", `Bearer error="invalid_token"`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		parsed, err := parseChallenges([]string{line})
		if err != nil {
			if parsed != nil {
				t.Errorf("parseChallenges(%q) = %+v with an error", line, parsed)
			}
			return
		}
		var formatted []string
		for _, c := range parsed {
			if c.scheme == "" || c.scheme != strings.ToLower(c.scheme) || c.token68 != "" && c.params != nil {
				t.Errorf("parseChallenges(%q) has the invalid challenge %+v", line, c)
			}
			formatted = append(formatted, formatChallenge(c))
		}
		again, err := parseChallenges([]string{strings.Join(formatted, ", ")})
		if err != nil || !reflect.DeepEqual(again, parsed) {
			t.Errorf("parseChallenges(%q) = %+v; formatted as %q = %+v, %v", line, parsed, formatted, again, err)
		}
	})
}

// formatChallenge returns a challenge in the format of the header.
func formatChallenge(c challenge) string {
	if c.token68 != "" {
		return c.scheme + " " + c.token68
	}
	var params []string
	for _, name := range slices.Sorted(maps.Keys(c.params)) {
		value := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(c.params[name])
		params = append(params, name+`="`+value+`"`)
	}
	return strings.TrimSpace(c.scheme + " " + strings.Join(params, ","))
}
