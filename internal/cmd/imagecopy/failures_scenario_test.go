package main

import (
	"bytes"
	"context"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// Each failure has a line with the side and the error, and a line with advice. The report
// includes the error.
func TestFailure_Hint(t *testing.T) {
	image := registrytest.Image{Seed: "a"}
	plain := registrytest.V3(t)
	secured := registrytest.V3(t, registrytest.TLS())
	protected := registrytest.V2(t, registrytest.BasicAuth("ci", "right"))
	source := plain.Push(t, "app", "1", image).Ref
	authority := writeFile(t, "ca.pem", string(secured.CA))

	for name, c := range map[string]struct {
		args        []string
		error, hint string
	}{
		"missing_repository": {
			[]string{plain.Ref("nobody/has/this", "1"), plain.Ref("prod", "1")},
			`source \S+/nobody/has/this: cannot read the manifest of the tag "1": HTTP 404.*`, `Look at the repository's name and the tag .*`,
		},
		"plain_http_to_tls_source": {
			[]string{secured.Ref("app", "1"), plain.Ref("prod", "1")},
			`source \S+/app: .*`, `The registry wants TLS .* Set -plain-http=` + plain.Addr + ` only\.`,
		},
		"plain_http_to_tls_destination": {
			[]string{source, secured.Ref("prod", "1")},
			`destination \S+/prod: .*`, `The registry wants TLS .* Set -plain-http=` + plain.Addr + ` only\.`,
		},
		"tls_to_plain_http": {
			[]string{"-plain-http=false", source, plain.Ref("prod", "1")},
			`(source \S+/app|destination \S+/prod): .*`, `The registry speaks plain HTTP .*, set -plain-http=127\.0\.0\.1:\d+\.`,
		},
		"unknown_authority": {
			[]string{"-plain-http=false", secured.Ref("app", "1"), secured.Ref("prod", "1")},
			`(source \S+/app|destination \S+/prod): .*`, `Nobody this machine trusts .* Set -ca ca\.pem\. .*where it signed that itself\.`,
		},
		"missing_image_over_tls": {
			[]string{"-plain-http=false", "-ca", authority, secured.Ref("app", "none"), secured.Ref("prod", "1")},
			`source \S+/app: cannot read the manifest of the tag "none": HTTP 404.*`, `Look at the repository's name and the tag .*`,
		},
		"assumed_tag": {
			[]string{plain.Addr + "/app", plain.Ref("prod", "1")},
			`source \S+/app: cannot read the manifest of the tag "latest": HTTP 404.*`, `Look at .* "` + plain.Addr + `/app" gives no tag, so that "latest" was assumed\. Write the tag that is meant\.`,
		},
		"no_credentials": {
			[]string{source, protected.Ref("prod", "1")},
			`destination \S+/prod: .*HTTP 401.*`, `The registry wants a login .*no such place/config\.json.*\. Run docker login 127\.0\.0\.1:\d+\.`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := runImagecopy(t, c.args...)
			s.expect(t, failed, "imagecopy: "+c.error+"\n  "+c.hint+"\n")
			text, _ := s.report(t)["error"].(string)
			if !regexp.MustCompile("^(?:"+c.error+")$").MatchString(text) || !strings.Contains(s.stderr, text) {
				t.Errorf("report error = %q", text)
			}
		})
	}
}

func TestTLS_Loopback(t *testing.T) {
	reg := registrytest.V3(t, registrytest.TLS())
	pushed := reg.Push(t, "app", "1", registrytest.MultiArch("a"))
	authority := writeFile(t, "ca.pem", string(reg.CA))
	runImagecopy(t, "-plain-http=false", "-ca", authority, pushed.Ref, reg.Ref("prod", "1")).expect(t, succeeded, "")
	registrytest.Same(t, pushed.Tree, reg.Read(t, "prod", "1"))
	runImagecopy(t, "-ca", authority, pushed.Ref, reg.Ref("other", "1")).expect(t, failed, `(?s).*-plain-http=false.*`)
}

