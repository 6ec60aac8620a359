package main

import (
	"cmp"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/imageref"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

// options are the command-line options.
type options struct {
	list      string
	quiet     bool
	verbose   bool
	trace     bool
	plainHTTP plainHTTP
	caFile    string
	ranges    bool
	requests  int
	perSecond float64
	platforms platforms
	referrers referrers
	pairs     []pair
}

// flags returns a flag set that stores its values in o.
func (o *options) flags() *flag.FlagSet {
	flags := flag.NewFlagSet("imagecopy", flag.ContinueOnError)
	// The caller of Parse prints errors, and help is a text of its own.
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.list, "list", "", "")
	flags.BoolVar(&o.quiet, "q", false, "")
	flags.BoolVar(&o.verbose, "v", false, "")
	flags.BoolVar(&o.trace, "trace", false, "")
	flags.StringVar(&o.caFile, "ca", "", "")
	flags.BoolVar(&o.ranges, "ranges", true, "")
	flags.IntVar(&o.requests, "max-concurrent-requests", 0, "")
	flags.Float64Var(&o.perSecond, "requests-per-second", 0, "")
	flags.Var(&o.platforms, "platforms", "")
	flags.Var(&o.referrers, "referrers", "")
	flags.Var(&o.plainHTTP, "plain-http", "")
	return flags
}

const usage = `usage: imagecopy [flags] SRC DST
       imagecopy [flags] -list FILE
       imagecopy -h
`

// help is the part of the help text after usage.
const help = `
Copies an image, or any other manifest, with everything below it, byte for byte.
SRC is host/repository with a tag or digest; the tag defaults to latest. DST is
host/repository:tag. Either can be an OCI image layout on this machine:
oci:PATH:tag, where PATH is a folder or, for SRC, a tar archive of one. The tag of
SRC is optional if the layout has only one image. Content that DST already has is
not sent again. After a failure, run the same command again.

imagecopy uses the credentials of docker login and podman login. For a private
registry with its own certificate authority:

  docker login registry.example.com:5000
  imagecopy -ca ca.pem ghcr.io/acme/app:1.4 registry.example.com:5000/prod/app:1.4

Flags must precede SRC:

  -list FILE    copy many images concurrently: one "SRC DST" per line. A line that
                starts with # is a comment, and the FILE - is standard input. If a
                copy fails, the others continue. If a line is invalid, nothing is
                copied.
  -platforms OS/ARCHITECTURE[/VARIANT],...
                copy only these platforms of an index, such as
                linux/amd64,linux/arm/v7. One platform copies its manifest. Several
                platforms copy an index of them with their attestations. This
                changes the digest, and signatures of the whole index do not apply
                to the copy.
  -ca FILE      trust the certificate authorities in FILE (PEM) in addition to those
                of the system
  -referrers[=TYPE,...]
                copy referrers too: signatures, SBOMs and attestations of the image,
                of the manifests below it, and of other referrers. They are found
                with the referrers API, the referrers tag, and cosign's tags
                sha256-….sig, .att and .sbom. With types, copy only referrers with
                these artifact types.
  -plain-http[=true|false|HOST[:PORT],...]
                use plain HTTP instead of TLS: for every registry, for none (false),
                or only for these hosts, written as in SRC and DST. Repeat the flag
                for more hosts. Defaults to localhost, 127.0.0.0/8 and ::1 only.
  -max-concurrent-requests N
                send at most N concurrent requests to each host, at least 2.
                Defaults to 16. A host that responds with 429 receives fewer.
  -requests-per-second N
                send at most N requests per second to each host, such as 5 or 0.5
  -ranges=false
                read each blob over one connection. By default, a blob of 64 MiB or
                more is read in parts over several connections if one is slow.
  -q            write no report
  -v            log each blob and manifest to standard error
  -trace        log each request too

Standard output receives a JSON report, and standard error the errors with a
remedy. Exit status: 0 everything was copied, 1 a copy failed, 2 the command line
or a file that it names is invalid, 130 interrupted.
`

// parse parses the command line and reads the list that it names, which may be stdin. It
// returns flag.ErrHelp if help was requested.
func parse(args []string, stdin io.Reader) (options, error) {
	var o options
	flags := o.flags()
	if err := flags.Parse(args); err != nil {
		return options{}, withUsage(cmp.Or(o.plainHTTP.err, redactArguments(err, args)))
	}
	var err error
	words := flags.Args()
	switch {
	case o.list == "" && len(words) != 2:
		err = withUsage(fmt.Errorf("give SRC and DST, with all flags before them: two words and not %d", len(words)))
	case o.list == "":
		var p pair
		p, err = newPair(words)
		o.pairs = []pair{p}
	case len(words) > 0:
		err = withUsage(errors.New("give a list or a pair, not both"))
	default:
		o.pairs, err = readList(o.list, stdin)
	}
	return o, err
}

