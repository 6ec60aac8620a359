package provider_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// The effect of some examples shows only in a second apply or on another machine. These tests
// run the files of examples/.

// configureExample makes a file of examples/ the configuration. The arguments in instead are
// pairs of a text in the example and its replacement.
func (w *workspace) configureExample(name string, instead ...string) {
	w.t.Helper()
	text, err := os.ReadFile(filepath.Join(projectRoot, "examples", name))
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i < len(instead); i += 2 {
		if !strings.Contains(string(text), instead[i]) {
			w.t.Fatalf("the example %s does not contain %s", name, instead[i])
		}
	}
	write(w.t, filepath.Join(w.dir, "main.tf"), strings.NewReplacer(instead...).Replace(string(text)))
}

func TestExamples_Layout(t *testing.T) {
	t.Parallel()
	dst := registrytest.V3(t)
	ws, _ := newInstalledWorkspace(t)
	ws.configureExample("layout/main.tf", "registry.example.com", dst.Addr,
		"docker buildx build --output type=oci,dest=${self.input} ${path.module}", "cp ${path.module}/next.tar ${self.input}")
	build := func(seed string) registrytest.Tree {
		t.Helper()
		dir := registrytest.Layout(t, oneImage(seed))
		if err := os.Rename(registrytest.Tar(t, dir), filepath.Join(ws.dir, "next.tar")); err != nil {
			t.Fatal(err)
		}
		return registrytest.ReadLayout(t, dir, "1")
	}

	first := build("first")
	ws.apply(ws.plan())
	ws.wantNoChanges()
	registrytest.Same(t, first, dst.Read(t, "prod/app", "1.4"))

	second := build("second")
	ws.apply(ws.plan("-var=app_version=1.5"))
	ws.wantNoChanges("-var=app_version=1.5")
	registrytest.Same(t, second, dst.Read(t, "prod/app", "1.5"))
	registrytest.Same(t, first, dst.Read(t, "prod/app", "1.4"))

	// Rebuild the same version, as the page describes.
	again := build("again")
	ws.apply(ws.plan("-var=app_version=1.5", "-replace=terraform_data.build")).wantWarning("Image Layout Was Rebuilt")
	ws.apply(ws.plan("-var=app_version=1.5"))
	ws.wantNoChanges("-var=app_version=1.5")
	registrytest.Same(t, again, dst.Read(t, "prod/app", "1.5"))
}

func TestExamples_Environments(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	image := registrytest.MultiArch("app")
	pushed := src.Push(t, "acme/app", "main", image)
	key := registrytest.NewSigningKey(t)
	src.Attach(t, "acme/app", key.Sign(t, image).Referrer)

	instead := []string{"ghcr.io", src.Addr}
	for _, stage := range []string{"development", "staging", "production"} {
		ws, _ := newInstalledWorkspace(t)
		ws.env = append(ws.env, "TF_VAR_app_version=1.4")
		ws.configureExample("environments/"+stage+"/main.tf", append(instead, "registry.example.com", dst.Addr)...)
		ws.apply(ws.plan())
		ws.wantNoChanges()
		if err := key.VerifyReferrer(t, dst, stage+"/app", pushed.Digest); err != nil {
			t.Errorf("%s: %v", stage, err)
		}
		instead = []string{ // the state that the next stage reads is a local file
			`"s3"`, `"local"`, `bucket = "acme-terraform"`, "", `region = "eu-central-1"`, "",
			fmt.Sprintf("key    = %q", stage+".tfstate"), fmt.Sprintf("path = %q", filepath.Join(ws.dir, "terraform.tfstate")),
		}
	}
	if got := dst.Digest(t, "production/app", "1.4"); got != pushed.Digest {
		t.Errorf("production holds %s, want %s", got, pushed.Digest)
	}
}

