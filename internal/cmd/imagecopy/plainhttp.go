package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// plainHTTP is the value of -plain-http: true, false, or the only hosts to use plain HTTP with.
// The zero value selects the engine's default.
type plainHTTP struct {
	all   *bool
	hosts []string // in normal form; nil if all applies
	err   error    // error of Set; package flag would report an invalid boolean instead
}

// IsBoolFlag makes the value of -plain-http optional. It defaults to true.
func (*plainHTTP) IsBoolFlag() bool { return true }

// String implements flag.Value.
func (p *plainHTTP) String() string {
	if p.all != nil {
		return strconv.FormatBool(*p.all)
	}
	return strings.Join(p.hosts, ",")
}

// Set implements flag.Value. Hosts are added to those of an earlier flag.
func (p *plainHTTP) Set(s string) error {
	if all, err := strconv.ParseBool(s); err == nil {
		*p = plainHTTP{all: &all}
		return nil
	}
	p.all = nil
	for host := range strings.SplitSeq(s, ",") {
		ref, err := registry.ParseReference(host + "/library/any")
		if err != nil || ref.Repository != "library/any" {
			p.err = fmt.Errorf("-plain-http=%s: %q is no host; say true, false, or hosts as in HOST:PORT,HOST", redactHosts(s), registry.RedactInput(host))
			return p.err
		}
		p.hosts = append(p.hosts, ref.Host)
	}
	return nil
}

// redactHosts returns a list of hosts without secrets, safe to print.
func redactHosts(list string) string {
	hosts := strings.Split(list, ",")
	for i, host := range hosts {
		hosts[i] = registry.RedactInput(host)
	}
	return registry.Sanitize(strings.Join(hosts, ","))
}

// forHost reports whether to use plain HTTP with a host in normal form. It returns nil for the
// engine's default. A host listed without a port also matches the default port of HTTP.
func (p *plainHTTP) forHost(host string) *bool {
	if p.hosts == nil {
		return p.all
	}
	listed := slices.Contains(p.hosts, host) || slices.Contains(p.hosts, strings.TrimSuffix(host, ":80"))
	return &listed
}
