package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// plainHTTP is the value of -plain-http: true, false, or the hosts that alone
// are spoken to in plain HTTP. Its zero value leaves the choice to the engine.
type plainHTTP struct {
	all   *bool
	hosts []string // in normal form; nil where all decides
	wrong error    // what Set refused; package flag would say that it is no boolean
}

// IsBoolFlag lets -plain-http stand without a value, for true.
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
			p.wrong = fmt.Errorf("-plain-http=%s: %q is no host; say true, false, or hosts as in HOST:PORT,HOST", cleanHosts(s), registry.RedactInput(host))
			return p.wrong
		}
		p.hosts = append(p.hosts, ref.Host)
	}
	return nil
}

// cleanHosts is a list of hosts fit to be shown, each without what may be a secret.
func cleanHosts(list string) string {
	hosts := strings.Split(list, ",")
	for i, host := range hosts {
		hosts[i] = registry.RedactInput(host)
	}
	return registry.Sanitize(strings.Join(hosts, ","))
}

// with says whether plain HTTP is spoken with a host, in normal form; nil where
// the engine's own rule holds. A host that is listed without a port is listed with
// the default one of HTTP too.
func (p *plainHTTP) with(host string) *bool {
	if p.hosts == nil {
		return p.all
	}
	listed := slices.Contains(p.hosts, host) || slices.Contains(p.hosts, strings.TrimSuffix(host, ":80"))
	return &listed
}
