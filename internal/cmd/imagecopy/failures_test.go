package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// Every failure is one line that says which side, and one that says what to do.
// The error is in the report too.
func TestAFailureSaysWhatToDo(t *testing.T) {
	image := registrytest.Image{Seed: "a"}
	plain := registrytest.V3(t)
	secured := registrytest.V3(t, registrytest.TLS())
	held := registrytest.V2(t, registrytest.BasicAuth("ci", "right"))
	source := plain.Push(t, "app", "1", image).Ref
	authority := file(t, "ca.pem", string(secured.CA))

	for name, c := range map[string]struct {
		args        []string
		error, hint string
	}{
		"missing repository": {
			[]string{plain.Ref("nobody/has/this", "1"), plain.Ref("prod", "1")},
			`source \S+/nobody/has/this: cannot read the manifest of the tag "1": HTTP 404.*`, `Look at the repository's name and the tag .*`,
		},
		"plain HTTP towards a source with TLS": {
			[]string{secured.Ref("app", "1"), plain.Ref("prod", "1")},
			`source \S+/app: .*`, `The registry wants TLS .* Set -plain-http=` + plain.Addr + ` only\.`,
		},
		"plain HTTP towards a destination with TLS": {
			[]string{source, secured.Ref("prod", "1")},
			`destination \S+/prod: .*`, `The registry wants TLS .* Set -plain-http=` + plain.Addr + ` only\.`,
		},
		"TLS towards a registry without": {
			[]string{"-plain-http=false", source, plain.Ref("prod", "1")},
			`(source \S+/app|destination \S+/prod): .*`, `The registry speaks plain HTTP .*, set -plain-http=127\.0\.0\.1:\d+\.`,
		},
		"TLS of an unknown authority": {
			[]string{"-plain-http=false", secured.Ref("app", "1"), secured.Ref("prod", "1")},
			`(source \S+/app|destination \S+/prod): .*`, `Nobody this machine trusts .* Set -ca ca\.pem\. .*where it signed that itself\.`,
		},
		"a missing image behind TLS": {
			[]string{"-plain-http=false", "-ca", authority, secured.Ref("app", "none"), secured.Ref("prod", "1")},
			`source \S+/app: cannot read the manifest of the tag "none": HTTP 404.*`, `Look at the repository's name and the tag .*`,
		},
		"a tag that nobody gave": {
			[]string{plain.Addr + "/app", plain.Ref("prod", "1")},
			`source \S+/app: cannot read the manifest of the tag "latest": HTTP 404.*`, `Look at .* "` + plain.Addr + `/app" gives no tag, so that "latest" was assumed\. Write the tag that is meant\.`,
		},
		"no credentials": {
			[]string{source, held.Ref("prod", "1")},
			`destination \S+/prod: .*HTTP 401.*`, `The registry wants a login .*no such place/config\.json.*\. Run docker login 127\.0\.0\.1:\d+\.`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := imagecopy(t, c.args...)
			s.ended(t, failed, "imagecopy: "+c.error+"\n  "+c.hint+"\n")
			said, _ := s.report(t)["error"].(string)
			if !regexp.MustCompile("^(?:"+c.error+")$").MatchString(said) || !strings.Contains(s.stderr, said) {
				t.Errorf("the report has the error %q", said)
			}
		})
	}
}

func TestTLSOnLoopbackNeedsBothFlags(t *testing.T) {
	reg := registrytest.V3(t, registrytest.TLS())
	pushed := reg.Push(t, "app", "1", registrytest.MultiArch("a"))
	authority := file(t, "ca.pem", string(reg.CA))
	imagecopy(t, "-plain-http=false", "-ca", authority, pushed.Ref, reg.Ref("prod", "1")).ended(t, succeeded, "")
	registrytest.Same(t, pushed.Tree, reg.Read(t, "prod", "1"))
	imagecopy(t, "-ca", authority, pushed.Ref, reg.Ref("other", "1")).ended(t, failed, `(?s).*-plain-http=false.*`)
}

// A host that the command line writes in two ways has its settings once.
func TestOptions_SpellingsOfAHost(t *testing.T) {
	for _, args := range [][]string{
		{"b.c/d:1", "b.c:443/e:1"},
		{"b.c:0443/d:1", "B.C/e:1"},
		{"-plain-http=b.c", "b.c/d:1", "b.c:80/e:1"},
		{"-plain-http=b.c:80", "b.c/d:1", "b.c:80/e:1"},
		{"-plain-http", "b.c/d:1", "b.c:80/e:1"},
		{"127.0.0.1/d:1", "127.0.0.1:80/e:1"},
	} {
		if _, err := parsed(t, args...).client(slog.New(slog.DiscardHandler)); err != nil {
			t.Errorf("%q: %v", args, err)
		}
	}
}

