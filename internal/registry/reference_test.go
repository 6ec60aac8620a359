package registry_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

var (
	sum256 = digest.SHA256.FromString("an image")
	sum384 = digest.SHA384.FromString("an image")
	sum512 = digest.SHA512.FromString("an image")
)

func TestParseReferenceGivesTheNormalForm(t *testing.T) {
	for s, want := range map[string]string{
		"alpine":                             "docker.io/library/alpine",
		"alpine:3..20":                       "docker.io/library/alpine:3..20",
		"alpine:3.20":                        "docker.io/library/alpine:3.20",
		"acme/app:1.4":                       "docker.io/acme/app:1.4",
		"docker.io/alpine":                   "docker.io/library/alpine",
		"alpine:3":                           "docker.io/library/alpine:3",
		"node.js:v20":                        "docker.io/library/node.js:v20",
		"docker.io/localhost:5601":           "docker.io/library/localhost:5601",
		"docker.io/library/alpine:3":         "docker.io/library/alpine:3",
		"index.docker.io/alpine:3":           "docker.io/library/alpine:3",
		"Index.Docker.IO/library/alpine:3":   "docker.io/library/alpine:3",
		"registry-1.docker.io/acme/app":      "docker.io/acme/app",
		"ghcr.io/acme/app":                   "ghcr.io/acme/app",
		"GHCR.IO/acme/app:1.4":               "ghcr.io/acme/app:1.4",
		"ghcr.io/a/b/c/d/e:x":                "ghcr.io/a/b/c/d/e:x",
		"registry.example.com:8443/app:1":    "registry.example.com:8443/app:1",
		"registry.example.com:080/app:1":     "registry.example.com:80/app:1",
		"[0:0:0:0:0:0:0:1]:05000/app:1":      "[::1]:5000/app:1",
		"[::ffff:127.0.0.1]/app:1":           "127.0.0.1/app:1",
		"München.example/app:1":              "xn--mnchen-3ya.example/app:1",
		"münchen:05000/app:1":                "xn--mnchen-3ya:5000/app:1",
		"docker.io:443/alpine":               "docker.io/library/alpine",
		"Registry:5000/app":                  "registry:5000/app",
		"localhost/app:1":                    "localhost/app:1",
		"LocalHost/app:1":                    "localhost/app:1",
		"localhost:5000/app:1":               "localhost:5000/app:1",
		"127.0.0.1:5000/app:1":               "127.0.0.1:5000/app:1",
		"[::1]:5000/app:1":                   "[::1]:5000/app:1",
		"[::1]/app:1":                        "[::1]/app:1",
		"[FD00:EC2::1]:5000/app":             "[fd00:ec2::1]:5000/app",
		"ghcr.io/acme/a-b_c__d.e---f:A_b.C":  "ghcr.io/acme/a-b_c__d.e---f:A_b.C",
		"xn--mnchen-3ya.example/app":         "xn--mnchen-3ya.example/app",
		"ghcr.io/app@" + sum256.String():     "ghcr.io/app@" + sum256.String(),
		"ghcr.io/app:1.4@" + sum256.String(): "ghcr.io/app:1.4@" + sum256.String(),
		"GHCR.io/app@" + sum384.String():     "ghcr.io/app@" + sum384.String(),
		"app:1.4@" + sum512.String():         "docker.io/library/app:1.4@" + sum512.String(),
		"app:" + strings.Repeat("x", 128):    "docker.io/library/app:" + strings.Repeat("x", 128),
		"ghcr.io/" + sum256.Encoded():        "ghcr.io/" + sum256.Encoded(),
	} {
		ref, err := registry.ParseReference(s)
		if err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		if got := ref.String(); got != want {
			t.Errorf("%s is %s, want %s", s, got, want)
		}
		if again, err := registry.ParseReference(ref.String()); err != nil || again != ref {
			t.Errorf("%s parsed again is %+v (%v), want %+v", ref, again, err, ref)
		}
	}
}

