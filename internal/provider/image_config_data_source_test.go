package provider_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

const appConfig = "data.registry_image_config.app"

// imageConfig returns a registry_image_config block, with additional arguments as HCL.
func imageConfig(reference string, arguments ...string) string {
	return fmt.Sprintf("data \"registry_image_config\" \"app\" {\n  reference = %q\n  %s\n}", reference, strings.Join(arguments, "\n  "))
}

// fullConfig is an image config that sets all fields.
const fullConfig = `{ "os" : "linux", "architecture":"arm", "variant":"v7", "os.version":"6.1",
	"created":"2026-03-01T12:00:00.123Z", "author":"Acme",
	"config":{"Labels":{"a":"1","A":"2"},"Env":["PATH=/bin","A=1=2","A=3","EMPTY=","UNSET","=odd"],"Entrypoint":["/app"],"Cmd":["serve","--all"],
		"User":"1000:1000","WorkingDir":"\/srv","ExposedPorts":{"8080/tcp":{},"53/udp":{}},"Volumes":{"/data":{}},"StopSignal":"SIGQUIT"},
	"rootfs":{"type":"layers","diff_ids":[]},
	"history":[{"created":"2026-02-01T00:00:00Z","created_by":"COPY . /","comment":"first"},{"author":"me","empty_layer":true}] }
`

func TestImageConfig_AllAttributes(t *testing.T) {
	t.Parallel()
	const attributes = `"os":"linux","architecture":"arm","variant":"v7","os_version":"6.1","created":"2026-03-01T12:00:00.123Z","author":"Acme",
		"labels":{"a":"1","A":"2"},"environment":{"PATH":"/bin","A":"3","EMPTY":""},"entrypoint":["/app"],"command":["serve","--all"],
		"user":"1000:1000","working_dir":"/srv","exposed_ports":["53/udp","8080/tcp"],"volumes":["/data"],"stop_signal":"SIGQUIT",
		"history":[{"created":"2026-02-01T00:00:00Z","created_by":"COPY . /","author":null,"comment":"first","empty_layer":false},
			{"created":null,"created_by":null,"author":"me","comment":null,"empty_layer":true}]`
	for name, reg := range map[string]*registrytest.Registry{"v3": registrytest.V3(t), "v2": registrytest.V2(t)} {
		for _, docker := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s_docker_%t", name, docker), func(t *testing.T) {
				t.Parallel()
				pushed := reg.Push(t, fmt.Sprintf("app-%t", docker), "1", registrytest.Image{Seed: "app", Docker: docker, Config: []byte(fullConfig)})
				var want map[string]any
				if err := json.Unmarshal(fmt.Appendf(nil, `{"reference":%q,"platform":null,"timeouts":null,"digest":%q,"pinned_reference":%q,"config_digest":%q,"config_json":%q,%s}`,
					pushed.Ref, pushed.Digest, pushed.Pinned, pushed.Blobs[0].Descriptor().Digest, fullConfig, attributes), &want); err != nil {
					t.Fatal(err)
				}
				ws := newWorkspace(t)
				ws.converge(imageConfig(pushed.Ref))
				if got := ws.state(appConfig); !reflect.DeepEqual(got, want) {
					t.Errorf("state =\n%v\nwant\n%v", got, want)
				}
			})
		}
	}
}

func TestImageConfig_Index(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		reg   *registrytest.Registry
		index registrytest.Index
	}{
		"oci": {registrytest.V3(t), registrytest.MultiArch("app")}, "docker": {registrytest.V2(t), registrytest.DockerList("app")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pushed := c.reg.Push(t, "app", "1", c.index)
			ws := newWorkspace(t)
			ws.converge(imageConfig(pushed.Ref, `platform = "linux/arm64"`))
			got, arm := ws.state(appConfig), pushed.Manifests[1]
			if got["digest"] != string(arm.Digest) || got["architecture"] != "arm64" || got["pinned_reference"] != c.reg.Ref("app", string(arm.Digest)) {
				t.Errorf("state = %v", got)
			}

			ws.configure(imageConfig(pushed.Ref))
			result := ws.planFails()
			result.wantError("Unable to Read Image Configuration", c.reg.Addr+"/app", "it is an index", "It has linux/amd64, linux/arm64/v8", "Say with platform").assertAt(result, "reference")

			ws.configure(imageConfig(pushed.Ref, `platform = "linux/s390x"`))
			result = ws.planFails()
			result.wantError("Unable to Read Image Configuration", "linux/s390x", "the index has linux/amd64, linux/arm64/v8").assertAt(result, "platform")
			ws.configure(imageConfig(pushed.Ref, `platform = "arm64"`))
			ws.planFails().wantError("Invalid Platform", "os/architecture")
			ws.configure(imageConfig(c.reg.Ref("app", string(arm.Digest)), `platform = "linux/amd64"`))
			ws.planFails().wantError("a single image for linux/arm64")
		})
	}
}