// One copy may need plain HTTP at one end and TLS at the other.
func TestPlainHTTPMayBeForSomeHostsAlone(t *testing.T) {
	plain, secured := registrytest.V3(t), registrytest.V3(t, registrytest.TLS())
	pushed := plain.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	authority := file(t, "ca.pem", string(secured.CA))
	for i, flags := range [][]string{
		{"-plain-http=" + plain.Addr},
		{"-plain-http=registry.example.com," + plain.Addr},
		{"-plain-http=" + plain.Addr, "-plain-http=registry.example.com"},
		{"-plain-http", "-plain-http=" + plain.Addr},
	} {
		destination := secured.Ref(fmt.Sprintf("prod%d", i), "1")
		imagecopy(t, slices.Concat(flags, []string{"-q", "-ca", authority, pushed.Ref, destination})...).ended(t, succeeded, "")
	}
	for hosts, want := range map[string]map[string]bool{
		"Registry:5000,localhost": {"registry:5000": true, "localhost": true, "localhost:5000": false, "registry": false, "127.0.0.1:5000": false},
		"docker.io,[::1]:5000":    {"docker.io": true, "[::1]:5000": true},
		"b.c,[0::1]:080":          {"b.c": true, "b.c:80": true, "b.c:443": false, "[::1]:80": true, "[::1]": false},
		"true":                    {"ghcr.io": true},
		"0":                       {"localhost": false},
	} {
		o := parsed(t, "-plain-http="+hosts, "alpine", "b.c/d:1")
		for host, plain := range want {
			if got := o.plainHTTP.with(host); got == nil || *got != plain {
				t.Errorf("-plain-http=%s says %v of %s", hosts, got, host)
			}
		}
	}
	if o := parsed(t, "alpine", "b.c/d:1"); o.plainHTTP.with("localhost") != nil {
		t.Errorf("without the flag it is %s and not the engine's to say", &o.plainHTTP)
	}
	for want, flags := range map[string][]string{
		"true":  {"-plain-http=b.c", "-plain-http"},
		"false": {"-plain-http=b.c", "-plain-http=false"},
		"b.c":   {"-plain-http=false", "-plain-http=B.C"},
	} {
		o := parsed(t, append(flags, "alpine", "b.c/d:1")...)
		if got := o.plainHTTP.String(); got != want {
			t.Errorf("%q is %s, want %s", flags, got, want)
		}
		if got := o.plainHTTP.with("b.c"); got == nil || *got != (want != "false") {
			t.Errorf("%q says %v of b.c", flags, got)
		}
	}
}

func TestCredentialsComeFromTheDockerConfiguration(t *testing.T) {
	source := registrytest.Scripted(t, registrytest.Behaviour{})
	pushed := source.Push(t, "app", "1", registrytest.MultiArch("a"))
	held := registrytest.V2(t, registrytest.BasicAuth("ci", "right"))

	dockerConfig(t, held.Addr, "ci", "right")
	imagecopy(t, "-q", pushed.Ref, held.Ref("prod", "1")).ended(t, succeeded, "")
	registrytest.Same(t, pushed.Tree, held.Read(t, "prod", "1"))

	name := dockerConfig(t, held.Addr, "ci", "wr0ng-s3cret")
	s := imagecopy(t, "-trace", pushed.Ref, held.Ref("prod", "2"))
	if s.status != failed || !strings.Contains(s.stderr, `the user "ci", from `+name+".") {
		t.Errorf("status %d, standard error:\n%s", s.status, s.stderr)
	}
	for _, secret := range []string{"wr0ng-s3cret", "Y2k6d3IwbmctczNjcmV0"} {
		if strings.Contains(s.stderr+s.stdout, secret) {
			t.Errorf("it shows the password, as %s:\n%s%s", secret, s.stderr, s.stdout)
		}
	}
}

func TestWarningsAreShownAndReported(t *testing.T) {
	source := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{}))
	source.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	source.On("HEAD", ".*/manifests/.*").Alter(func(answer *http.Response) {
		answer.Header.Set("Warning", `299 - "moving soon"`)
	})
	s := imagecopy(t, source.Ref("app", "1"), source.Ref("prod", "1"))
	s.ended(t, succeeded, `imagecopy: warning: \S+ says: moving soon\n`)
	if warnings, _ := s.report(t)["warnings"].([]any); len(warnings) != 1 {
		t.Errorf("the report has the warnings %v", warnings)
	}
}

func TestAnInterruptEndsWhatIsUnderWay(t *testing.T) {
	reg := registrytest.Scripted(t, registrytest.Behaviour{})
	pushed := reg.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	source := registrytest.Intercept(t, reg)
	source.On("GET", "/v2/app/blobs/.*").Stall()
	ctx, interrupt := context.WithCancel(t.Context())
	ended := make(chan said, 1)
	go func() { ended <- imagecopyUntil(ctx, source.Ref("app", "1"), reg.Ref("prod", "1")) }()
	source.Wait(t, func() bool { return source.Count("GET", "/v2/app/blobs/.*") == len(pushed.Tree.Blobs) })
	interrupt()
	s := <-ended
	s.ended(t, interrupted, `imagecopy: interrupted; 0 of 1 copies are complete\. Run it again .*\n`)
	if said, _ := s.report(t)["error"].(string); !strings.Contains(said, "interrupted") {
		t.Errorf("the report has the error %q", said)
	}
	if reg.HasManifest(t, "prod", "1") {
		t.Error("the tag was written")
	}
}

// What failed before the interrupt is told; what the interrupt ended is counted.
func TestAnInterruptHidesNoFailure(t *testing.T) {
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
		{[]error{nil, nil}, succeeded, ""}, // it came too late
	} {
		var results []result
		for _, err := range c.errs {
			results = append(results, result{pair: pairs(t, "a.a/b:1 b.b/c:1")[0], err: err, hint: hints{}.about(pair{}, err)})
		}
		var stderr bytes.Buffer
		if status := complain(ctx, &stderr, results); status != c.status || stderr.String() != c.want {
			t.Errorf("status %d, standard error:\n%s\nwant %d and\n%s", status, &stderr, c.status, c.want)
		}
	}
}
