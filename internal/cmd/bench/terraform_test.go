package main

import (
	"strings"
	"testing"
)

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
