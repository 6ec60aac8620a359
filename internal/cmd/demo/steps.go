package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/cmd/internal/child"
)

// The images of the demo: their repositories at the source, and the repositories to which
// examples/demo promotes them.
const (
	appSource, appTag       = "acme/app", "1.4"
	legacySource, legacyTag = "acme/legacy", "2.0"
	appDestination          = "prod/app"
	legacyDestination       = "prod/legacy"
	additionalTag           = "stable"
)

// demo is the state that the steps share.
type demo struct {
	out  io.Writer
	step int

	root                string // root directory of the project
	dir                 string // directory of all files that the demo creates
	source, destination registry
	processes           []*child.Registry
	terraform           terraform
	app, legacy         image
}

// steps runs the steps in order, and stops at the first that fails.
func (d *demo) steps(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		d.build, d.start, d.push, d.plan, d.apply, d.compare, d.planAgain, d.moveTag,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) build(ctx context.Context) error {
	d.title("Build the provider")
	root, err := child.Program{Path: "go"}.Run(ctx, "list", "-m", "-f", "{{.Dir}}")
	if err != nil {
		return err
	}
	d.root = strings.TrimSpace(root)
	d.printf("go build (the first build downloads modules and takes some minutes)")
	build := child.Program{Path: "go", Dir: d.root}
	// An interrupted build does not remove its temporary files. In d.dir they are removed with
	// the demo.
	build.Env = append(os.Environ(), "GOTMPDIR="+d.dir, "TMPDIR="+d.dir)
	_, err = build.Run(ctx, "build", "-o", d.bin()+string(filepath.Separator), ".", "./internal/cmd/registry-v2", "./internal/cmd/registry-v3")
	return err
}

// bin returns the directory of the programs that the demo builds.
func (d *demo) bin() string { return filepath.Join(d.dir, "bin") }

func (d *demo) start(ctx context.Context) error {
	d.title("Start two registries on this machine, in memory")
	for _, r := range []struct {
		program, side, what string
		registry            *registry
	}{
		{"registry-v3", "source", "distribution 3", &d.source},
		{"registry-v2", "destination", "docker/distribution 2.8.3", &d.destination},
	} {
		p, err := child.StartRegistry(ctx, filepath.Join(d.bin(), r.program))
		if err != nil {
			return err
		}
		d.processes = append(d.processes, p)
		r.registry.host = p.Address
		d.printf("%-12s %s  (%s)", r.side, p.Address, r.what)
	}
	return nil
}

// stop stops the registries.
func (d *demo) stop() error {
	var errs []error
	for _, p := range d.processes {
		errs = append(errs, p.Stop())
	}
	return errors.Join(errs...)
}

func (d *demo) push(ctx context.Context) error {
	d.title("Push two images to the source")
	d.app, d.legacy = appImage("first build"), legacyImage()
	if err := d.source.push(ctx, appSource, appTag, d.app); err != nil {
		return err
	}
	if err := d.source.push(ctx, legacySource, legacyTag, d.legacy); err != nil {
		return err
	}
	d.printf("%s:%s  for linux/amd64 and linux/arm64, with an attestation", appSource, appTag)
	d.printf("    %s\n    %s", d.app.root().mediaType, d.app.root().digest())
	d.printf("%s:%s  for one platform", legacySource, legacyTag)
	d.printf("    %s\n    %s", d.legacy.root().mediaType, d.legacy.root().digest())
	return nil
}

// plan copies examples/demo, configures it to use the provider that was built, and plans it.
func (d *demo) plan(ctx context.Context) error {
	d.title("Plan the promotion that examples/demo declares")
	if err := os.CopyFS(d.terraform.Dir, os.DirFS(filepath.Join(d.root, "examples", "demo"))); err != nil {
		return err
	}
	if err := d.terraform.configure(d.bin(), map[string]string{
		"source_registry":      d.source.host,
		"destination_registry": d.destination.host,
	}); err != nil {
		return err
	}
	changes, err := d.terraformPlan(ctx)
	if err != nil {
		return err
	}
	if !changes {
		return errors.New("the plan is empty, although nothing was promoted yet")
	}
	return nil
}