func TestReferenceHasItsParts(t *testing.T) {
	ref, err := registry.ParseReference("GHCR.IO:443/acme/app:1.4@" + sum256.String())
	if err != nil {
		t.Fatal(err)
	}
	if want := (registry.Reference{Host: "ghcr.io:443", Repository: "acme/app", Tag: "1.4", Digest: sum256}); ref != want {
		t.Errorf("it has the parts %+v, want %+v", ref, want)
	}
	if got := ref.Name(); got != "ghcr.io:443/acme/app" {
		t.Errorf("its name is %s", got)
	}
	if got := ref.Target(); got != sum256.String() {
		t.Errorf("of tag and digest, it asks for %s; the digest decides", got)
	}
	if got, want := ref.Pinned(sum512), "ghcr.io:443/acme/app@"+sum512.String(); got != want {
		t.Errorf("pinned it is %s, want %s", got, want)
	}
	ref.Digest = ""
	if got := ref.Target(); got != "1.4" {
		t.Errorf("without a digest, it asks for %s", got)
	}
}

func TestDefaultTagIsForReferencesThatNameNothing(t *testing.T) {
	for s, want := range map[string]string{
		"alpine":                         "docker.io/library/alpine:latest",
		"alpine:3":                       "docker.io/library/alpine:3",
		"ghcr.io/app@" + sum256.String(): "ghcr.io/app@" + sum256.String(),
	} {
		ref, err := registry.ParseReference(s)
		if err != nil {
			t.Fatal(err)
		}
		if got := ref.WithDefaultTag().String(); got != want {
			t.Errorf("%s means %s, want %s", s, got, want)
		}
	}
}