func TestImageConfig_ForEachPlatform(t *testing.T) {
	t.Parallel()
	reg := registrytest.V3(t)
	pushed := reg.Push(t, "app", "1", registrytest.MultiArch("app"))
	ws := newWorkspace(t)
	result := ws.converge(manifest(pushed.Ref), fmt.Sprintf(`data "registry_image_config" "app" {
  for_each  = toset(%s.platforms)
  reference = %s.pinned_reference
  platform  = each.key
}`, base, base), output("platforms", base+".platforms"), output("labels", `{ for platform, image in data.registry_image_config.app : platform => "${image.architecture} ${image.labels.seed}" }`))
	if got := fmt.Sprint(result.outputs["platforms"]); got != "[linux/amd64 linux/arm64/v8]" {
		t.Errorf("the platforms are %s", got)
	}
	if got := fmt.Sprint(result.outputs["labels"]); got != "map[linux/amd64:amd64 app linux/arm64/v8:arm64 app]" {
		t.Errorf("the labels are %s", got)
	}
}

func TestImageConfig_Invalid(t *testing.T) {
	t.Parallel()
	reg := registrytest.V3(t)
	for name, test := range map[string]struct {
		content  registrytest.Content
		contains []string
	}{
		"artifact":      {registrytest.Artifact{Seed: "sbom"}, []string{`of the type "application/vnd.oci.empty.v1+json", and not an image's`, "another artifact than an image"}},
		"ambiguous_key": {registrytest.Image{Seed: "two", Config: []byte(`{"os":"linux","OS":"windows"}`)}, []string{`the key "OS", which some clients take for "os"`}},
		"not_json":      {registrytest.Image{Seed: "not", Config: []byte(`<html>`)}, []string{"it is not a JSON object", "not well formed"}},
		"invalid_env":   {registrytest.Image{Seed: "none", Config: []byte(`{"config":{"Env":{"A":"1"}}}`)}, []string{`"/config/Env" in it cannot be`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pushed := reg.Push(t, strings.ReplaceAll(name, " ", "-"), "1", test.content)
			ws := newWorkspace(t)
			ws.configure(imageConfig(pushed.Ref))
			result := ws.planFails()
			result.wantError(append(test.contains, "Unable to Read Image Configuration", "read the configuration", reg.Addr)...).assertAt(result, "reference")
		})
	}
}

func TestImageConfig_Empty(t *testing.T) {
	t.Parallel()
	reg := registrytest.V3(t)
	pushed := reg.Push(t, "app", "1", registrytest.Image{Seed: "app", Config: []byte(`{}`)})
	ws := newWorkspace(t)
	ws.converge(imageConfig(pushed.Ref))
	got := ws.state(appConfig)
	for attribute, want := range map[string]string{
		"labels": "map[]", "environment": "map[]", "entrypoint": "[]", "command": "[]", "exposed_ports": "[]", "volumes": "[]", "history": "[]",
		"os": "<nil>", "created": "<nil>", "user": "<nil>", "working_dir": "<nil>", "config_json": "{}",
	} {
		if fmt.Sprint(got[attribute]) != want {
			t.Errorf("%s: %v, want %s", attribute, got[attribute], want)
		}
	}
}

func TestImageConfig_UnicodeNormalization(t *testing.T) {
	t.Parallel()
	reg := registrytest.V3(t)
	pushed := reg.Push(t, "app", "1", registrytest.Image{Seed: "app", Config: []byte(`{"author":"` + "e\u0301" + `"}`)})
	ws := newWorkspace(t)
	ws.configure(imageConfig(pushed.Ref))
	plan := ws.plan()
	plan.wantWarning("config_json Is Not Byte for Byte", "Unicode normal form C").assertAt(plan.outcome, "reference")
	ws.apply(plan)
	ws.wantNoChanges()
}

func TestImageConfig_Layout(t *testing.T) {
	t.Parallel()
	dir := registrytest.Layout(t, map[string]registrytest.Content{"1": registrytest.Image{Seed: "app"}})
	result := newWorkspace(t).converge(imageConfig("oci:"+dir+":1"), output("seed", appConfig+".labels.seed"))
	if result.outputs["seed"] != "app" {
		t.Errorf("the outputs are %v", result.outputs)
	}
}