// terraformPlan makes a plan, prints it, and reports whether it contains changes.
func (d *demo) terraformPlan(ctx context.Context) (changes bool, err error) {
	d.printf("$ %s plan\n", d.terraform.Name())
	if changes, err = d.terraform.plan(ctx); err != nil {
		return false, err
	}
	text, err := d.terraform.show(ctx)
	if err != nil {
		return false, err
	}
	d.printf("\n%s", text)
	return changes, nil
}

func (d *demo) apply(ctx context.Context) error {
	d.title("Apply the plan")
	d.printf("$ %s apply", d.terraform.Name())
	done, err := d.terraform.apply(ctx)
	if err != nil {
		return err
	}
	d.printf("\n%s", done)
	outputs, err := d.terraform.outputs(ctx)
	if err != nil {
		return err
	}
	d.printf("\nOutputs that the rest of the configuration can pin:\n")
	for _, o := range []struct {
		name, repository string
		image            image
	}{
		{"app", appDestination, d.app},
		{"legacy", legacyDestination, d.legacy},
	} {
		d.printf("%-6s = %s", o.name, outputs[o.name])
		if want := d.destination.host + "/" + o.repository + "@" + o.image.root().digest(); outputs[o.name] != want {
			return fmt.Errorf("the output %q is %q and not %q", o.name, outputs[o.name], want)
		}
	}
	return nil
}

func (d *demo) compare(ctx context.Context) error {
	d.title("Read the images at the destination and compare them with the source")
	for _, c := range []struct {
		source, sourceTag, destination string
		tags                           []string
		image                          image
	}{
		{appSource, appTag, appDestination, []string{appTag, additionalTag}, d.app},
		{legacySource, legacyTag, legacyDestination, []string{legacyTag}, d.legacy},
	} {
		for _, tag := range c.tags {
			d.printf("%s:%s", c.destination, tag)
			if err := d.compareManifest(ctx, c.source, c.sourceTag, c.destination, tag, c.image.root()); err != nil {
				return err
			}
		}
		for _, child := range c.image.children() {
			d.printf("%s, %s", c.destination, child.name)
			if err := d.compareManifest(ctx, c.source, child.digest(), c.destination, child.digest(), child); err != nil {
				return err
			}
		}
		for _, blob := range c.image.blobs {
			arrived, err := d.destination.blob(ctx, c.destination, digestOf(blob))
			if err != nil {
				return err
			}
			if !bytes.Equal(arrived, blob) {
				return fmt.Errorf("the blob %s is not what was pushed", digestOf(blob))
			}
		}
		d.printf("%s, %d blobs: identical", c.destination, len(c.image.blobs))
	}
	return nil
}

// compareManifest checks that both registries have want, with the same bytes and media type.
func (d *demo) compareManifest(ctx context.Context, sourceRepository, sourceReference, repository, reference string, want manifest) error {
	sent, err := d.source.manifest(ctx, sourceRepository, sourceReference)
	if err != nil {
		return err
	}
	arrived, err := d.destination.manifest(ctx, repository, reference)
	if err != nil {
		return err
	}
	if !sent.same(want) {
		return fmt.Errorf("%s at the source is %s, %s and not what was pushed", sourceReference, sent.mediaType, sent.digest())
	}
	if !arrived.same(sent) {
		return fmt.Errorf("%s at the destination is %s, %s; the source has %s, %s",
			reference, arrived.mediaType, arrived.digest(), sent.mediaType, sent.digest())
	}
	d.printf("    %s\n    %s: identical", arrived.digest(), arrived.mediaType)
	return nil
}

func (d *demo) planAgain(ctx context.Context) error {
	d.title("Plan again")
	changes, err := d.terraformPlan(ctx)
	if err != nil {
		return err
	}
	if changes {
		return errors.New("the plan is not empty, although nothing has changed")
	}
	return nil
}

func (d *demo) moveTag(ctx context.Context) error {
	d.title("Push another build to %s:%s at the source, and plan", appSource, appTag)
	old := d.app.root().digest()
	d.app = appImage("second build")
	if err := d.source.push(ctx, appSource, appTag, d.app); err != nil {
		return err
	}
	changes, err := d.terraformPlan(ctx)
	if err != nil {
		return err
	}
	if !changes {
		return errors.New("the plan is empty, although the tag moved at the source")
	}
	return d.terraform.plansUpdate(ctx, "registry_image_copy.app", old, d.app.root().digest())
}
