package main

import (
	"context"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/cmd/internal/child"
)

// copier is a program that copies images, with templates of its command lines. Templates have
// these placeholders:
//
//	{src} {dst}              the source and destination, host:port/repository:tag
//	{source} {destination}   the host:port of each
//	{list}                   a file with all copies, "SRC DST" on each line
//	{home}                   an empty directory for the run, which contains {list} and a
//	                         Terraform configuration of all copies
//	{ca}                     the registries' authority, a PEM file
//	{bin} {terraform}        the directory of our programs, and the Terraform to use
type copier struct {
	name string
	// plain and tls are the commands for registries with plain HTTP and with TLS.
	plain, tls commands
	// version is the command that prints the version. It is "" for programs built from this
	// tree.
	version template
	// scenarios has the names of the scenarios that the copier supports.
	scenarios []string
	ours      bool
}

// commands are the templates to copy one image and to copy many. A copier without a template
// for many runs the one for a single image repeatedly.
type commands struct{ one, many template }

var (
	copying    = []string{"app", "tiny", "big", "promote", "fleet"}
	everything = append(slices.Clone(copying), "noop")
)

var copiers = []copier{
	{
		name: baseline, scenarios: copying,
		plain: commands{one: "{bin}/bench raw {src} {dst}"},
		tls:   commands{one: "{bin}/bench raw -ca {ca} {src} {dst}"},
	},
	{
		name: "imagecopy", ours: true, scenarios: append(slices.Clone(everything), "capped"),
		plain: commands{one: "{bin}/imagecopy -q {src} {dst}", many: "{bin}/imagecopy -q -list {list}"},
		tls: commands{
			one:  "{bin}/imagecopy -q -plain-http=false -ca {ca} {src} {dst}",
			many: "{bin}/imagecopy -q -plain-http=false -ca {ca} -list {list}",
		},
	},
	{
		name: "imagecopy -ranges=false", ours: true, scenarios: []string{"capped"},
		plain: commands{one: "{bin}/imagecopy -q -ranges=false {src} {dst}"},
		tls:   commands{one: "{bin}/imagecopy -q -ranges=false -plain-http=false -ca {ca} {src} {dst}"},
	},
	{
		name: "terraform apply", ours: true, scenarios: []string{"fleet"}, version: "{terraform} version",
		plain: commands{many: terraformApply},
		tls:   commands{many: terraformApply},
	},
	{
		name: "crane", scenarios: everything, version: "crane version",
		plain: commands{one: "crane copy --insecure {src} {dst}"},
		tls:   commands{one: "SSL_CERT_FILE={ca} crane copy {src} {dst}"},
	},
	{
		name: "regctl", scenarios: everything, version: "regctl version",
		plain: commands{one: "regctl --host reg={source},tls=disabled --host reg={destination},tls=disabled image copy {src} {dst}"},
		tls:   commands{one: "SSL_CERT_FILE={ca} regctl --host reg={source},tls=enabled --host reg={destination},tls=enabled image copy {src} {dst}"},
	},
	{
		name: "oras", scenarios: everything, version: "oras version",
		plain: commands{one: "oras copy --from-plain-http --to-plain-http {src} {dst}"},
		tls:   commands{one: "SSL_CERT_FILE={ca} oras copy {src} {dst}"},
	},
	{
		// skopeo caches in which repositories of a host it saw a blob. It keeps the cache in
		// the directory of the run only if it does not run as root.
		name: "skopeo", scenarios: everything, version: "skopeo --version",
		plain: commands{one: "_CONTAINERS_ROOTLESS_UID=1 skopeo --insecure-policy copy --all --preserve-digests --src-tls-verify=false --dest-tls-verify=false docker://{src} docker://{dst}"},
		tls:   commands{one: "_CONTAINERS_ROOTLESS_UID=1 SSL_CERT_FILE={ca} skopeo --insecure-policy copy --all --preserve-digests docker://{src} docker://{dst}"},
	},
}

// terraformApply runs Terraform with the provider from {bin}. The registries' authority is set
// in the configuration.
const terraformApply = "TF_CLI_CONFIG_FILE={home}/terraform.rc CHECKPOINT_DISABLE=1 " +
	"{terraform} -chdir={home} apply -input=false -auto-approve -no-color"

// commandsFor returns the command lines that copy pairs. values has the placeholders that are
// the same for all pairs.
func (c copier) commandsFor(pairs []pair, values map[string]string) []command {
	templates := c.plain
	if values["ca"] != "" {
		templates = c.tls
	}
	if templates.many != "" && (len(pairs) > 1 || templates.one == "") {
		return []command{templates.many.fill(values)}
	}
	var lines []command
	for _, p := range pairs {
		values["src"], values["dst"] = p.source, p.destination
		values["source"], values["destination"] = host(p.source), host(p.destination)
		lines = append(lines, templates.one.fill(values))
	}
	return lines
}

func host(image string) string {
	host, _, _ := strings.Cut(image, "/")
	return host
}

// contender is an installed copier and its version.
type contender struct {
	copier
	found string
}

var versionPattern = regexp.MustCompile(`v?\d+\.\d+\.\d+[-+.\w]*`)

// supports reports whether the copier supports a scenario.
func (c copier) supports(s scenario) bool { return slices.Contains(c.scenarios, s.name) }

// find returns the copiers that are installed, and the names of the others.
func (b *bench) find(ctx context.Context) (installed []contender, missing []string) {
	for _, c := range copiers {
		found := b.tree
		if c.version != "" {
			line := c.version.fill(b.values())
			printed, err := child.Program{Path: line.Args[0]}.Run(ctx, line.Args[1:]...)
			if err != nil {
				missing = append(missing, c.name)
				continue
			}
			found = strings.TrimPrefix(versionPattern.FindString(printed), "v")
		}
		if c.name == "terraform apply" {
			found = filepath.Base(b.terraform) + " " + found + ", and the provider from " + b.tree
		}
		installed = append(installed, contender{c, found})
	}
	return installed, missing
}

// values returns the placeholders that are the same for all copies.
func (b *bench) values() map[string]string {
	return map[string]string{"bin": b.bin, "terraform": b.terraform}
}

// findTerraform returns the absolute path of Terraform, because it runs in another directory.
func findTerraform(name string) string {
	if found, err := exec.LookPath(name); err == nil {
		return found
	}
	return name
}
