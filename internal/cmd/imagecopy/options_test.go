package main

import (
	"flag"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// Two spellings of a host on the command line share their settings.
func TestOptions_HostSpellings(t *testing.T) {
	for _, args := range [][]string{
		{"b.c/d:1", "b.c:443/e:1"},
		{"b.c:0443/d:1", "B.C/e:1"},
		{"-plain-http=b.c", "b.c/d:1", "b.c:80/e:1"},
		{"-plain-http=b.c:80", "b.c/d:1", "b.c:80/e:1"},
		{"-plain-http", "b.c/d:1", "b.c:80/e:1"},
		{"127.0.0.1/d:1", "127.0.0.1:80/e:1"},
	} {
		if _, err := mustParse(t, args...).client(slog.New(slog.DiscardHandler)); err != nil {
			t.Errorf("client(%q) = %v", args, err)
		}
	}
}

func TestOptions_RequestLimits(t *testing.T) {
	from, to := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{})), registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{}))
	pushed := from.Push(t, "app", "1", registrytest.MultiArch("a"))
	runImagecopy(t, "-q", "-max-concurrent-requests", "2", pushed.Ref, to.Ref("app", "1")).expect(t, succeeded, "")
	for _, p := range []*registrytest.Proxy{from, to} {
		if p.Peak() > 2 {
			t.Errorf("Peak() = %d, want at most 2", p.Peak())
		}
	}
	for flag, wantText := range map[string]string{
		"-max-concurrent-requests=1": "imagecopy: 1 concurrent requests for .* are too few: .*\n",
		"-requests-per-second=-1":    "imagecopy: -1 requests per second for .* make no sense: .*\n",
	} {
		runImagecopy(t, flag, pushed.Ref, to.Ref("app", "1")).expect(t, invalidUsage, wantText)
	}
}

func TestOptions_Platforms(t *testing.T) {
	from, to := registrytest.Scripted(t, registrytest.Behaviour{}), registrytest.Scripted(t, registrytest.Behaviour{})
	content := registrytest.MultiArch("a")
	pushed := from.Push(t, "app", "1", content)
	for flags, want := range map[string]string{
		"-platforms=linux/arm64":                        string(content.Manifests[1].Build().Digest),
		"-platforms=linux/amd64,linux/arm64":            string(pushed.Digest),
		"-platforms=linux/amd64 -platforms=linux/arm64": string(pushed.Digest),
	} {
		runImagecopy(t, append(strings.Fields(flags), "-q", pushed.Ref, to.Ref("app", "1"))...).expect(t, succeeded, "")
		if got := string(to.Digest(t, "app", "1")); got != want {
			t.Errorf("%s: tag digest = %s, want %s", flags, got, want)
		}
	}
	runImagecopy(t, "-platforms=linux/s390x", pushed.Ref, to.Ref("app", "2")).expect(t, failed,
		"imagecopy: source .*: cannot find the platform linux/s390x in sha256:.*: the index has linux/amd64, linux/arm64/v8\n  Ask for a platform that it has.*\n")
	runImagecopy(t, "-platforms=linux", pushed.Ref, to.Ref("app", "2")).expect(t, invalidUsage,
		`imagecopy: invalid value "linux" for flag -platforms: "linux" cannot be read as a platform: (.|\n)*`)
}

// -ca applies to every host, but does not enable TLS for loopback hosts.
func TestOptions_CAKeepsLoopbackPlain(t *testing.T) {
	authority := writeFile(t, "ca.pem", string(registrytest.V3(t, registrytest.TLS()).CA))
	for flag, want := range map[string]bool{"-q": true, "-plain-http=false": false, "-plain-http=vm:1": false} {
		client := hintsOf(t, flag, "-ca", authority, "localhost:1/a:1", "ghcr.io/a/b:1").client
		if client.PlainHTTP("localhost:1") != want || client.PlainHTTP("ghcr.io") {
			t.Errorf("%s: PlainHTTP() = %t for loopback and %t for other hosts", flag, client.PlainHTTP("localhost:1"), client.PlainHTTP("ghcr.io"))
		}
	}
}