// Each is refused with an error that has the value and says what is wrong.
func TestParseReferenceRefuses(t *testing.T) {
	upper := strings.ToUpper(sum256.Encoded())
	for name, test := range map[string]struct {
		s   string
		why string // in the error's message
	}{
		"nothing":                      {"", "empty"},
		"a blank":                      {"ghcr.io/acme/ app", `' '`},
		"a line end":                   {"ghcr.io/acme/app:1.4\n", `'\n'`},
		"CR and LF":                    {"ghcr.io/acme/app\r\nHost: evil", `'\r'`},
		"NUL":                          {"ghcr.io/acme/app\x00", `'\x00'`},
		"an escape character":          {"ghcr.io/acme/\x1b[31mapp", `'\x1b'`},
		"invalid UTF-8":                {"ghcr.io/acme/\xff", `'\ufffd'`},
		"a letter that is not ASCII":   {"ghcr.io/acme/äpp", `'\u00e4'`},
		"a host that looks like one":   {"doc\u212aer.io/library/alpine", `'\u212a'`},
		"localhost with a long s":      {"localho\u017ft/app", `'\u017f'`},
		"a query":                      {"ghcr.io/acme/app?", `'?'`},
		"a fragment":                   {"ghcr.io/acme/app#", `'#'`},
		"an escape":                    {"ghcr.io/acme%2fapp", `'%'`},
		"a backslash":                  {`ghcr.io\acme\app`, `'\\'`},
		"https":                        {"https://ghcr.io/acme/app", `scheme "https://"`},
		"docker":                       {"docker://ghcr.io/acme/app", `scheme "docker://"`},
		"an image layout":              {"oci://layout", `scheme "oci://"`},
		"a path below":                 {"./some.tar", `is written "oci:./some.tar"`},
		"a path at home":               {"~/app:1", `is written "oci:~/app:1"`},
		"a path from the top":          {"/tmp/some.tar:1.4", `is written "oci:/tmp/some.tar:1.4"`},
		"an archive of skopeo's":       {"oci-archive:x.tar", `is written "oci:x.tar"`},
		"a layout in capitals":         {"OCI:./app:1", `is written "oci:./app:1"`},
		"an archive of docker's":       {"docker-archive:x.tar", "skopeo copy docker-archive:x.tar oci:./image:TAG"},
		"a folder of skopeo's":         {"dir:out", `"dir:" is a place that other tools read`},
		"what podman stores":           {"containers-storage:localhost/app:1", `"containers-storage:" is a place that other tools read`},
		"no repository":                {"ghcr.io/", "no repository"},
		"a tag alone":                  {":1.4", "no repository"},
		"a digest alone":               {"@" + sum256.String(), "no repository"},
		"two dots":                     {"ghcr.io/acme/../app", `".." cannot be a part of a repository`},
		"two dots in the beginning":    {"../app", `is written "oci:../app"`},
		"one dot":                      {"ghcr.io/./app", `"." cannot be a part of a repository`},
		"two slashes":                  {"ghcr.io//acme/app", "a slash too many"},
		"two slashes in the middle":    {"ghcr.io/acme//app", "a slash too many"},
		"a slash in the beginning":     {"/acme/app", "a slash too many"},
		"a slash at the end":           {"ghcr.io/acme/app/", "a slash too many"},
		"capitals":                     {"ghcr.io/Acme/app:1", `"Acme/app" is not in lower case`},
		"capitals on Docker Hub":       {"Alpine:3", `"Alpine" is not in lower case`},
		"capitals before a digest":     {"Alpine@" + sum256.String(), `"Alpine" is not in lower case`},
		"capitals in a namespace":      {"ACME/app", `"ACME" is no host`},
		"a dash in the beginning":      {"ghcr.io/-acme/app", `"-acme" cannot be a part`},
		"three underscores":            {"ghcr.io/a___b", `"a___b" cannot be a part`},
		"a long repository":            {"ghcr.io/" + strings.Repeat("a", 256), "longer than 255"},
		"an image ID":                  {sum256.Encoded(), "the ID of an image"},
		"no tag":                       {"ghcr.io/acme/app:", "no tag after it"},
		"a tag of 129 characters":      {"ghcr.io/acme/app:" + strings.Repeat("x", 129), "129 characters"},
		"a dash before the tag":        {"ghcr.io/acme/app:-1", `"-1" cannot be a tag`},
		"a dot before the tag":         {"ghcr.io/acme/app:.1", `".1" cannot be a tag`},
		"two dots as tag":              {"ghcr.io/acme/app:..", `".." cannot be a tag`},
		"a path as tag":                {"ghcr.io/acme/app:../../x", `"../../x" cannot be a tag`},
		"a plus in the tag":            {"ghcr.io/acme/app:1.4+build", `"1.4+build" cannot be a tag`},
		"a slash in the tag":           {"ghcr.io/acme/app:1/4", `"1/4" cannot be a tag`},
		"two tags":                     {"ghcr.io/acme/app:1:2", `"1:2" cannot be a tag`},
		"an empty host":                {".io/acme/app", `".io" is not a host`},
		"a dot at the end of a host":   {"ghcr.io./acme/app", `"ghcr.io." is not a host`},
		"a dash before a host":         {"-ghcr.io/acme/app", `"-ghcr.io" is not a host`},
		"an underscore in a host":      {"my_host:5000/app", `"my_host:5000" is not a host`},
		"an underscore before a dot":   {"my_host.example/app", `"my_host.example" is not a host`},
		"an empty port":                {"ghcr.io:/acme/app", `"ghcr.io:" is not a host`},
		"a port that is no number":     {"ghcr.io:https/acme/app", `"ghcr.io:https" is not a host`},
		"port 0":                       {"ghcr.io:0/acme/app", `port "0"`},
		"port 65536":                   {"ghcr.io:65536/acme/app", `port "65536"`},
		"IPv6 without brackets":        {"::1/app", `"::1" is not a host`},
		"empty brackets":               {"[]/app", `"[]" cannot be a part`},
		"colons that are no address":   {"[:::::]:5000/app", `"[:::::]" is not an IPv6 address`},
		"a zone":                       {"[fe80::1%eth0]/app", `'%'`},
		"no digest":                    {"ghcr.io/app@", "digest is refused: it is empty"},
		"a digest without algorithm":   {"ghcr.io/app@" + sum256.Encoded(), "names no algorithm"},
		"a tag as digest":              {"ghcr.io/app@1.4", `"1.4" names no algorithm`},
		"a digest in capitals":         {"ghcr.io/app@sha256:" + upper, "not in lower case"},
		"an algorithm in capitals":     {"ghcr.io/app@SHA256:" + sum256.Encoded(), `"SHA256" is not supported`},
		"a short digest":               {"ghcr.io/app@sha256:abc", "sha256 has 64 hexadecimal digits, and here there are 3"},
		"a digest of 63 digits":        {"ghcr.io/app@" + sum256.String()[:70], "here there are 63"},
		"a digest of 65 digits":        {"ghcr.io/app@" + sum256.String() + "0", "here there are 65"},
		"a digest of another size":     {"ghcr.io/app@sha512:" + sum256.Encoded(), "sha512 has 128 hexadecimal digits"},
		"a digest that is not hex":     {"ghcr.io/app@sha256:" + strings.Repeat("g", 64), "no hexadecimal digits"},
		"an empty digest":              {"ghcr.io/app@sha256:", "here there are 0"},
		"md5":                          {"ghcr.io/app@md5:" + sum256.Encoded()[:32], `"md5" is not supported`},
		"no algorithm before a colon":  {"ghcr.io/app@:" + sum256.Encoded(), `"" is not supported`},
		"a path as digest":             {"ghcr.io/app@sha256:../../x", "here there are 7"},
		"a path as long as a digest":   {"ghcr.io/app@sha256:" + strings.Repeat("../x", 16), "no hexadecimal digits"},
		"an escaped digest":            {"ghcr.io/app@sha256%3A" + sum256.Encoded(), `'%'`},
		"two digests":                  {"ghcr.io/app@" + sum256.String() + "@" + sum256.String(), "here there are 136"},
		"a host and a port":            {"localhost:5601", `"localhost:5601" would be read as the repository library/localhost on Docker Hub with the tag 5601`},
		"a domain and a port":          {"registry.example.com:5000", "it has no repository"},
		"an address and a port":        {"127.0.0.1:5000@" + sum256.String(), "it has no repository"},
		"a tag after the digest":       {"ghcr.io/app@" + sum256.String() + ":1.4", "here there are 68"},
		"a letter after one in a host": {"münchen.example/äpp", `'\u00e4'`},
		"no host of the DNS":           {"mün_chen.example/app", `"mün_chen.example" is not a valid internationalized host name`},
		"an address in octal":          {"0177.0.0.1/app", "not an IPv4 address of four decimal numbers"},
		"a host that is a number":      {"2130706433:5000/app", "not an IPv4 address of four decimal numbers"},
		"an address in hex":            {"127.0.0.0x1/app", "not an IPv4 address of four decimal numbers"},
		"an address of five numbers":   {"1.2.3.4.5/app", "not an IPv4 address of four decimal numbers"},
		"an address that is too high":  {"256.0.0.1/app", "not an IPv4 address of four decimal numbers"},
		"a short address":              {"127.1:5000/app", "not an IPv4 address of four decimal numbers"},
	} {
		t.Run(name, func(t *testing.T) {
			ref, err := registry.ParseReference(test.s)
			if ref != (registry.Reference{}) {
				t.Errorf("%q gives %+v beside its error", test.s, ref)
			}
			refused(t, err, registry.ErrInvalidReference, "cannot read the reference", registry.Sanitize(test.s), test.why)
		})
	}
}

