package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

// hints translates the engine's hints, which name settings of the provider, to the flags of
// this command.
type hints struct {
	client  *remote.Client
	options options
}

// forError returns advice about the error of a copy. It returns "" if the error has no hint.
func (h hints) forError(p pair, err error) string {
	e, ok := errors.AsType[*registry.Error](err)
	if !ok {
		return ""
	}
	hint := registry.Retold(e.Hint, h.translate)
	if untagged := registry.HintMissingTag(p.sourceText, err); untagged != "" {
		hint += " " + untagged
	}
	return strings.TrimSpace(hint)
}

// translate returns the equivalent of a provider setting for this command, as the end of a
// sentence.
func (h hints) translate(host, setting string) string {
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

// plainHTTP returns the complete value of -plain-http that changes the protocol for one host
// and keeps it for all others.
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
	return strings.Join(hosts, ",") + " only" // without the host that the hint is about
}
