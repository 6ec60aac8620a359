package imageref_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/imageref"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

const d = digest.Digest("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")

func TestParseSource(t *testing.T) {
	t.Parallel()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	here = filepath.ToSlash(here)
	for s, want := range map[string]struct{ str, name, target, tag, pinned string }{
		"alpine":                     {"docker.io/library/alpine:latest", "docker.io/library/alpine", "latest", "latest", "docker.io/library/alpine@" + d.String()},
		"GHCR.io/a/b:1@" + string(d): {"ghcr.io/a/b:1@" + d.String(), "ghcr.io/a/b", d.String(), "1", "ghcr.io/a/b@" + d.String()},
		"oci:build/app":              {"oci:build/app", "oci:" + here + "/build/app", "", "", "oci:build/app@" + d.String()},
		"oci:./build/../app:1":       {"oci:./build/../app:1", "oci:" + here + "/app", "1", "1", "oci:./build/../app@" + d.String()},
		"oci:app:1@" + string(d):     {"oci:app:1@" + d.String(), "oci:" + here + "/app", d.String(), "1", "oci:app@" + d.String()},
		"oci:a:b:1":                  {"oci:a:b:1", "oci:" + here + "/a:b", "1", "1", "oci:a:b:1@" + d.String()},
	} {
		p, err := imageref.ParseSource(s)
		if err != nil {
			t.Errorf("ParseSource(%q) error = %v", s, err)
		}
		got := struct{ str, name, target, tag, pinned string }{p.String(), p.Name(), p.Identifier(), p.Tag(), p.Pinned(d)}
		if got != want {
			t.Errorf("ParseSource(%q) = %+v, want %+v", s, got, want)
		}
		if pinned, err := imageref.ParseSource(got.pinned); err != nil || pinned.Name() != p.Name() || pinned.Digest() != d {
			t.Errorf("ParseSource(%q) = %s, %v; want the pinned reference", got.pinned, pinned, err)
		}
		if at := p.WithDigest(d).WithTag("2"); at.Digest() != d || at.Tag() != "2" || at.Name() != p.Name() {
			t.Errorf("WithDigest() and WithTag() of %q = %s", s, at)
		}
	}
}

func TestRef_Equal(t *testing.T) {
	t.Parallel()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		a, b string
		same bool
	}{
		{"alpine:3", "docker.io/library/alpine:3", true},
		{"oci:app:1", "oci:./app:1", true},
		{"oci:app:1", "oci:" + here + "/x/../app:1", true},
		{"oci:app:1", "oci:app:2", false},
		{"oci:app:1", "oci:app:1@" + d.String(), false},
		{"oci:app:1", "oci:other:1", false},
		{"oci:~/app:1", "oci:app:1", false},
		{"oci:~app:1", "oci:./~app:1", true},
		{"oci:app:1", "docker.io/library/app:1", false},
	} {
		a, errA := imageref.ParseSource(test.a)
		b, errB := imageref.ParseSource(test.b)
		if errA != nil || errB != nil || a.Equal(b) != test.same {
			t.Errorf("Equal(%s, %s) = %t, errors = %v, %v; want %t", test.a, test.b, a.Equal(b), errA, errB, test.same)
		}
	}
}

func TestRef_Canonical(t *testing.T) {
	t.Parallel()
	none, yes := "", true
	options := remote.Options{Hosts: map[string]remote.HostOptions{"plain.example:80": {PlainHTTP: &yes}, "http.example": {PlainHTTP: &yes}}}
	options.Credentials.DockerConfigPath = &none
	client, err := remote.New(options)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		a, b  string
		name  string // canonical name of both
		plain bool   // whether they are equal without a client
	}{
		{"127.0.0.1:80/x:v1", "127.0.0.1/x:v1", "127.0.0.1/x", false},
		{"127.0.0.1:080/x:v1", "127.0.0.1:80/x:v1", "127.0.0.1/x", true},
		{"localhost:80/x:v1", "LocalHost/x:v1", "localhost/x", false},
		{"[0:0:0:0:0:0:0:1]/x:v1", "[::1]:80/x:v1", "[::1]/x", false},
		{"Example.com:443/x:v1", "example.com/x:v1", "example.com/x", false},
		{"bücher.example/x:v1", "xn--bcher-kva.example/x:v1", "xn--bcher-kva.example/x", true},
		{"http.example:80/x:v1", "http.example/x:v1", "http.example/x", false},
		{"docker.io:443/alpine:3", "alpine:3", "docker.io/library/alpine", true},
	} {
		a, errA := imageref.ParseSource(test.a)
		b, errB := imageref.ParseSource(test.b)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if a.Equal(b) != test.plain {
			t.Errorf("Equal(%s, %s) = %t, want %t", a, b, a.Equal(b), test.plain)
		}
		for _, p := range []imageref.Ref{a, b} {
			repo, err := p.OpenSource(client)
			if err != nil || p.Canonical(client).Name() != test.name || repo.Name() != test.name {
				t.Errorf("Canonical(%s) = %s, OpenSource() = %v, %v; want the name %s", p, p.Canonical(client).Name(), repo, err, test.name)
			}
		}
		if !a.Canonical(client).Equal(b.Canonical(client)) {
			t.Errorf("Equal() of canonical %s and %s = false, want true", a, b)
		}
	}
	for _, pair := range [][2]string{
		{"plain.example:80/x:v1", "plain.example/x:v1"}, {"127.0.0.1:443/x:v1", "127.0.0.1/x:v1"}, {"http.example:443/x:v1", "http.example/x:v1"}, {"127.0.0.1/x:v1", "localhost/x:v1"},
	} {
		a, errA := imageref.ParseSource(pair[0])
		b, errB := imageref.ParseSource(pair[1])
		if errA != nil || errB != nil || a.Canonical(client).Equal(b.Canonical(client)) {
			t.Errorf("Equal() of canonical %s and %s = true, errors = %v, %v; want false", a, b, errA, errB)
		}
	}
	at, err := imageref.ParseDestination("oci:./x/../app:1")
	if err != nil || at.Canonical(client) != at {
		t.Errorf("Canonical() of a layout = %s, %v; want it unchanged", at.Canonical(client), err)
	}
}