func TestCredentials_DockerConfig(t *testing.T) {
	source := registrytest.Scripted(t, registrytest.Behaviour{})
	pushed := source.Push(t, "app", "1", registrytest.MultiArch("a"))
	protected := registrytest.V2(t, registrytest.BasicAuth("ci", "right"))

	dockerConfig(t, protected.Addr, "ci", "right")
	runImagecopy(t, "-q", pushed.Ref, protected.Ref("prod", "1")).expect(t, succeeded, "")
	registrytest.Same(t, pushed.Tree, protected.Read(t, "prod", "1"))

	name := dockerConfig(t, protected.Addr, "ci", "wr0ng-s3cret")
	s := runImagecopy(t, "-trace", pushed.Ref, protected.Ref("prod", "2"))
	if s.status != failed || !strings.Contains(s.stderr, `the user "ci", from `+name+".") {
		t.Errorf("status %d, standard error:\n%s", s.status, s.stderr)
	}
	for _, secret := range []string{"wr0ng-s3cret", "Y2k6d3IwbmctczNjcmV0"} {
		if strings.Contains(s.stderr+s.stdout, secret) {
			t.Errorf("output contains the password as %s:\n%s%s", secret, s.stderr, s.stdout)
		}
	}
}

func TestWarnings(t *testing.T) {
	source := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{}))
	source.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	source.On("HEAD", ".*/manifests/.*").Alter(func(response *http.Response) {
		response.Header.Set("Warning", `299 - "moving soon"`)
	})
	s := runImagecopy(t, source.Ref("app", "1"), source.Ref("prod", "1"))
	s.expect(t, succeeded, `imagecopy: warning: \S+ says: moving soon\n`)
	if warnings, _ := s.report(t)["warnings"].([]any); len(warnings) != 1 {
		t.Errorf("report warnings = %v, want one", warnings)
	}
}

func TestInterrupt_EndsCopies(t *testing.T) {
	reg := registrytest.Scripted(t, registrytest.Behaviour{})
	pushed := reg.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	source := registrytest.Intercept(t, reg)
	source.On("GET", "/v2/app/blobs/.*").Stall()
	ctx, interrupt := context.WithCancel(t.Context())
	ended := make(chan output, 1)
	go func() { ended <- runImagecopyContext(ctx, source.Ref("app", "1"), reg.Ref("prod", "1")) }()
	source.Wait(t, func() bool { return source.Count("GET", "/v2/app/blobs/.*") == len(pushed.Tree.Blobs) })
	interrupt()
	s := <-ended
	s.expect(t, interrupted, `imagecopy: interrupted; 0 of 1 copies are complete\. Run it again .*\n`)
	if text, _ := s.report(t)["error"].(string); !strings.Contains(text, "interrupted") {
		t.Errorf("report error = %q", text)
	}
	if reg.HasManifest(t, "prod", "1") {
		t.Error("the interrupted copy wrote the tag")
	}
}

// Failures before the interrupt are printed. Copies that the interrupt ended are only counted.
func TestInterrupt_ReportsFailures(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	interrupt()
	denied := &registry.Error{Side: registry.Destination, Op: "push", Repository: "b/c", Kind: registry.ErrDenied, Hint: "Ask."}
	ended := &registry.Error{Side: registry.Source, Op: "read", Repository: "a/b", Kind: registry.ErrUnavailable, Err: context.Cause(ctx)}
	for _, c := range []struct {
		errs   []error
		status int
		want   string
	}{
		{[]error{nil, denied, ended, ended}, interrupted, "imagecopy: a.a/b:1 -> b.b/c:1: destination b/c: cannot push: denied\n  Ask.\n" +
			"imagecopy: interrupted; 1 of 4 copies are complete. Run it again to make the rest: blobs that arrived are not sent twice.\n"},
		{[]error{nil, nil}, succeeded, ""}, // interrupted after all copies were complete
	} {
		var results []result
		for _, err := range c.errs {
			results = append(results, result{pair: pairs(t, "a.a/b:1 b.b/c:1")[0], err: err, hint: hints{}.forError(pair{}, err)})
		}
		var stderr bytes.Buffer
		if status := reportErrors(ctx, &stderr, results); status != c.status || stderr.String() != c.want {
			t.Errorf("status %d, standard error:\n%s\nwant %d and\n%s", status, &stderr, c.status, c.want)
		}
	}
}
