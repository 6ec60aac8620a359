package provider_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// signatureType is the media type of the layers of cosign signatures.
const signatureType = "application/vnd.dev.cosign.simplesigning.v1+json"

func referrersBlock(reference string, arguments ...string) string {
	block := fmt.Sprintf("data \"registry_referrers\" \"app\" {\n  reference = %q\n", reference)
	for _, a := range arguments {
		block += "  " + a + "\n"
	}
	return block + "}\n"
}

func TestReferrersDataSource_Filters(t *testing.T) {
	t.Parallel()
	for name, start := range referrersRegistries(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := start()
			image, images := platformsOf("app", true)
			pushed := reg.Push(t, "app", "1", image)
			sbom := reg.Attach(t, "app", registrytest.Artifact{Seed: "sbom", Type: sbomType, Subject: image, Annotations: map[string]string{"made": "by hand"}})
			signature := registrytest.NewSigningKey(t).Sign(t, image)
			tagged := reg.Push(t, "app", signature.Tag, signature.Tagged)
			scan := reg.Attach(t, "app", registrytest.Artifact{Seed: "scan", Type: sbomType, Subject: images["linux/amd64"]})

			one := func(p registrytest.Pushed, artifactType, tag string, annotations map[string]any) map[string]any {
				attributes := map[string]any{
					"digest": string(p.Digest), "media_type": p.MediaType, "artifact_type": artifactType, "size": float64(len(p.Bytes)),
					"tag": nil, "annotations": annotations, "pinned_reference": reg.Ref("app", string(p.Digest)),
				}
				if tag != "" {
					attributes["tag"] = tag
				}
				return attributes
			}
			none := map[string]any{}
			listed, found := one(sbom, sbomType, "", map[string]any{"made": "by hand"}), one(tagged, signatureType, signature.Tag, none)
			ws := newWorkspace(t)
			for what, test := range map[string]struct {
				block string
				want  []any
			}{
				"all":      {referrersBlock(pushed.Ref), []any{listed, found}},
				"by_type":  {referrersBlock(pushed.Ref, `artifact_types = ["`+sbomType+`"]`), []any{listed}},
				"by_layer": {referrersBlock(pushed.Ref, `artifact_types = ["`+signatureType+`"]`), []any{found}},
				"no_match": {referrersBlock(pushed.Ref, `artifact_types = ["application/sarif+json"]`), []any{}},
				"platform": {referrersBlock(pushed.Ref, `platform = "linux/amd64"`), []any{one(scan, sbomType, "", none)}},
			} {
				ws.converge(test.block)
				if got := ws.state("data.registry_referrers.app")["referrers"]; fmt.Sprint(got) != fmt.Sprint(test.want) {
					t.Errorf("%s: %v\nwant %v", what, got, test.want)
				}
			}
		})
	}
}

// TestReferrersDataSource_Order checks that referrers are sorted. A registry may list them in
// any order, and in a different order each time.
func TestReferrersDataSource_Order(t *testing.T) {
	t.Parallel()
	reg := registrytest.Scripted(t, registrytest.Behaviour{Referrers: true})
	image := registrytest.Image{Seed: "app"}
	pushed := reg.Push(t, "app", "1", image)
	var want []string
	for i := range 6 {
		want = append(want, string(reg.Attach(t, "app", registrytest.Artifact{Seed: fmt.Sprint(i), Type: sbomType, Subject: image}).Digest))
	}
	slices.Sort(want)
	for _, kind := range []string{"att", "sbom", "sig"} {
		tag := strings.Replace(string(pushed.Digest), ":", "-", 1) + "." + kind
		want = append(want, string(reg.Push(t, "app", tag, registrytest.Image{Seed: kind}).Digest))
	}
	result := newWorkspace(t).converge(referrersBlock(pushed.Ref), output("digests", `join(" ", data.registry_referrers.app.referrers[*].digest)`))
	if got := result.outputs["digests"]; got != strings.Join(want, " ") {
		t.Errorf("they are %v\nwant %s", got, strings.Join(want, " "))
	}
}

func TestReferrersDataSource_Errors(t *testing.T) {
	t.Parallel()
	reg := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{Referrers: true}))
	pushed := reg.Push(t, "app", "1", registrytest.Image{Seed: "app"})
	ws := newWorkspace(t)
	ws.configure(referrersBlock(reg.Ref("app", "none")))
	ws.planFails().wantError("MANIFEST_UNKNOWN")
	ws.configure(referrersBlock(pushed.Ref, "artifact_types = []"))
	ws.planFails().wantError("Empty Artifact Types", "Remove it for referrers of every type")
	ws.configure(referrersBlock(pushed.Ref))
	reg.On("GET", ".*/referrers/.*").Reply(http.StatusForbidden, nil, string(registrytest.ErrorBody("DENIED", "not now")))
	ws.planFails().wantError("not now", reg.Ref("app", "")[:len(reg.Ref("app", ""))-1])
}
