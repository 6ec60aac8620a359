package registry_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

func TestParseReference_NormalForm(t *testing.T) {
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
			t.Errorf("ParseReference(%q) error = %v", s, err)
			continue
		}
		if got := ref.String(); got != want {
			t.Errorf("ParseReference(%q) = %s, want %s", s, got, want)
		}
		if again, err := registry.ParseReference(ref.String()); err != nil || again != ref {
			t.Errorf("ParseReference(%q) = %+v, %v; want %+v", ref, again, err, ref)
		}
	}
}

func TestReference_Fields(t *testing.T) {
	ref, err := registry.ParseReference("GHCR.IO:443/acme/app:1.4@" + sum256.String())
	if err != nil {
		t.Fatal(err)
	}
	if want := (registry.Reference{Host: "ghcr.io:443", Repository: "acme/app", Tag: "1.4", Digest: sum256}); ref != want {
		t.Errorf("ParseReference() = %+v, want %+v", ref, want)
	}
	if got := ref.Name(); got != "ghcr.io:443/acme/app" {
		t.Errorf("Name() = %s, want ghcr.io:443/acme/app", got)
	}
	if got := ref.Target(); got != sum256.String() {
		t.Errorf("Target() = %s, want the digest", got)
	}
	if got, want := ref.Pinned(sum512), "ghcr.io:443/acme/app@"+sum512.String(); got != want {
		t.Errorf("Pinned() = %s, want %s", got, want)
	}
	ref.Digest = ""
	if got := ref.Target(); got != "1.4" {
		t.Errorf("Target() without a digest = %s, want the tag", got)
	}
}

func TestReference_WithDefaultTag(t *testing.T) {
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
			t.Errorf("WithDefaultTag() of %s = %s, want %s", s, got, want)
		}
	}
}