func TestExamples_Airgap(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	images := map[string]registrytest.Tree{}
	for repo, tag := range map[string]string{"acme/app": "1.4", "acme/worker": "2.0", "library/alpine": "3.20"} {
		images[repo+":"+tag] = src.Push(t, repo, tag, registrytest.MultiArch(repo)).Tree
	}
	outside, _ := newInstalledWorkspace(t)
	outside.configureExample("airgap/outside/main.tf", "ghcr.io", src.Addr, "docker.io", src.Addr)
	digests, err := json.Marshal(outside.apply(outside.plan()).outputs["airgap"])
	if err != nil {
		t.Fatal(err)
	}
	outside.wantNoChanges()
	assertLayoutTags(t, filepath.Join(outside.dir, "airgap"), "acme-app-1.4", "acme-worker-2.0", "library-alpine-3.20")

	inside, _ := newInstalledWorkspace(t)
	archive := filepath.Join(inside.dir, "airgap.tar")
	if err := os.Rename(registrytest.Tar(t, filepath.Join(outside.dir, "airgap")), archive); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(inside.dir, "digests.json"), string(digests))
	const destination = `"registry.internal:5000/mirror/${each.key}"`
	plain := []string{"registry.internal:5000", dst.Addr, `ca_certificate = file("${path.module}/ca.pem")`, "plain_http = true"}
	inside.env = append(inside.env, "TF_VAR_registry_password=any")
	inside.configureExample("airgap/inside/main.tf", plain...)
	inside.apply(inside.plan())
	for name, tree := range images {
		repo, tag, _ := strings.Cut(name, ":")
		registrytest.Same(t, tree, dst.Read(t, "mirror/"+repo, tag))
	}

	// Remove the archive, as the guide describes.
	withReferrers := append([]string{destination, strings.Replace(destination, "registry.internal:5000", dst.Addr, 1) + "\n  referrers = true"}, plain...)
	inside.configureExample("airgap/inside/main.tf", withReferrers...)
	inside.apply(inside.plan())
	remove(t, archive)
	inside.wantNoChanges().wantWarning("airgap.tar", "What was promoted stays as it is")
	inside.configureExample("airgap/inside/main.tf", plain...)
	inside.apply(inside.plan())
	if result := inside.wantNoChanges(); strings.Contains(result.text, "airgap.tar") {
		t.Errorf("the archive was read: %s", result.text)
	}
}

func TestExamples_TagsDataSource(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	for _, repo := range []string{"acme/app", "acme/nightly", "library/nginx"} {
		src.Push(t, repo, "main", registrytest.Image{Seed: repo})
	}
	ws, _ := newInstalledWorkspace(t)
	ws.configureExample("data-sources/registry_tags/data-source.tf", "ghcr.io", src.Addr, "docker.io", src.Addr, "registry.example.com", dst.Addr)
	ws.planFails().wantError("There is no release of 1.4 or later yet.")
	src.Push(t, "acme/app", "1.4.2", registrytest.Image{Seed: "1.4.2"})
	ws.apply(ws.plan())
	registrytest.Same(t, src.Read(t, "acme/app", "1.4.2"), dst.Read(t, "prod/app", "1"))
}

func TestExamples_ManifestDataSource(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	index, _ := platformsOf("alpine", false)
	src.Push(t, "library/alpine", "3.20", index)
	src.Push(t, "acme/app", "nightly", registrytest.Image{Seed: "nightly"})
	const stable = "registry_image_copy.stable[0]"
	ws, _ := newInstalledWorkspace(t)
	ws.configureExample("data-sources/registry_manifest/data-source.tf", "ghcr.io", src.Addr, "docker.io", src.Addr, "registry.example.com", dst.Addr)
	if result := ws.apply(ws.plan()); fmt.Sprint(result.outputs["released"]) != "false" || dst.HasManifest(t, "prod/app", "stable") {
		t.Errorf("a missing image was promoted: %v", result.outputs)
	}
	release := dst.Push(t, "prod/app", "2.0", registrytest.Image{Seed: "2.0"})
	ws.apply(ws.plan().wantAction(stable, tfjson.ActionCreate))
	registrytest.Same(t, release.Tree, dst.Read(t, "prod/app", "stable"))
}
