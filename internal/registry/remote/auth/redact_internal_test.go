package auth

import "testing"

func TestPlainWords(t *testing.T) {
	for text, want := range map[string]string{
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
		if got := plainWords(text); got != want {
			t.Errorf("plainWords(%q) = %q, want %q", text, got, want)
		}
	}
}