// Each error contains the value and the reason.
func TestParseReference_Invalid(t *testing.T) {
	upper := strings.ToUpper(sum256.Encoded())
	for name, test := range map[string]struct {
		s   string
		why string // in the error's message
	}{
		"empty":                         {"", "empty"},
		"space":                         {"ghcr.io/acme/ app", `' '`},
		"newline":                       {"ghcr.io/acme/app:1.4\n", `'\n'`},
		"crlf":                          {"ghcr.io/acme/app\r\nHost: evil", `'\r'`},
		"nul":                           {"ghcr.io/acme/app\x00", `'\x00'`},
		"escape_character":              {"ghcr.io/acme/\x1b[31mapp", `'\x1b'`},
		"invalid_utf_8":                 {"ghcr.io/acme/\xff", `'\ufffd'`},
		"non_ascii_letter":              {"ghcr.io/acme/äpp", `'\u00e4'`},
		"kelvin_sign_in_host":           {"doc\u212aer.io/library/alpine", `'\u212a'`},
		"long_s_in_localhost":           {"localho\u017ft/app", `'\u017f'`},
		"query":                         {"ghcr.io/acme/app?", `'?'`},
		"fragment":                      {"ghcr.io/acme/app#", `'#'`},
		"percent_escape":                {"ghcr.io/acme%2fapp", `'%'`},
		"backslash":                     {`ghcr.io\acme\app`, `'\\'`},
		"https_scheme":                  {"https://ghcr.io/acme/app", `scheme "https://"`},
		"docker_scheme":                 {"docker://ghcr.io/acme/app", `scheme "docker://"`},
		"oci_scheme":                    {"oci://layout", `scheme "oci://"`},
		"relative_path":                 {"./some.tar", `is written "oci:./some.tar"`},
		"home_path":                     {"~/app:1", `is written "oci:~/app:1"`},
		"absolute_path":                 {"/tmp/some.tar:1.4", `is written "oci:/tmp/some.tar:1.4"`},
		"oci_archive":                   {"oci-archive:x.tar", `is written "oci:x.tar"`},
		"upper_case_oci":                {"OCI:./app:1", `is written "oci:./app:1"`},
		"docker_archive":                {"docker-archive:x.tar", "skopeo copy docker-archive:x.tar oci:./image:TAG"},
		"dir_transport":                 {"dir:out", `"dir:" is a place that other tools read`},
		"containers_storage":            {"containers-storage:localhost/app:1", `"containers-storage:" is a place that other tools read`},
		"no_repository":                 {"ghcr.io/", "no repository"},
		"only_tag":                      {":1.4", "no repository"},
		"only_digest":                   {"@" + sum256.String(), "no repository"},
		"two_dots":                      {"ghcr.io/acme/../app", `".." cannot be a part of a repository`},
		"leading_dots":                  {"../app", `is written "oci:../app"`},
		"one_dot":                       {"ghcr.io/./app", `"." cannot be a part of a repository`},
		"two_slashes":                   {"ghcr.io//acme/app", "a slash too many"},
		"two_slashes_in_repository":     {"ghcr.io/acme//app", "a slash too many"},
		"leading_slash":                 {"/acme/app", "a slash too many"},
		"trailing_slash":                {"ghcr.io/acme/app/", "a slash too many"},
		"upper_case_repository":         {"ghcr.io/Acme/app:1", `"Acme/app" is not in lower case`},
		"upper_case_on_docker_hub":      {"Alpine:3", `"Alpine" is not in lower case`},
		"upper_case_before_digest":      {"Alpine@" + sum256.String(), `"Alpine" is not in lower case`},
		"upper_case_namespace":          {"ACME/app", `"ACME" is no host`},
		"leading_dash":                  {"ghcr.io/-acme/app", `"-acme" cannot be a part`},
		"three_underscores":             {"ghcr.io/a___b", `"a___b" cannot be a part`},
		"long_repository":               {"ghcr.io/" + strings.Repeat("a", 256), "longer than 255"},
		"image_id":                      {sum256.Encoded(), "the ID of an image"},
		"empty_tag":                     {"ghcr.io/acme/app:", "no tag after it"},
		"tag_of_129_characters":         {"ghcr.io/acme/app:" + strings.Repeat("x", 129), "129 characters"},
		"leading_dash_in_tag":           {"ghcr.io/acme/app:-1", `"-1" cannot be a tag`},
		"leading_dot_in_tag":            {"ghcr.io/acme/app:.1", `".1" cannot be a tag`},
		"dots_as_tag":                   {"ghcr.io/acme/app:..", `".." cannot be a tag`},
		"path_as_tag":                   {"ghcr.io/acme/app:../../x", `"../../x" cannot be a tag`},
		"plus_in_tag":                   {"ghcr.io/acme/app:1.4+build", `"1.4+build" cannot be a tag`},
		"slash_in_tag":                  {"ghcr.io/acme/app:1/4", `"1/4" cannot be a tag`},
		"two_tags":                      {"ghcr.io/acme/app:1:2", `"1:2" cannot be a tag`},
		"empty_host":                    {".io/acme/app", `".io" is not a host`},
		"trailing_dot_in_host":          {"ghcr.io./acme/app", `"ghcr.io." is not a host`},
		"leading_dash_in_host":          {"-ghcr.io/acme/app", `"-ghcr.io" is not a host`},
		"underscore_in_host":            {"my_host:5000/app", `"my_host:5000" is not a host`},
		"underscore_in_domain":          {"my_host.example/app", `"my_host.example" is not a host`},
		"empty_port":                    {"ghcr.io:/acme/app", `"ghcr.io:" is not a host`},
		"port_not_a_number":             {"ghcr.io:https/acme/app", `"ghcr.io:https" is not a host`},
		"port_0":                        {"ghcr.io:0/acme/app", `port "0"`},
		"port_65536":                    {"ghcr.io:65536/acme/app", `port "65536"`},
		"ipv6_without_brackets":         {"::1/app", `"::1" is not a host`},
		"empty_brackets":                {"[]/app", `"[]" cannot be a part`},
		"invalid_ipv6":                  {"[:::::]:5000/app", `"[:::::]" is not an IPv6 address`},
		"ipv6_zone":                     {"[fe80::1%eth0]/app", `'%'`},
		"empty_digest":                  {"ghcr.io/app@", "digest is refused: it is empty"},
		"digest_without_algorithm":      {"ghcr.io/app@" + sum256.Encoded(), "names no algorithm"},
		"tag_as_digest":                 {"ghcr.io/app@1.4", `"1.4" names no algorithm`},
		"upper_case_digest":             {"ghcr.io/app@sha256:" + upper, "not in lower case"},
		"upper_case_algorithm":          {"ghcr.io/app@SHA256:" + sum256.Encoded(), `"SHA256" is not supported`},
		"short_digest":                  {"ghcr.io/app@sha256:abc", "sha256 has 64 hexadecimal digits, and here there are 3"},
		"digest_of_63_digits":           {"ghcr.io/app@" + sum256.String()[:70], "here there are 63"},
		"digest_of_65_digits":           {"ghcr.io/app@" + sum256.String() + "0", "here there are 65"},
		"digest_of_other_algorithm":     {"ghcr.io/app@sha512:" + sum256.Encoded(), "sha512 has 128 hexadecimal digits"},
		"digest_not_hex":                {"ghcr.io/app@sha256:" + strings.Repeat("g", 64), "no hexadecimal digits"},
		"digest_without_hex":            {"ghcr.io/app@sha256:", "here there are 0"},
		"md5":                           {"ghcr.io/app@md5:" + sum256.Encoded()[:32], `"md5" is not supported`},
		"empty_algorithm":               {"ghcr.io/app@:" + sum256.Encoded(), `"" is not supported`},
		"path_as_digest":                {"ghcr.io/app@sha256:../../x", "here there are 7"},
		"path_with_digest_length":       {"ghcr.io/app@sha256:" + strings.Repeat("../x", 16), "no hexadecimal digits"},
		"escaped_digest":                {"ghcr.io/app@sha256%3A" + sum256.Encoded(), `'%'`},
		"two_digests":                   {"ghcr.io/app@" + sum256.String() + "@" + sum256.String(), "here there are 136"},
		"host_and_port":                 {"localhost:5601", `"localhost:5601" would be read as the repository library/localhost on Docker Hub with the tag 5601`},
		"domain_and_port":               {"registry.example.com:5000", "it has no repository"},
		"address_and_port":              {"127.0.0.1:5000@" + sum256.String(), "it has no repository"},
		"tag_after_digest":              {"ghcr.io/app@" + sum256.String() + ":1.4", "here there are 68"},
		"non_ascii_host_and_repository": {"münchen.example/äpp", `'\u00e4'`},
		"underscore_in_idn":             {"mün_chen.example/app", `"mün_chen.example" is not a valid internationalized host name`},
		"octal_address":                 {"0177.0.0.1/app", "not an IPv4 address of four decimal numbers"},
		"numeric_host":                  {"2130706433:5000/app", "not an IPv4 address of four decimal numbers"},
		"hex_address":                   {"127.0.0.0x1/app", "not an IPv4 address of four decimal numbers"},
		"address_of_five_numbers":       {"1.2.3.4.5/app", "not an IPv4 address of four decimal numbers"},
		"address_out_of_range":          {"256.0.0.1/app", "not an IPv4 address of four decimal numbers"},
		"short_address":                 {"127.1:5000/app", "not an IPv4 address of four decimal numbers"},
	} {
		t.Run(name, func(t *testing.T) {
			ref, err := registry.ParseReference(test.s)
			if ref != (registry.Reference{}) {
				t.Errorf("ParseReference(%q) = %+v with an error, want no reference", test.s, ref)
			}
			assertError(t, err, registry.ErrInvalidReference, "cannot read the reference", registry.Sanitize(test.s), test.why)
		})
	}
}

