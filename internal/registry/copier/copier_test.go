package copier_test

import (
	"strings"
	"testing"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// engine is a client and a copier, as a process has them.
type engine struct {
	client *remote.Client
	copier *copier.Copier
}

// newEngine makes an engine without ambient credentials that loses no time
// between attempts.
func newEngine(t *testing.T, change ...func(*remote.Options)) engine {
	t.Helper()
	none := ""
	o := remote.Options{Backoff: time.Millisecond, Credentials: auth.Options{DockerConfigPath: &none}}
	for _, f := range change {
		f(&o)
	}
	client, err := remote.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return engine{client: client, copier: copier.New(nil)}
}

// job is the copy of one reference to another.
func (e engine) job(t *testing.T, source, destination string) copier.Job {
	t.Helper()
	s, d := parse(t, source), parse(t, destination)
	j := copier.Job{
		Source: e.client.Repository(s, remote.Pull), Destination: e.client.Repository(d, remote.Push),
		Reference: s.Target(), Digest: s.Digest,
	}
	if d.Tag != "" {
		j.Tags = []string{d.Tag}
	}
	return j
}

// copy copies and wants it to succeed.
func (e engine) copy(t *testing.T, source, destination string) copier.Report {
	t.Helper()
	report, err := e.copier.Copy(t.Context(), e.job(t, source, destination))
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func parse(t *testing.T, s string) registry.Reference {
	t.Helper()
	ref, err := registry.ParseReference(s)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func TestEveryKindOfImageArrivesByteForByte(t *testing.T) {
	kinds := map[string]registrytest.Content{
		"OCI index with attestation": registrytest.MultiArch("a"),
		"Docker manifest list":       registrytest.DockerList("b"),
		"nested index":               registrytest.Nested("c"),
	}
	v3, v2 := registrytest.V3(t), registrytest.V2(t)
	for _, way := range []struct {
		name     string
		from, to *registrytest.Registry
	}{{"v3 to 2.8.3", v3, v2}, {"2.8.3 to v3", v2, v3}, {"within v3", v3, v3}} {
		for name, content := range kinds {
			t.Run(way.name+"/"+name, func(t *testing.T) {
				e := newEngine(t)
				repo := "from/" + strings.ReplaceAll(way.name, " ", "-")
				pushed := way.from.Push(t, repo, "1", content)
				report := e.copy(t, pushed.Ref, way.to.Ref("to/"+repo, "1"))
				if report.Digest != pushed.Digest {
					t.Errorf("the report says %s, pushed was %s", report.Digest, pushed.Digest)
				}
				registrytest.Same(t, pushed.Tree, way.to.Read(t, "to/"+repo, "1"))
				t.Logf("%+v", report)
			})
		}
	}
}