func TestParseSource_HomeDirectory(t *testing.T) {
	home, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", home)
	t.Setenv("USERPROFILE", home) // Windows
	p, err := imageref.ParseSource("oci:~/images/app:1")
	if want := "oci:" + filepath.ToSlash(home) + "/images/app"; err != nil || p.Name() != want {
		t.Errorf("Name() = %s, %v; want %s", p.Name(), err, want)
	}
}

func TestParseDestination_Invalid(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"oci:app":                             "it has no tag",
		"oci:app@" + string(d):                "it has a digest",
		"oci:app:" + strings.Repeat("x", 129): "cannot be a tag",
		"oci:app:-x":                          "cannot be a tag",
		"oci:":                                "names no path",
		"oci:image.tar:1":                     "it is an archive by its name",
		"oci:/some where/image.tgz:1":         "it is an archive by its name",
		"app":                                 "names no registry",
	} {
		_, err := imageref.ParseDestination(s)
		if !errors.Is(err, registry.ErrInvalidReference) || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseDestination(%q) error = %v, want %q", s, err, want)
		}
	}
	for _, s := range []string{"oci:app:1", "oci:/some where/user@host/a:b:1.4_x-y", `oci:C:\images\app:1`, "oci:app.tar/:1", "oci:tar:1", "localhost/app:1"} {
		if p, err := imageref.ParseDestination(s); err != nil || p.String() != s {
			t.Errorf("ParseDestination(%q) = %s, %v", s, p, err)
		}
	}
}

func TestRef_RepositoryName(t *testing.T) {
	t.Parallel()
	none := ""
	options := remote.Options{}
	options.Credentials.DockerConfigPath = &none
	client, err := remote.New(options)
	if err != nil {
		t.Fatal(err)
	}
	dir := registrytest.Layout(t, map[string]registrytest.Content{"1": registrytest.Image{Seed: "a"}})
	for _, s := range []string{"localhost:5000/app:1", "oci:" + dir + ":1"} {
		p, err := imageref.ParseDestination(s)
		if err != nil {
			t.Fatal(err)
		}
		from, err := p.OpenSource(client)
		if err != nil || from.Name() != p.Name() {
			t.Errorf("OpenSource(%s) = %v, %v; want the same name", p, from, err)
		}
		to, err := p.OpenDestination(client)
		if err != nil || to.Name() != p.Name() {
			t.Errorf("OpenDestination(%s) = %v, %v; want the same name", p, to, err)
		}
	}
	missing, err := imageref.ParseDestination("oci:" + filepath.Join(t.TempDir(), "none") + ":1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := missing.OpenSource(client); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("OpenSource() of a missing layout error = %v, want ErrNotFound", err)
	}
	if _, err := missing.OpenDestination(client); err != nil {
		t.Errorf("OpenDestination() of a missing layout error = %v", err)
	}
}

func TestRef_IsSameFolder(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	parse := func(path string) imageref.Ref {
		r, err := imageref.ParseDestination("oci:" + path + ":1")
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	inRegistry, err := imageref.ParseDestination("registry.example.com/app:1")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		a, b imageref.Ref
		want bool
	}{
		"same":     {parse(a), parse(a + "/."), true},
		"other":    {parse(a), parse(b), false},
		"missing":  {parse(a), parse(a + "/none"), false},
		"registry": {parse(a), inRegistry, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := test.a.IsSameFolder(test.b); got != test.want {
				t.Errorf("IsSameFolder() = %t, want %t", got, test.want)
			}
		})
	}
}
