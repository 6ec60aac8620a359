package provider_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// runTool runs another tool that builds or copies images. It skips the test if the tool is not
// on PATH.
func runTool(t *testing.T, name string, args ...string) (output string, err error) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("shows that what %s makes can be promoted, and %s is not on PATH (Debian's package %[1]s)", name, name)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	nobody := t.TempDir()
	registrytest.WriteFile(t, nobody, "auth.json", []byte("{}"))
	cmd.Env = append(cmd.Environ(), "REGISTRY_AUTH_FILE="+filepath.Join(nobody, "auth.json"))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// skopeo copies all content of from to to.
func skopeo(t *testing.T, from, to string) {
	t.Helper()
	out, err := runTool(t, "skopeo", "--insecure-policy", "copy", "--all", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false", from, to)
	if err != nil {
		t.Fatalf("skopeo copy %s %s: %v\n%s", from, to, err, out)
	}
}

// assertPromotable promotes a layout with terraform to a registry and to another layout. It
// checks that skopeo pulls the same content from both.
func assertPromotable(t *testing.T, dir, tag string) {
	t.Helper()
	built := registrytest.ReadLayout(t, dir, tag)
	dst, written := registrytest.V3(t), newLayoutPath(t)
	newWorkspace(t).converge(imageCopy("registry", "oci:"+dir+":"+tag, dst.Ref("app", "1")), imageCopy("layout", "oci:"+dir+":"+tag, "oci:"+written+":1"))
	pulled := t.TempDir()
	skopeo(t, "docker://"+dst.Ref("app", "1"), "oci:"+pulled+":registry")
	skopeo(t, "oci:"+written+":1", "oci:"+pulled+":layout")
	for _, tag := range []string{"registry", "layout"} {
		registrytest.Same(t, built, registrytest.ReadLayout(t, pulled, tag))
	}
}

func TestLayout_FromSkopeo(t *testing.T) {
	t.Parallel()
	src, dir := registrytest.V3(t), t.TempDir()
	for tag, content := range map[string]registrytest.Content{"image": registrytest.Image{Seed: "image"}, "index": registrytest.MultiArch("index")} {
		pushed := src.Push(t, "app", tag, content)
		skopeo(t, "docker://"+pushed.Ref, "oci:"+dir+":"+tag)
		assertPromotable(t, dir, tag)
	}
}

func TestLayout_FromBuildah(t *testing.T) {
	t.Parallel()
	dir, state := t.TempDir(), t.TempDir()
	registrytest.WriteFile(t, dir, "hello", []byte("hello"))
	buildah := func(args ...string) (string, error) {
		t.Helper()
		return runTool(t, "buildah", append([]string{"--root", filepath.Join(state, "root"), "--runroot", filepath.Join(state, "run"), "--storage-driver", "vfs"}, args...)...)
	}
	if out, err := buildah("from", "--name", "build", "scratch"); err != nil && os.Geteuid() != 0 {
		t.Skipf("shows that what buildah builds can be promoted, and buildah cannot build here without being root: %v\n%s", err, out)
	} else if err != nil {
		t.Fatalf("buildah from scratch: %v\n%s", err, out)
	}
	for _, args := range [][]string{
		{"copy", "build", filepath.Join(dir, "hello"), "/hello"},
		{"config", "--label", "org.example.app=1", "--entrypoint", `["/hello"]`, "build"},
		{"commit", "--rm", "build", "oci:" + filepath.Join(dir, "built") + ":1.4"},
	} {
		if out, err := buildah(args...); err != nil {
			t.Fatalf("buildah %q: %v\n%s", args, err, out)
		}
	}
	assertPromotable(t, filepath.Join(dir, "built"), "1.4")
}
