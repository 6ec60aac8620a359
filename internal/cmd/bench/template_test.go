package main

import (
	"slices"
	"strings"
	"testing"
)

func TestFill(t *testing.T) {
	got := template("SSL_CERT_FILE={ca} A_B=c tool  --host reg={source} X=1 {src} {unknown}").fill(map[string]string{
		"ca": "a directory/ca.pem", "source": "127.0.0.1:1", "src": "{dst}",
	})
	if want := []string{"SSL_CERT_FILE=a directory/ca.pem", "A_B=c"}; !slices.Equal(got.Env, want) {
		t.Errorf("fill() Env = %q, want %q", got.Env, want)
	}
	if want := []string{"tool", "--host", "reg=127.0.0.1:1", "X=1", "{dst}", "{unknown}"}; !slices.Equal(got.Args, want) {
		t.Errorf("fill() Args = %q, want %q", got.Args, want)
	}
}

func TestCommandsFor(t *testing.T) {
	digests := map[string]string{}
	for _, c := range copiers {
		for _, s := range scenarios {
			if !c.supports(s) {
				continue
			}
			pairs := s.pairs("127.0.0.1:1", "127.0.0.1:2", digests)
			for _, ca := range []string{"", "ca.pem"} {
				values := map[string]string{"bin": "bin", "terraform": "terraform", "home": "home", "list": "list.txt", "ca": ca}
				lines := c.commandsFor(pairs, values)
				if len(lines) != 1 && len(lines) != len(pairs) {
					t.Errorf("%s, %s: commandsFor() returned %d commands for %d copies", c.name, s.name, len(lines), len(pairs))
				}
				for _, line := range lines {
					text := strings.Join(append(line.Env, line.Args...), " ")
					if len(line.Args) == 0 || strings.ContainsAny(text, "{}") {
						t.Errorf("%s, %s: command = %q", c.name, s.name, text)
					}
					named := strings.Contains(text, "ca.pem") || strings.Contains(text, "-chdir=home")
					if ca != "" && !named {
						t.Errorf("%s, %s: command without the authority: %q", c.name, s.name, text)
					}
				}
			}
		}
	}
}

func TestPairs_Promotion(t *testing.T) {
	s := scenario{images: []string{"app"}, promote: true}
	got := s.pairs("127.0.0.1:1", "127.0.0.1:2", map[string]string{"app": "sha256:abc"})
	want := pair{source: "127.0.0.1:2/stage/app:1", destination: "127.0.0.1:2/production/app:1", repository: "production/app", digest: "sha256:abc"}
	if len(got) != 1 || got[0] != want {
		t.Errorf("pairs() = %+v, want %+v", got, want)
	}
}

func TestConfiguration(t *testing.T) {
	s := scenario{images: fleetNames()}
	pairs := s.pairs("127.0.0.1:1", "127.0.0.1:2", map[string]string{})
	got := configuration("a directory/ca.pem", pairs)
	for _, want := range []string{
		`"127.0.0.1:1" = { plain_http = false, ca_certificate = file("a directory/ca.pem") }`,
		`"127.0.0.1:2" = { plain_http = false, ca_certificate = file("a directory/ca.pem") }`,
	} {
		if strings.Count(got, want) != 1 {
			t.Errorf("configuration() does not contain %s exactly once:\n%s", want, got)
		}
	}
	if n := strings.Count(got, `resource "registry_image_copy" `); n != fleetSize {
		t.Errorf("configuration() has %d copies, want %d", n, fleetSize)
	}
	if plain := configuration("", pairs); strings.Contains(plain, "ca_certificate") {
		t.Errorf("configuration() for plain HTTP =\n%s", plain)
	}
}
