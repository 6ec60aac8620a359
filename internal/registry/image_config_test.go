package registry_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

func TestParseImageConfig(t *testing.T) {
	content := `{"architecture":"arm64","os":"linux","variant":"v8","os.version":"1","os.features":["a"],
		"created":"2026-03-01T12:00:00Z","author":"Acme","container_config":{"user":"ignored"},
		"config":{"User":"1000","Env":["A=1"],"Entrypoint":["/app"],"Cmd":["serve"],"WorkingDir":"/srv","Labels":{"a":"b","A":"c"},
			"ExposedPorts":{"80/tcp":{}},"Volumes":{"/data":{}},"StopSignal":"SIGTERM","Healthcheck":{"Test":["NONE"]}},
		"rootfs":{"type":"layers","diff_ids":[]},
		"history":[{"created":"2026-03-01T12:00:00Z","created_by":"COPY","author":"me","comment":"hm"},{"empty_layer":true}]}`
	d := registry.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: sum256, Size: int64(len(content))}
	got, err := registry.ParseImageConfig(d, []byte(content))
	want := registry.ImageConfig{
		Descriptor: d, Content: []byte(content), Created: "2026-03-01T12:00:00Z", Author: "Acme",
		Platform: registry.Platform{Architecture: "arm64", OS: "linux", Variant: "v8", OSVersion: "1", OSFeatures: []string{"a"}},
		Config: ocispec.ImageConfig{
			User: "1000", Env: []string{"A=1"}, Entrypoint: []string{"/app"}, Cmd: []string{"serve"}, WorkingDir: "/srv", Labels: map[string]string{"a": "b", "A": "c"},
			ExposedPorts: map[string]struct{}{"80/tcp": {}}, Volumes: map[string]struct{}{"/data": {}}, StopSignal: "SIGTERM",
		},
		History: []registry.ImageHistory{{Created: "2026-03-01T12:00:00Z", CreatedBy: "COPY", Author: "me", Comment: "hm"}, {EmptyLayer: true}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("ParseImageConfig() = %+v, %v\nwant %+v", got, err, want)
	}
}

func TestParseImageConfig_MissingFields(t *testing.T) {
	for _, content := range []string{
		`{}`, ` {"config":null,"history":null,"created":null,"os":null}`,
		`{"config":{"Env":null,"Entrypoint":null,"Labels":null,"Volumes":null,"ExposedPorts":{"80":null}},"history":[]}`,
	} {
		if c, err := registry.ParseImageConfig(registry.Descriptor{Digest: sum256}, []byte(content)); err != nil || c.Created != "" || len(c.History) != 0 || c.Platform.OS != "" {
			t.Errorf("ParseImageConfig(%s) = %+v, %v", content, c, err)
		}
	}
}

func TestParseImageConfig_Invalid(t *testing.T) {
	var many strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&many, `,"l%d":""`, i)
	}
	for content, want := range map[string]string{
		``:                       "it is not a JSON object",
		`null`:                   "it is not a JSON object",
		`[]`:                     "it is not a JSON object",
		`<html>`:                 "it is not a JSON object",
		`{"os":"linux"`:          "it is not valid JSON",
		`{"os":"a","os":"b"}`:    "duplicate",
		`{"OS":"linux"}`:         `the key "OS", which some clients take for "os"`,
		`{"os":"a","Os":"b"}`:    `the key "Os", which some clients take for "os"`,
		`{"Config":{}}`:          `the key "Config"`,
		`{"HISTORY":[]}`:         `the key "HISTORY"`,
		`{"config":{"user":""}}`: `the key "user", which some clients take for "User"`,
		`{"config":{"ENV":[]}}`:  `the key "ENV"`,
		`{"config":{"Labels":{"a":"1","a":"2"}}}`:           "duplicate",
		`{"history":[{},{"Created_By":"x"}]}`:               `the key "Created_By"`,
		`{"config":{"Labels":{"a":1}}}`:                     `"/config/Labels/a" in it cannot be`,
		`{"config":{"Entrypoint":"/app"}}`:                  `"/config/Entrypoint" in it cannot be`,
		`{"config":[]}`:                                     `"/config" in it cannot be`,
		`{"author":"` + "\xff" + `"}`:                       "invalid UTF-8",
		`{"a":` + strings.Repeat("[", 100_000):              "it is not valid JSON",
		`{"config":{"Labels":{"l":""` + many.String() + `}`: "it has an object of more than 10000 members",
		`{"history":[{}` + strings.Repeat(",{}", 20_000):    "it has a list of more than 10000 entries",
		`{"author":"it's a \u001b[31mtrap","author":1}`:     "duplicate",
	} {
		_, err := registry.ParseImageConfig(registry.Descriptor{Digest: sum256}, []byte(content))
		e, ok := errors.AsType[*registry.Error](err)
		if !ok || !strings.Contains(e.Message, want) || e.Reference != sum256.String() || e.Hint == "" {
			t.Errorf("ParseImageConfig(%.60s) error = %v, want %q", content, err, want)
		}
		if err != nil && strings.ContainsRune(err.Error(), 0x1b) {
			t.Errorf("ParseImageConfig(%.60s) error is not sanitized: %q", content, err)
		}
	}
}

func TestIsImageConfig(t *testing.T) {
	for mediaType, want := range map[string]bool{
		ocispec.MediaTypeImageConfig:               true,
		registry.MediaTypeDockerConfig:             true,
		"application/octet-stream":                 true,
		ocispec.MediaTypeEmptyJSON:                 false,
		"application/vnd.cncf.helm.config.v1+json": false,
		"application/vnd.docker.plugin.v1+json":    false,
		"APPLICATION/VND.OCI.IMAGE.CONFIG.V1+JSON": false,
		"": false,
		"application/vnd.oci.image.config.v1+json+": false,
	} {
		if got := registry.IsImageConfig(mediaType); got != want {
			t.Errorf("IsImageConfig(%q) = %t, want %t", mediaType, got, want)
		}
	}
}

func TestConfigPlatform(t *testing.T) {
	linux := registry.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}
	for content, want := range map[string]registry.Platform{
		`{"os":"linux","architecture":"arm","variant":"v7","config":"whatever"}`: linux,
		`{"os":"linux","architecture":"arm","variant":"v7","OS":"windows"}`:      {},
		`{"os":"linux","os":"windows"}`:                                          {},
		`{"os":" ","architecture":"arm"}`:                                        {},
		`{"os":1}`:                                                               {},
		`"linux"`:                                                                {},
		``:                                                                       {},
	} {
		if got := registry.ConfigPlatform([]byte(content)); !reflect.DeepEqual(got, want) {
			t.Errorf("ConfigPlatform(%s) = %+v, want %+v", content, got, want)
		}
	}
}