// redactArguments returns an error of package flag without the secrets of arguments that it
// quotes, such as a reference given as the value of a flag.
func redactArguments(err error, args []string) error {
	text := err.Error()
	for _, arg := range args {
		_, value, _ := strings.Cut(arg, "=")
		for _, quoted := range []string{strings.TrimLeft(arg, "-"), value} {
			if !registry.HasSecret(quoted) {
				continue
			}
			shown := registry.RedactInput(quoted)
			text = strings.NewReplacer(strings.Trim(strconv.Quote(quoted), `"`), shown, quoted, shown).Replace(text)
		}
	}
	return registry.WithText(err, text)
}

// redactPath returns an error without the secrets of the file path that it quotes, if the path
// is a URL.
func redactPath(err error, path string) error {
	if !strings.Contains(path, "://") {
		return err
	}
	return redactArguments(err, []string{path})
}

// withUsage appends the usage to an error about the command line.
func withUsage(err error) error {
	return fmt.Errorf("%w\n%s", err, strings.TrimSuffix(usage, "\n"))
}

// platforms is the value of -platforms, which may be repeated.
type platforms []registry.Platform

// String implements flag.Value.
func (p *platforms) String() string { return "" }

// Set implements flag.Value. It parses a list of platforms.
func (p *platforms) Set(list string) error {
	for name := range strings.SplitSeq(list, ",") {
		platform, err := registry.ParsePlatform(strings.TrimSpace(name))
		if err != nil {
			return err
		}
		*p = append(*p, platform)
	}
	return nil
}

// referrers is the value of -referrers.
type referrers struct {
	enabled bool
	types   []string
}

// IsBoolFlag makes the value of -referrers optional.
func (r *referrers) IsBoolFlag() bool { return true }

// String implements flag.Value.
func (r *referrers) String() string { return "" }

// Set implements flag.Value. It parses a list of artifact types, or a boolean, which is the
// value if the flag is given alone.
func (r *referrers) Set(list string) error {
	if enabled, err := strconv.ParseBool(list); err == nil {
		r.enabled, r.types = enabled, nil
		return nil
	}
	r.enabled = true
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		if registry.MediaType(name) != name {
			return fmt.Errorf("%q is no artifact type; one looks like application/vnd.dev.cosign.artifact.sig.v1+json", name)
		}
		r.types = append(r.types, name)
	}
	return nil
}

// client returns a client with the options of the command line.
func (o options) client(log *slog.Logger) (*remote.Client, error) {
	settings := remote.HostOptions{MaxConcurrentRequests: o.requests, RequestsPerSecond: o.perSecond}
	if o.caFile != "" {
		var err error
		if settings.CACertificate, err = os.ReadFile(o.caFile); err != nil {
			return nil, fmt.Errorf("-ca: %w", redactPath(err, o.caFile))
		}
		// The error of the engine would name a host, but -ca applies to all hosts.
		if !x509.NewCertPool().AppendCertsFromPEM(settings.CACertificate) {
			return nil, fmt.Errorf("-ca %s: the file holds no certificate in PEM form", o.caFile)
		}
	}
	hosts := map[string]remote.HostOptions{}
	for _, host := range o.hosts() {
		settings.PlainHTTP = o.plainHTTP.forHost(host)
		if settings.PlainHTTP == nil && o.caFile != "" {
			// In the engine, a certificate authority enables TLS. Here -ca applies to all hosts
			// and must not enable TLS for loopback hosts.
			loopback := remote.IsLoopback(host)
			settings.PlainHTTP = &loopback
		}
		hosts[host] = settings
	}
	for host := range hosts { // keep only the canonical spelling of a host
		canonical := remote.Hosts(hosts).Canonical(host)
		if _, exists := hosts[canonical]; exists && canonical != host {
			delete(hosts, host)
		}
	}
	return remote.New(remote.Options{UserAgent: "imagecopy", Logger: log, Hosts: hosts, NoRanges: !o.ranges})
}

// hosts returns the hosts of the command line, without duplicates: those of the copies and
// those of -plain-http, which may include the targets of redirects.
func (o options) hosts() []string {
	var names []string
	for _, p := range o.pairs {
		for _, at := range []imageref.Ref{p.source, p.destination} {
			if ref, ok := at.Reference(); ok {
				names = append(names, ref.Host)
			}
		}
	}
	var hosts []string
	for _, host := range append(names, o.plainHTTP.hosts...) {
		if !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// logger returns the logger for the client and the engine.
func (o options) logger(stderr io.Writer) *slog.Logger {
	level := slog.LevelDebug
	switch {
	case o.trace:
		level = remote.LevelTrace
	case !o.verbose:
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level, ReplaceAttr: nameTrace}))
}

// nameTrace replaces the level of requests, which slog does not know, by its name.
func nameTrace(_ []string, a slog.Attr) slog.Attr {
	if level, ok := a.Value.Any().(slog.Level); ok && level == remote.LevelTrace {
		return slog.String(a.Key, "TRACE")
	}
	return a
}
