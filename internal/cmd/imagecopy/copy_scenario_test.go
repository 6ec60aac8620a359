package main

import (
	"path/filepath"
	"strings"
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

func TestOptions_RequestLimits(t *testing.T) {
	from, to := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{})), registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{}))
	pushed := from.Push(t, "app", "1", registrytest.MultiArch("a"))
	runImagecopy(t, "-q", "-max-concurrent-requests", "2", pushed.Ref, to.Ref("app", "1")).expect(t, succeeded, "")
	for _, p := range []*registrytest.Proxy{from, to} {
		if p.Peak() > 2 {
			t.Errorf("Peak() = %d, want at most 2", p.Peak())
		}
	}
	for flag, wantText := range map[string]string{
		"-max-concurrent-requests=1": "imagecopy: 1 concurrent requests for .* are too few: .*\n",
		"-requests-per-second=-1":    "imagecopy: -1 requests per second for .* make no sense: .*\n",
	} {
		runImagecopy(t, flag, pushed.Ref, to.Ref("app", "1")).expect(t, invalidUsage, wantText)
	}
}

func TestOptions_Platforms(t *testing.T) {
	from, to := registrytest.Scripted(t, registrytest.Behaviour{}), registrytest.Scripted(t, registrytest.Behaviour{})
	content := registrytest.MultiArch("a")
	pushed := from.Push(t, "app", "1", content)
	for flags, want := range map[string]string{
		"-platforms=linux/arm64":                        string(content.Manifests[1].Build().Digest),
		"-platforms=linux/amd64,linux/arm64":            string(pushed.Digest),
		"-platforms=linux/amd64 -platforms=linux/arm64": string(pushed.Digest),
	} {
		runImagecopy(t, append(strings.Fields(flags), "-q", pushed.Ref, to.Ref("app", "1"))...).expect(t, succeeded, "")
		if got := string(to.Digest(t, "app", "1")); got != want {
			t.Errorf("%s: tag digest = %s, want %s", flags, got, want)
		}
	}
	runImagecopy(t, "-platforms=linux/s390x", pushed.Ref, to.Ref("app", "2")).expect(t, failed,
		"imagecopy: source .*: cannot find the platform linux/s390x in sha256:.*: the index has linux/amd64, linux/arm64/v8\n  Ask for a platform that it has.*\n")
	runImagecopy(t, "-platforms=linux", pushed.Ref, to.Ref("app", "2")).expect(t, invalidUsage,
		`imagecopy: invalid value "linux" for flag -platforms: "linux" cannot be read as a platform: (.|\n)*`)
}
