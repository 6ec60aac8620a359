package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

func TestAnImageLayoutIsCopiedFromAndTo(t *testing.T) {
	content := registrytest.MultiArch("a")
	from := registrytest.Scripted(t, registrytest.Behaviour{})
	pushed := from.Push(t, "app", "1", content)
	dir := filepath.Join(t.TempDir(), "layout")
	imagecopy(t, "-q", pushed.Ref, "oci:"+dir+":1").ended(t, succeeded, "")
	registrytest.Same(t, pushed.Tree, registrytest.ReadLayout(t, dir, "1"))

	to := registrytest.Scripted(t, registrytest.Behaviour{})
	for name, source := range map[string]string{
		"tag": "oci:" + dir + ":1", "only": "oci:" + dir, "digest": "oci:" + dir + "@" + string(pushed.Digest), "tar": "oci:" + registrytest.Tar(t, dir) + ":1",
	} {
		imagecopy(t, "-q", source, to.Ref(name, "1")).ended(t, succeeded, "")
		registrytest.Same(t, pushed.Tree, to.Read(t, name, "1"))
	}
}

func TestAnImageLayoutThatCannotBeUsedIsExplained(t *testing.T) {
	dir := registrytest.Layout(t, map[string]registrytest.Content{"1": registrytest.Image{Seed: "a"}})
	empty := t.TempDir()
	registrytest.WriteFile(t, empty, "x", nil)
	for name, c := range map[string]struct {
		source, destination string
		status              int
		says                string
	}{
		"no layout":                     {"oci:" + empty, "localhost:1/a:1", failed, "imagecopy: source oci:.*: cannot open the image layout: it holds no file \"oci-layout\"\n  An image layout is .*\n"},
		"another tag":                   {"oci:" + dir + ":2", "localhost:1/a:1", failed, "imagecopy: source oci:.*: the layout holds \"1\" .*\n  Use one of the tags .*\n"},
		"no layout to write to":         {"oci:" + dir, "oci:" + empty + ":1", failed, "imagecopy: destination oci:.*: it holds no file \"oci-layout\"\n  .*\n"},
		"no tag to write":               {"oci:" + dir, "oci:" + empty, misused, "imagecopy: cannot use the destination .*: it has no tag\n.*\n"},
		"a digest to write":             {"oci:" + dir, "oci:" + empty + "@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", misused, "imagecopy: cannot use the destination .*: it has a digest.*\n.*\n"},
		"the same, written in two ways": {"oci:" + dir + ":1", "oci:" + dir + "/../" + filepath.Base(dir) + ":1", misused, "imagecopy: source and destination are the same.*\n.*"},
		"no path":                       {"oci:", "localhost:1/a:1", misused, "imagecopy: cannot use the reference oci:: it names no path\n.*\n"},
		"the same place, it seems":      {"oci:" + dir + ":1", "oci:" + dir + ":1", misused, "imagecopy: source and destination are the same.*\n.*"},
	} {
		t.Run(name, func(t *testing.T) {
			imagecopy(t, "-q", c.source, c.destination).ended(t, c.status, c.says)
		})
	}
}

func TestAHostIsAskedNoMoreThanTheFlagsSay(t *testing.T) {
	from, to := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{})), registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{}))
	pushed := from.Push(t, "app", "1", registrytest.MultiArch("a"))
	imagecopy(t, "-q", "-max-concurrent-requests", "2", pushed.Ref, to.Ref("app", "1")).ended(t, succeeded, "")
	for _, p := range []*registrytest.Proxy{from, to} {
		if p.Peak() > 2 {
			t.Errorf("%d requests were under way at once, of at most 2", p.Peak())
		}
	}
	for flag, says := range map[string]string{
		"-max-concurrent-requests=1": "imagecopy: 1 concurrent requests for .* are too few: .*\n",
		"-requests-per-second=-1":    "imagecopy: -1 requests per second for .* make no sense: .*\n",
	} {
		imagecopy(t, flag, pushed.Ref, to.Ref("app", "1")).ended(t, misused, says)
	}
}

func TestPlatformsAreCopiedAlone(t *testing.T) {
	from, to := registrytest.Scripted(t, registrytest.Behaviour{}), registrytest.Scripted(t, registrytest.Behaviour{})
	content := registrytest.MultiArch("a")
	pushed := from.Push(t, "app", "1", content)
	for flags, want := range map[string]string{
		"-platforms=linux/arm64":                        string(content.Manifests[1].Build().Digest),
		"-platforms=linux/amd64,linux/arm64":            string(pushed.Digest),
		"-platforms=linux/amd64 -platforms=linux/arm64": string(pushed.Digest),
	} {
		imagecopy(t, append(strings.Fields(flags), "-q", pushed.Ref, to.Ref("app", "1"))...).ended(t, succeeded, "")
		if got := string(to.Digest(t, "app", "1")); got != want {
			t.Errorf("%s: the tag holds %s, want %s", flags, got, want)
		}
	}
	imagecopy(t, "-platforms=linux/s390x", pushed.Ref, to.Ref("app", "2")).ended(t, failed,
		"imagecopy: source .*: cannot find the platform linux/s390x in sha256:.*: the index has linux/amd64, linux/arm64/v8\n  Ask for a platform that it has.*\n")
	imagecopy(t, "-platforms=linux", pushed.Ref, to.Ref("app", "2")).ended(t, misused,
		`imagecopy: invalid value "linux" for flag -platforms: "linux" cannot be read as a platform: (.|\n)*`)
}
