package auth

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestChallengesOfAnyForm(t *testing.T) {
	bearer := challenge{scheme: "bearer", params: map[string]string{"realm": "https://auth.docker.io/token", "service": "registry.docker.io"}}
	basic := challenge{scheme: "basic", params: map[string]string{"realm": "Registry Realm"}}
	for name, test := range map[string]struct {
		lines []string
		want  []challenge
	}{
		"none":            {nil, nil},
		"empty":           {[]string{"", " , ,"}, nil},
		"docker":          {[]string{`Bearer realm="https://auth.docker.io/token",service="registry.docker.io"`}, []challenge{bearer}},
		"any letter case": {[]string{`BEARER REALM="https://auth.docker.io/token", Service="registry.docker.io"`}, []challenge{bearer}},
		"space anywhere":  {[]string{"  bearer   realm = \"https://auth.docker.io/token\"\t,\tservice\t=\tregistry.docker.io , "}, []challenge{bearer}},
		"two in one line": {[]string{`Basic realm="Registry Realm", Bearer realm="https://auth.docker.io/token",service="registry.docker.io"`}, []challenge{basic, bearer}},
		"two lines":       {[]string{`Basic realm="Registry Realm"`, `Bearer realm="https://auth.docker.io/token",service="registry.docker.io"`}, []challenge{basic, bearer}},
		"scheme alone":    {[]string{"Negotiate, NTLM,Basic realm=\"Registry Realm\""}, []challenge{{scheme: "negotiate"}, {scheme: "ntlm"}, basic}},
		"token68":         {[]string{"Negotiate YII+/-._~==, Basic realm=\"Registry Realm\""}, []challenge{{scheme: "negotiate", token68: "YII+/-._~=="}, basic}},
		"token68 unpadded": {[]string{"Negotiate abc", "Negotiate abc="},
			[]challenge{{scheme: "negotiate", token68: "abc"}, {scheme: "negotiate", token68: "abc="}}},
		"quoted pairs":   {[]string{`Basic realm="a \"b\" \\ c, d=e"`}, []challenge{{scheme: "basic", params: map[string]string{"realm": `a "b" \ c, d=e`}}}},
		"empty quoted":   {[]string{`Bearer realm=""`}, []challenge{{scheme: "bearer", params: map[string]string{"realm": ""}}}},
		"commas in text": {[]string{`Bearer scope="repository:a:pull,push"`}, []challenge{{scheme: "bearer", params: map[string]string{"scope": "repository:a:pull,push"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseChallenges(test.lines)
			if err != nil || !reflect.DeepEqual(got, test.want) {
				t.Errorf("parsed as %+v, %v", got, err)
			}
		})
	}
}

func TestMalformedChallengesAreErrors(t *testing.T) {
	for _, line := range []string{
		`=`, `"Bearer"`, `Bearer realm="open`, `Bearer realm="open\`, `Bearer realm="a" service="b"`, `Bearer realm="a"x`,
		`Bearer realm="a",realm="b"`, `Bearer realm="a",REALM="a"`, "Bearer realm=\"a\x00\"", "Bearer realm=\"a\\\x01\"", "Bearer realm=\"a\x7f\"",
		`Bearer realm=https://auth.example.com/token`, `Bearer/x`, `Bearer ==`, "Bearer\trealm=\"a\"", `Bearer a b`, `Basic realm="a", é`,
	} {
		if got, err := parseChallenges([]string{line}); err == nil {
			t.Errorf("%q was parsed as %+v", line, got)
		}
	}
}

// FuzzParseChallenge checks that whatever is understood is understood the same
// way when it is written down again.
func FuzzParseChallenge(f *testing.F) {
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
				t.Errorf("an error and %+v", parsed)
			}
			return
		}
		var written []string
		for _, c := range parsed {
			if c.scheme == "" || c.scheme != strings.ToLower(c.scheme) || c.token68 != "" && c.params != nil {
				t.Errorf("%q has the challenge %+v", line, c)
			}
			written = append(written, write(c))
		}
		again, err := parseChallenges([]string{strings.Join(written, ", ")})
		if err != nil || !reflect.DeepEqual(again, parsed) {
			t.Errorf("%q is %+v; written as %q it is %+v, %v", line, parsed, written, again, err)
		}
	})
}

// write is a challenge as a header has it.
func write(c challenge) string {
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

func TestOnlyPlainWordsOfAHelperAreShown(t *testing.T) {
	for said, want := range map[string]string{
		"error getting credentials - err: exit status 1":        "error getting credentials - err: exit status 1",
		"no such profile: (default).":                           "no such profile: (default).",
		"password: correcthorse battery":                        "password: *** battery",
		`{"Username":"ci","Secret":"correcthorse"}`:             "***",
		`{ "Username": "ci", "Secret": "correcthorse" }`:        `{ "Username": "ci", "Secret": *** }`,
		"token=correcthorse":                                    "***",
		"Authorization: Basic Y2k6cGFzcw==":                     "Authorization: *** ***",
		"got s3cr3t and abcdefghijklmnopqrstuvwxyzabc 12345678": "got *** and *** ***",
		"pass-word ü": "*** ***",
	} {
		if got := plainWords(said); got != want {
			t.Errorf("%q is shown as %q, not %q", said, got, want)
		}
	}
}
