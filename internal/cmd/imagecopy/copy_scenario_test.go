package main

import (
	"path/filepath"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

func TestCopy_ImageLayout(t *testing.T) {
	content := registrytest.MultiArch("a")
	from := registrytest.Scripted(t, registrytest.Behaviour{})
	pushed := from.Push(t, "app", "1", content)
	dir := filepath.Join(t.TempDir(), "layout")
	runImagecopy(t, "-q", pushed.Ref, "oci:"+dir+":1").expect(t, succeeded, "")
	registrytest.Same(t, pushed.Tree, registrytest.ReadLayout(t, dir, "1"))

	to := registrytest.Scripted(t, registrytest.Behaviour{})
	for name, source := range map[string]string{
		"tag": "oci:" + dir + ":1", "only": "oci:" + dir, "digest": "oci:" + dir + "@" + string(pushed.Digest), "tar": "oci:" + registrytest.Tar(t, dir) + ":1",
	} {
		runImagecopy(t, "-q", source, to.Ref(name, "1")).expect(t, succeeded, "")
		registrytest.Same(t, pushed.Tree, to.Read(t, name, "1"))
	}
}

func TestCopy_InvalidImageLayout(t *testing.T) {
	dir := registrytest.Layout(t, map[string]registrytest.Content{"1": registrytest.Image{Seed: "a"}})
	empty := t.TempDir()
	registrytest.WriteFile(t, empty, "x", nil)
	for name, c := range map[string]struct {
		source, destination string
		status              int
		wantText            string
	}{
		"not_a_layout":             {"oci:" + empty, "localhost:1/a:1", failed, "imagecopy: source oci:.*: cannot open the image layout: it holds no file \"oci-layout\"\n  An image layout is .*\n"},
		"missing_tag":              {"oci:" + dir + ":2", "localhost:1/a:1", failed, "imagecopy: source oci:.*: the layout holds \"1\" .*\n  Use one of the tags .*\n"},
		"destination_not_a_layout": {"oci:" + dir, "oci:" + empty + ":1", failed, "imagecopy: destination oci:.*: it holds no file \"oci-layout\"\n  .*\n"},
		"destination_without_tag":  {"oci:" + dir, "oci:" + empty, invalidUsage, "imagecopy: cannot use the destination .*: it has no tag\n.*\n"},
		"destination_by_digest":    {"oci:" + dir, "oci:" + empty + "@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", invalidUsage, "imagecopy: cannot use the destination .*: it has a digest.*\n.*\n"},
		"same_path_spelled_twice":  {"oci:" + dir + ":1", "oci:" + dir + "/../" + filepath.Base(dir) + ":1", invalidUsage, "imagecopy: source and destination are the same.*\n.*"},
		"no_path":                  {"oci:", "localhost:1/a:1", invalidUsage, "imagecopy: cannot use the reference oci:: it names no path\n.*\n"},
		"same_reference":           {"oci:" + dir + ":1", "oci:" + dir + ":1", invalidUsage, "imagecopy: source and destination are the same.*\n.*"},
	} {
		t.Run(name, func(t *testing.T) {
			runImagecopy(t, "-q", c.source, c.destination).expect(t, c.status, c.wantText)
		})
	}
}

func TestCopy_DigestWithTag(t *testing.T) {
	reg := registrytest.Scripted(t, registrytest.Behaviour{})
	old := reg.Push(t, "app", "1", registrytest.Image{Seed: "old"})
	reg.Push(t, "app", "1", registrytest.Image{Seed: "new"})
	runImagecopy(t, "-q", old.Ref+"@"+string(old.Digest), reg.Ref("prod/app", "1")).expect(t, succeeded, "")
	if got := reg.Digest(t, "prod/app", "1"); got != old.Digest {
		t.Errorf("digest at the destination = %s, want %s", got, old.Digest)
	}
}