func TestParseReference_Userinfo(t *testing.T) {
	for s, shown := range map[string]string{
		"user:canary@ghcr.io/acme/app":               "***@ghcr.io/acme/app",
		"user:canary@ghcr.io/app@" + sum256.String(): "***@ghcr.io/app@" + sum256.String(),
		"user:canary@host:5000/app":                  "***@host:5000/app",
		"user:c@nary/canary@ghcr.io/app":             "***@ghcr.io/app",
		"user:canary@ghcr.io":                        "***@ghcr.io",
		"canary@ghcr.io/acme/app:1.4":                "***@ghcr.io/acme/app:1.4",
	} {
		_, err := registry.ParseReference(s)
		assertError(t, err, registry.ErrInvalidReference, " "+shown+": ", "user name before an @")
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("ParseReference() error = %v, which contains the password", err)
		}
	}
	for s, shown := range map[string]string{
		"https://user:canary@ghcr.io/acme/app": "https://***@ghcr.io/acme/app",
		"https://user:canary@ghcr.io":          "https://***@ghcr.io",
		"https://canary@ghcr.io/":              "https://***@ghcr.io/",
	} {
		_, err := registry.ParseReference(s)
		assertError(t, err, registry.ErrInvalidReference, " "+shown+": ", `scheme "https://"`)
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("ParseReference() error = %v, which contains the password", err)
		}
	}
}

