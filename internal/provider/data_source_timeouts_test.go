package provider

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/tfsdk"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

// dialSlowRegistry connects to a registry that is slow. It takes five seconds for each page of
// tags and always has another page. A manifest request fails with status 503 after 55 seconds.
func dialSlowRegistry(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	go func() {
		defer server.Close()
		requests := bufio.NewReader(server)
		for {
			req, err := http.ReadRequest(requests)
			if err != nil {
				return
			}
			if strings.Contains(req.URL.Path, "/manifests/") {
				<-time.After(55 * time.Second)
				_, _ = io.WriteString(server, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
				continue
			}
			<-time.After(5 * time.Second)
			next := time.Now().UnixNano() // unique, because a repeated page is an error
			body := fmt.Sprintf(`{"name":"app","tags":["tag%d"]}`, next)
			_, _ = fmt.Fprintf(server, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nLink: <?page=%d>; rel=\"next\"\r\nContent-Length: %d\r\n\r\n%s", next, len(body), body)
		}
	}()
	return client, nil
}

// readDataSource calls Read of a data source with the given attributes, and returns its
// diagnostics.
func readDataSource(t *testing.T, source datasource.DataSourceWithConfigure, attributes map[string]tftypes.Value) diag.Diagnostics {
	t.Helper()
	ctx := t.Context()
	none := ""
	options := remote.Options{Dial: dialSlowRegistry}
	options.Credentials.DockerConfigPath = &none
	e, err := newEngine(settings{options: options})
	if err != nil {
		t.Fatal(err)
	}
	source.Configure(ctx, datasource.ConfigureRequest{ProviderData: e}, &datasource.ConfigureResponse{})
	var schema datasource.SchemaResponse
	source.Schema(ctx, datasource.SchemaRequest{}, &schema)
	object, ok := schema.Schema.Type().TerraformType(ctx).(tftypes.Object)
	if !ok {
		t.Fatal("the schema is not an object")
	}
	values := map[string]tftypes.Value{}
	for name, typ := range object.AttributeTypes {
		values[name] = tftypes.NewValue(typ, nil)
		if value, set := attributes[name]; set {
			values[name] = value
		}
	}
	raw := tftypes.NewValue(object, values)
	resp := datasource.ReadResponse{State: tfsdk.State{Raw: raw, Schema: schema.Schema}}
	source.Read(ctx, datasource.ReadRequest{Config: tfsdk.Config{Raw: raw, Schema: schema.Schema}}, &resp)
	return resp.Diagnostics
}

func TestDataSources_ReadTimeout(t *testing.T) {
	text := func(s string) tftypes.Value { return tftypes.NewValue(tftypes.String, s) }
	reference := map[string]tftypes.Value{"reference": text("127.0.0.1:5000/app:1")}
	readTimeout := func(d string) tftypes.Value {
		return tftypes.NewValue(tftypes.Object{AttributeTypes: map[string]tftypes.Type{"read": tftypes.String}}, map[string]tftypes.Value{"read": text(d)})
	}
	for name, test := range map[string]struct {
		source     func() datasource.DataSource
		attributes map[string]tftypes.Value
		contains   string
	}{
		"manifest":     {newManifestDataSource, reference, ""},
		"image_config": {newImageConfigDataSource, reference, ""},
		"referrers":    {newReferrersDataSource, reference, ""},
		"tags":         {newTagsDataSource, map[string]tftypes.Value{"repository": text("127.0.0.1:5000/app")}, "the list has more than the"},
	} {
		for setting, limit := range map[string]time.Duration{"default": 5 * time.Minute, "42s": 42 * time.Second} {
			t.Run(name+"_"+setting, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					source, ok := test.source().(datasource.DataSourceWithConfigure)
					if !ok {
						t.Fatal("the data source cannot be configured")
					}
					attributes := maps.Clone(test.attributes)
					if setting != "default" {
						attributes["timeouts"] = readTimeout(setting)
					}
					began := time.Now() // virtual time of the synctest bubble
					diags := readDataSource(t, source, attributes)
					if took := time.Since(began); took != limit {
						t.Errorf("Read() took %s, want %s", took, limit)
					}
					<-time.After(time.Hour) // the registry detects the closed connections
					text := ""
					for _, d := range diags.Errors() {
						text += d.Summary() + "\n" + d.Detail() + "\n"
					}
					for _, want := range []string{"within " + limit.String(), "the read timeout", "timeouts = { read = ", test.contains} {
						if !strings.Contains(text, want) {
							t.Errorf("Read() = %q, want it to contain %q", text, want)
						}
					}
				})
			})
		}
	}
}

// TestDataSources_TimeoutsAttribute checks that every data source has the attribute, so that
// users can limit how long each read may delay a plan.
func TestDataSources_TimeoutsAttribute(t *testing.T) {
	sources := (&registryProvider{}).DataSources(t.Context())
	if len(sources) < 4 {
		t.Fatalf("DataSources() = %d sources", len(sources))
	}
	for _, source := range sources {
		var metadata datasource.MetadataResponse
		source().Metadata(t.Context(), datasource.MetadataRequest{ProviderTypeName: "registry"}, &metadata)
		var schema datasource.SchemaResponse
		source().Schema(t.Context(), datasource.SchemaRequest{}, &schema)
		timeouts, ok := schema.Schema.Attributes["timeouts"]
		if !ok {
			t.Errorf("%s has no timeouts", metadata.TypeName)
			continue
		}
		if described := timeouts.GetType().String(); described != "timeouts.Type" {
			t.Errorf("timeouts of %s has the type %s", metadata.TypeName, described)
		}
	}
}
