package provider

import (
	"strings"
	"testing"
)

func TestParseDestination(t *testing.T) {
	t.Parallel()
	digest := "@sha256:" + strings.Repeat("0", 64)
	for s, contains := range map[string]string{
		"registry.example.com/prod/app:1.4":              "",
		"localhost/app:1":                                "",
		"[::1]:5000/app:1":                               "",
		"docker.io/acme/app:1":                           "",
		"app:1":                                          `write "docker.io/library/app:1"`,
		"acme/app:1":                                     `write "docker.io/acme/app:1"`,
		"registry.example.com/app":                       "has no tag",
		"registry.example.com/app:1" + digest:            "has a digest",
		"registry.example.com/app" + digest:              "has a digest",
		"registry.example.com/App:1":                     "lower case",
		"https://registry.example.com/app:1":             "scheme",
		"user@registry.example.com/app:1":                "cannot be read",
		"registry.example.com/app:1\r\nHost: evil":       "cannot be read",
		"registry.example.com/../app:1":                  "cannot be read",
		"registry.example.com/app:1?digest=1":            "cannot be read",
		"registry.example.com/app:1@sha256:abc":          "cannot be read",
		"registry.example.com/app:1@md5:" + digest[9:41]: "md5",
	} {
		_, problem := parseDestination(s)
		if contains == "" && problem != "" || !strings.Contains(problem, contains) {
			t.Errorf("%q: %q, want %q", s, problem, contains)
		}
		if strings.ContainsAny(problem, "\r") {
			t.Errorf("%q: the problem contains a carriage return: %q", s, problem)
		}
	}
}

func TestSameReference(t *testing.T) {
	t.Parallel()
	for _, pair := range [][2]string{
		{"alpine", "docker.io/library/alpine:latest"},
		{"alpine:3", "index.docker.io/library/alpine:3"},
		{"GHCR.IO/acme/app:1", "ghcr.io/acme/app:1"},
		{"oci:app:1", "oci:./app:1"},
	} {
		if !sameReference(pair[0], pair[1]) {
			t.Errorf("%s and %s are not the same", pair[0], pair[1])
		}
	}
	for _, pair := range [][2]string{
		{"alpine", "alpine:3"},
		{"ghcr.io/acme/app:1", "quay.io/acme/app:1"},
		{"not a reference", "not a reference"},
		{"oci:app:1", "oci:app:2"},
		{"oci:app:1", "docker.io/library/oci:app"},
	} {
		if sameReference(pair[0], pair[1]) {
			t.Errorf("%s and %s are the same", pair[0], pair[1])
		}
	}
}

func TestReferenceValue_ParseLayout(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"oci:app", "oci:./build/app:1.4"} {
		if _, err := newReference(s).parse(); err == nil || !strings.Contains(invalidReference(s, err), "names an image layout on this machine") {
			t.Errorf("%s: %v", s, err)
		}
		if _, err := newReference(s).ref(); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
}