func TestParseReference_ErrorLength(t *testing.T) {
	_, err := registry.ParseReference("ghcr.io/app:" + strings.Repeat("x", 1013))
	assertError(t, err, registry.ErrInvalidReference, "longer than 1024 characters")
	const n = 1000
	for _, s := range []string{
		strings.Repeat("A", n), strings.Repeat("a/", n/2), strings.Repeat("A", n) + "/app", "ghcr.io/app:" + strings.Repeat("x", n),
		"app@" + strings.Repeat("x", n), "app@sha256:" + strings.Repeat("g", n), strings.Repeat("x", n) + "://", strings.Repeat("@", n) + "/",
		"[" + strings.Repeat(":", n) + "]/app", "ghcr.io:" + strings.Repeat("1", n) + "/app", strings.Repeat("x", 10<<20),
	} {
		_, err := registry.ParseReference(s)
		assertError(t, err, registry.ErrInvalidReference)
		if err != nil && len(err.Error()) > 3*n {
			t.Errorf("ParseReference() of %d bytes (%.10s…): error has %d bytes, want at most %d", len(s), s, len(err.Error()), 3*n)
		}
	}
}

// isDotSegment reports whether a path segment is empty or a dot segment, which clients
// remove (RFC 3986, section 5.2.4). Dots within a tag, as in "1..2", are not one.
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
			assertError(t, err, registry.ErrInvalidReference, "cannot read the reference")
			return
		}
		again, err := registry.ParseReference(ref.String())
		if err != nil || again != ref {
			t.Errorf("ParseReference(%q) = %+v, and ParseReference(%q) = %+v, %v", s, ref, ref, again, err)
		}
		if ref.Host != strings.ToLower(ref.Host) || ref.Repository != strings.ToLower(ref.Repository) {
			t.Errorf("ParseReference(%q) = %q, which is not in lower case", s, ref.Name())
		}
		if ref.Host == "" || ref.Repository == "" || strings.ContainsAny(ref.String(), " \r\n\x00?#%\\") || slices.ContainsFunc(strings.Split(ref.String(), "/"), isDotSegment) {
			t.Errorf("ParseReference(%q) = %q, which is not safe in a URL", s, ref)
		}
		if ref.Digest != "" && registry.ValidateDigest(ref.Digest) != nil {
			t.Errorf("ParseReference(%q) has the invalid digest %q", s, ref.Digest)
		}
	})
}