func TestParseReferenceRefusesUserinfoWithoutShowingIt(t *testing.T) {
	for s, shown := range map[string]string{
		"user:canary@ghcr.io/acme/app":               "***@ghcr.io/acme/app",
		"user:canary@ghcr.io/app@" + sum256.String(): "***@ghcr.io/app@" + sum256.String(),
		"user:canary@host:5000/app":                  "***@host:5000/app",
		"user:c@nary/canary@ghcr.io/app":             "***@ghcr.io/app",
		"user:canary@ghcr.io":                        "***@ghcr.io",
		"canary@ghcr.io/acme/app:1.4":                "***@ghcr.io/acme/app:1.4",
	} {
		_, err := registry.ParseReference(s)
		refused(t, err, registry.ErrInvalidReference, " "+shown+": ", "user name before an @")
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
	for s, shown := range map[string]string{
		"https://user:canary@ghcr.io/acme/app": "https://***@ghcr.io/acme/app",
		"https://user:canary@ghcr.io":          "https://***@ghcr.io",
		"https://canary@ghcr.io/":              "https://***@ghcr.io/",
	} {
		_, err := registry.ParseReference(s)
		refused(t, err, registry.ErrInvalidReference, " "+shown+": ", `scheme "https://"`)
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
}

func TestReferenceErrorsAreBounded(t *testing.T) {
	_, err := registry.ParseReference("ghcr.io/app:" + strings.Repeat("x", 1013))
	refused(t, err, registry.ErrInvalidReference, "longer than 1024 characters")
	const n = 1000
	for _, s := range []string{
		strings.Repeat("A", n), strings.Repeat("a/", n/2), strings.Repeat("A", n) + "/app", "ghcr.io/app:" + strings.Repeat("x", n),
		"app@" + strings.Repeat("x", n), "app@sha256:" + strings.Repeat("g", n), strings.Repeat("x", n) + "://", strings.Repeat("@", n) + "/",
		"[" + strings.Repeat(":", n) + "]/app", "ghcr.io:" + strings.Repeat("1", n) + "/app", strings.Repeat("x", 10<<20),
	} {
		_, err := registry.ParseReference(s)
		refused(t, err, registry.ErrInvalidReference)
		if err != nil && len(err.Error()) > 3*n {
			t.Errorf("the error about %d bytes (%.10s…) has %d bytes", len(s), s, len(err.Error()))
		}
	}
}

// isDotSegment says whether a segment of a path would lead somewhere else (RFC
// 3986, section 5.2.4) or nowhere. Dots within a tag, as in "1..2", do not.
func isDotSegment(segment string) bool { return segment == "" || segment == "." || segment == ".." }

func FuzzParseReference(f *testing.F) {
	for _, s := range []string{
		"", "alpine", "alpine:3", "GHCR.IO/acme/app:1.4@" + sum256.String(), "index.docker.io/x", "[::1]:5000/app", "localhost:5000/a/b:c",
		"https://u:p@ghcr.io/app", "ACME/app", "a/../b", "a//b", "a@sha256:../../x", "app@" + sum512.String(), "doc\u212aer.io/x", "x\r\ny", "host:65536/x", "0:0..", "my_host.example/x",
		"localhost:080/x", "[0:0::1]:0/x", "[::ffff:127.0.0.1]:080/x:1", "Bücher.example:0443/x", "ß。a:1/x", "docker.io:443/x", "127.1/x", "a./x", "0x7f.0x1:5000/x",
		sum256.Encoded(), "a@", "a:", ":", "@", "/", "://",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := registry.ParseReference(s)
		if err != nil {
			refused(t, err, registry.ErrInvalidReference, "cannot read the reference")
			return
		}
		again, err := registry.ParseReference(ref.String())
		if err != nil || again != ref {
			t.Errorf("%q is %+v, and parsed again from %q it is %+v (%v)", s, ref, ref, again, err)
		}
		if ref.Host != strings.ToLower(ref.Host) || ref.Repository != strings.ToLower(ref.Repository) {
			t.Errorf("%q gives capitals in %q", s, ref.Name())
		}
		if ref.Host == "" || ref.Repository == "" || strings.ContainsAny(ref.String(), " \r\n\x00?#%\\") || slices.ContainsFunc(strings.Split(ref.String(), "/"), isDotSegment) {
			t.Errorf("%q gives %q, which is not safe in a URL", s, ref)
		}
		if ref.Digest != "" && registry.ValidateDigest(ref.Digest) != nil {
			t.Errorf("%q gives the invalid digest %q", s, ref.Digest)
		}
	})
}