// withUsagePattern returns a pattern for an error that is followed by the usage.
func withUsagePattern(why string) string { return regexp.QuoteMeta(why + "\n" + usage) }

func TestParse_UsageErrors(t *testing.T) {
	list := writeFile(t, "list", "a b.c/d:1")
	const form = "\n  A destination is host/repository:tag, .*\n"
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"unknown_flag":             {[]string{"-frobnicate", "a", "b"}, withUsagePattern("flag provided but not defined: -frobnicate")},
		"invalid_host":             {[]string{"-plain-http=maybe", "a", "b.c/d:1"}, withUsagePattern(`-plain-http=maybe: "maybe" is no host; say true, false, or hosts as in HOST:PORT,HOST`)},
		"empty_host":               {[]string{"-plain-http=b.c,", "a", "b.c/d:1"}, withUsagePattern(`-plain-http=b.c,: "" is no host; say true, false, or hosts as in HOST:PORT,HOST`)},
		"repository":               {[]string{"-plain-http=b.c/d", "a", "b.c/d:1"}, withUsagePattern(`-plain-http=b.c/d: "b.c/d" is no host; say true, false, or hosts as in HOST:PORT,HOST`)},
		"no_arguments":             {nil, withUsagePattern("give SRC and DST, with all flags before them: two words and not 0")},
		"one_argument":             {[]string{"a"}, withUsagePattern("give SRC and DST, with all flags before them: two words and not 1")},
		"flag_after_arguments":     {[]string{"a", "b.c/d:1", "-v"}, withUsagePattern("give SRC and DST, with all flags before them: two words and not 3")},
		"list_and_pair":            {[]string{"-list", list, "a", "b.c/d:1"}, withUsagePattern("give a list or a pair, not both")},
		"missing_list":             {[]string{"-list", "/no/such/list"}, "-list: open /no/such/list: .*\n"},
		"invalid_source":           {[]string{"UPPER/x:1", "b.c/d:1"}, "cannot read the reference UPPER/x:1: .*\n  .*\n"},
		"invalid_destination":      {[]string{"a", "http://b/c:1"}, "cannot read the reference http://b/c:1: .*\n  .*\n"},
		"destination_by_digest":    {[]string{"a", "b.c/d@sha256:" + strings.Repeat("0", 64)}, "cannot use the destination b.c/d@sha256:0{64}: it has a digest, .*" + form},
		"destination_without_host": {[]string{"a", "b:1"}, `cannot use the destination b:1: it names no registry; if Docker Hub is meant, write "docker.io/library/b:1"` + form},
		"destination_without_tag":  {[]string{"a", "b.c/d"}, "cannot use the destination b.c/d: it has no tag" + form},
		"same_reference":           {[]string{"alpine", "index.docker.io/library/alpine:latest"}, "source and destination are the same, docker.io/library/alpine:latest: there is nothing to copy\n"},
		"missing_ca_file":          {[]string{"-ca", "/no/such/ca", "a", "b.c/d:1"}, "-ca: open /no/such/ca: .*\n"},
		"ca_without_certificate":   {[]string{"-ca", list, "a", "b.c/d:1"}, "-ca " + regexp.QuoteMeta(list) + ": the file holds no certificate in PEM form\n"},
	} {
		t.Run(name, func(t *testing.T) {
			s := runImagecopy(t, c.args...)
			s.expect(t, invalidUsage, "imagecopy: "+c.want)
			if s.stdout != "" {
				t.Errorf("standard output:\n%s", s.stdout)
			}
		})
	}
}

func TestHelp_ListsEveryFlag(t *testing.T) {
	for _, arg := range []string{"-h", "-help", "--help"} {
		s := runImagecopy(t, arg)
		s.expect(t, succeeded, "")
		if !strings.HasPrefix(s.stdout, "usage: imagecopy [flags] SRC DST\n") {
			t.Errorf("%s printed\n%s", arg, s.stdout)
		}
		new(options).flags().VisitAll(func(f *flag.Flag) {
			if !regexp.MustCompile(`(?m)^  -` + f.Name + `\b`).MatchString(s.stdout) {
				t.Errorf("%s does not mention -%s", arg, f.Name)
			}
		})
	}
}
