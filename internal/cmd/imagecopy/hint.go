package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

// hints puts the engine's hints, which name the provider's settings, into what
// can be done with this command.
type hints struct {
	client  *remote.Client
	options options
}

// about is what to do about the error of a copy, "" where nothing is known.
func (h hints) about(p pair, err error) string {
	e, ok := errors.AsType[*registry.Error](err)
	if !ok {
		return ""
	}
	hint := registry.Retold(e.Hint, h.instead)
	if untagged := registry.HintMissingTag(p.written, err); untagged != "" {
		hint += " " + untagged
	}
	return strings.TrimSpace(hint)
}

// instead is what takes the place of a setting of the provider: what comes to
// the same here, as the end of a sentence.
func (h hints) instead(host, setting string) string {
	name, value, _ := strings.Cut(setting, " = ")
	switch name {
	case "plain_http":
		return "set -plain-http=" + h.plainHTTP(host, value == "true")
	case "ca_certificate":
		if h.options.caFile != "" {
			return "add what is missing to " + h.options.caFile
		}
		return "set -ca ca.pem"
	case "username":
		return "run docker login " + registry.ShellWord(host)
	case "max_concurrent_requests":
		return "set -max-concurrent-requests=4 -requests-per-second=5"
	case "docker_config_path":
		return "have another one read: docker's is in the directory DOCKER_CONFIG, podman's is REGISTRY_AUTH_FILE"
	}
	return "use the provider: imagecopy has no flag for this"
}

// plainHTTP is the whole value of -plain-http that changes what is spoken with
// one host and with no other.
func (h hints) plainHTTP(host string, plain bool) string {
	hosts := h.options.hosts()
	if !slices.Contains(hosts, host) {
		hosts = append(hosts, host)
	}
	hosts = slices.DeleteFunc(hosts, func(other string) bool {
		if other == host {
			return !plain
		}
		return !h.client.PlainHTTP(other)
	})
	switch {
	case len(hosts) == 0:
		return "false"
	case plain:
		return strings.Join(hosts, ",")
	}
	return strings.Join(hosts, ",") + " only" // and not the one that it is about
}
