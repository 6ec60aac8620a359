package provider_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"
	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

const sbomType = "application/spdx+json"

// referrersRegistries returns registries with and without a referrers API.
func referrersRegistries(t *testing.T) map[string]func() *registrytest.Registry {
	return map[string]func() *registrytest.Registry{
		"v3": func() *registrytest.Registry { return registrytest.V3(t) },
		"v2": func() *registrytest.Registry { return registrytest.V2(t) },
		"referrers_api": func() *registrytest.Registry {
			return registrytest.Scripted(t, registrytest.Behaviour{Referrers: true})
		},
	}
}

// TestReferrers_SignatureVerifies checks that a cosign signature, as a referrer and with its
// older tag, verifies at the destination. It is copied only if referrers is set.
func TestReferrers_SignatureVerifies(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ from, to string }{
		"neither_has_api":     {"v2", "v3"},
		"destination_has_api": {"v3", "referrers_api"},
		"source_has_api":      {"referrers_api", "v2"},
	} {
		for media, docker := range map[string]bool{"oci": false, "docker": true} {
			t.Run(name+"_"+media, func(t *testing.T) {
				t.Parallel()
				src, dst := referrersRegistries(t)[c.from](), referrersRegistries(t)[c.to]()
				image, _ := platformsOf("app", docker)
				pushed := src.Push(t, "app", "1", image)
				key := registrytest.NewSigningKey(t)
				signature := key.Sign(t, image)
				src.Attach(t, "app", signature.Referrer)
				src.Push(t, "app", signature.Tag, signature.Tagged)
				verify := func() (asReferrer, byTag error) {
					return key.VerifyReferrer(t, dst, "app", pushed.Digest), key.VerifyTag(t, dst, "app", pushed.Digest)
				}

				ws := newWorkspace(t)
				ws.converge(imageCopy("app", pushed.Ref, dst.Ref("app", "1")))
				if asReferrer, byTag := verify(); asReferrer == nil || byTag == nil {
					t.Error("a signature was copied although referrers is not set")
				}
				ws.configure(imageCopy("app", pushed.Ref, dst.Ref("app", "1"), "referrers = true"))
				plan := ws.plan()
				plan.wantAction(app, tfjson.ActionUpdate).wantUnknown(app, "referrers_digest").wantChange(app, "digest", pushed.Digest, pushed.Digest)
				ws.apply(plan)
				if asReferrer, byTag := verify(); asReferrer != nil || byTag != nil {
					t.Errorf("the signature does not verify: %v, %v", asReferrer, byTag)
				}
				ws.wantNoChanges().wantNoWarnings()
			})
		}
	}
}

func TestReferrers_NewReferrer(t *testing.T) {
	t.Parallel()
	for name, start := range referrersRegistries(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, dst := start(), start()
			image, _ := platformsOf("app", false)
			pushed := src.Push(t, "app", "1", image)
			ws := newWorkspace(t)
			// Referrers may change although the source is pinned.
			ws.converge(imageCopy("app", src.Ref("app", string(pushed.Digest)), dst.Ref("app", "1"), "referrers = true"))
			ws.wantNoChanges().wantNoWarnings()
			none := ws.state(app)["referrers_digest"]

			sbom := src.Attach(t, "app", registrytest.Artifact{Seed: "sbom", Type: sbomType, Subject: image.Manifests[0]})
			plan := ws.plan()
			plan.wantAction(app, tfjson.ActionUpdate).wantUnknown(app, "referrers_digest").wantChange(app, "digest", pushed.Digest, pushed.Digest)
			src.Push(t, "app", "late", image) // a new tag between plan and apply does not matter
			ws.apply(plan)
			registrytest.Same(t, sbom.Tree, dst.Read(t, "app", string(sbom.Digest)))
			if listed := dst.Referrers(t, "app", image.Manifests[0].Build().Digest); !slices.Equal(listed, []digest.Digest{sbom.Digest}) {
				t.Errorf("listed are %s", listed)
			}
			if now := ws.state(app)["referrers_digest"]; now == none || now == "" {
				t.Errorf("referrers_digest = %v, before = %v", now, none)
			}
			ws.wantNoChanges().wantNoWarnings()
		})
	}
}

func TestReferrerTypes_Filter(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	image := registrytest.Image{Seed: "app"}
	pushed := src.Push(t, "app", "1", image)
	sbom := src.Attach(t, "app", registrytest.Artifact{Seed: "sbom", Type: sbomType, Subject: image})
	scan := src.Attach(t, "app", registrytest.Artifact{Seed: "scan", Type: "application/sarif+json", Subject: image})
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", pushed.Ref, dst.Ref("app", "1"), "referrers = true", `referrer_types = ["`+sbomType+`"]`))
	if !dst.HasManifest(t, "app", string(sbom.Digest)) || dst.HasManifest(t, "app", string(scan.Digest)) {
		t.Error("the wrong referrers were copied")
	}
	ws.wantNoChanges()
	src.Attach(t, "app", registrytest.Artifact{Seed: "another scan", Type: "application/sarif+json", Subject: image})
	ws.wantNoChanges() // filtered referrers cause no change
	ws.configure(imageCopy("app", pushed.Ref, dst.Ref("app", "1"), "referrers = true"))
	plan := ws.plan()
	plan.wantAction(app, tfjson.ActionUpdate).wantUnknown(app, "referrers_digest")
	ws.apply(plan)
	if !dst.HasManifest(t, "app", string(scan.Digest)) {
		t.Error("the referrer was not copied without the filter")
	}
	ws.wantNoChanges()

	// A filter that matches no referrer causes one warning.
	ws.configure(imageCopy("app", pushed.Ref, dst.Ref("app", "1"), "referrers = true", `referrer_types = ["application/spdx"]`))
	result := ws.apply(ws.plan())
	result.wantWarning("No Referrers of These Types", string(pushed.Digest)+" is of other types", "application/sarif+json and "+sbomType).assertAt(result, "referrer_types")
	ws.wantNoChanges().wantNoWarnings()

	// If referrers is unset, nothing is removed.
	ws.configure(imageCopy("app", pushed.Ref, dst.Ref("app", "1")))
	plan = ws.plan()
	plan.wantChange(app, "referrers_digest", ws.state(app)["referrers_digest"], nil)
	ws.apply(plan)
	if !dst.HasManifest(t, "app", string(sbom.Digest)) {
		t.Error("a referrer was removed")
	}
	ws.wantNoChanges()
}

func TestReferrerTypes_Invalid(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	pushed := src.Push(t, "app", "1", registrytest.Image{Seed: "app"})
	ws := newWorkspace(t)
	for argument, contains := range map[string]string{
		`referrer_types = ["application/spdx+json"]`:        "Referrers Are Not Copied",
		"referrers = true\n  referrer_types = []":           "Empty Artifact Types",
		"referrers = true\n  referrer_types = [\"SBOM\"]":   "Invalid Artifact Type",
		"referrers = true\n  referrer_types = [\"a/b; c\"]": "Invalid Artifact Type",
	} {
		ws.configure(imageCopy("app", pushed.Ref, dst.Ref("app", "1"), argument))
		ws.planFails().wantError(contains)
	}
}

// TestReferrers_SourceFault checks that there is only a warning if the source cannot list
// referrers after the image was promoted. The copied referrers are kept.
func TestReferrers_SourceFault(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{Referrers: true})), registrytest.V3(t)
	image := registrytest.Image{Seed: "app"}
	pushed := src.Push(t, "app", "1", image)
	src.Attach(t, "app", registrytest.Artifact{Seed: "sbom", Type: sbomType, Subject: image})
	ws := newWorkspace(t)
	config := imageCopy("app", pushed.Ref, dst.Ref("app", "1"), "referrers = true")
	src.On("GET", ".*/referrers/.*").Reply(http.StatusForbidden, nil, string(registrytest.ErrorBody("DENIED", "not now")))
	ws.configure(config)
	ws.applyFails(ws.plan()).wantError("not now")
	if dst.HasManifest(t, "app", "1") {
		t.Error("the tag was written")
	}
	src.Clear()
	ws.converge(config)
	before := ws.state(app)["referrers_digest"]
	src.On("GET", ".*/referrers/.*").Reply(http.StatusForbidden, nil, string(registrytest.ErrorBody("DENIED", "not now")))
	ws.wantNoChanges().wantWarning("not now")
	if now := ws.state(app)["referrers_digest"]; now != before {
		t.Errorf("referrers_digest = %v, want %v", now, before)
	}
}

func TestDeepCheck_PlansRepair(t *testing.T) {
	t.Parallel()
	for name, start := range referrersRegistries(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, dst := start(), start()
			image, images := platformsOf("app", false)
			pushed := src.Push(t, "app", "1", image)
			sbom := src.Attach(t, "app", registrytest.Artifact{Seed: "sbom", Type: sbomType, Subject: image})
			ws := newWorkspace(t)
			ws.converge(imageCopy("app", pushed.Ref, dst.Ref("app", "1"), "referrers = true", "deep_check = true"))
			ws.wantNoChanges().wantNoWarnings()
			for _, lost := range []digest.Digest{images["linux/arm/v7"].Blobs[1].Descriptor().Digest, sbom.Blobs[1].Descriptor().Digest} {
				dst.DeleteBlob(t, "app", lost)
				plan := ws.plan()
				plan.wantAction(app, tfjson.ActionUpdate).wantChange(app, "missing", []any{string(lost)}, []any{}).
					wantChange(app, "digest", pushed.Digest, pushed.Digest)
				ws.apply(plan)
				ws.wantNoChanges().wantNoWarnings()
			}
			registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "1"))
			registrytest.Same(t, sbom.Tree, dst.Read(t, "app", string(sbom.Digest)))
		})
	}
}

// TestDeepCheck_RepairWithoutSource checks that a repair that needs missing content of the
// source does not advise to plan again.
func TestDeepCheck_RepairWithoutSource(t *testing.T) {
	t.Parallel()
	src, dst, other := registrytest.V3(t), registrytest.V3(t), registrytest.V3(t)
	image := registrytest.Image{Seed: "app"}
	pushed, elsewhere := src.Push(t, "app", "1", image), other.Push(t, "app", "1", image)
	copied := func(source string) string { return imageCopy("app", source, dst.Ref("app", "1"), "deep_check = true") }
	ws := newWorkspace(t)
	ws.converge(copied(pushed.Ref))
	dst.DeleteBlob(t, "app", image.Build().Blobs[1].Descriptor().Digest)
	src.DeleteManifest(t, "app", pushed.Digest)
	plan := ws.plan()
	plan.wantWarning("Source Image Not Found", "is planned as a repair all the same, which needs a source that has it")
	result := ws.applyFails(plan)
	d := result.wantError("What is missing at the destination cannot be repaired from this source", "set `source` to another place that has "+string(pushed.Digest))
	d.assertAt(result, "source")
	if strings.Contains(d.Detail, "Plan again") {
		t.Errorf("unexpected advice: %s", d.Detail)
	}
	ws.converge(copied(elsewhere.Ref))
	registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "1"))
}

func TestDeepCheck_DisabledResolvesTagOnly(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.Intercept(t, registrytest.V3(t))
	pushed := src.Push(t, "app", "1", registrytest.Image{Seed: "app"})
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", pushed.Ref, dst.Ref("app", "1")))
	dst.Forget()
	ws.wantNoChanges()
	if n := len(dst.Requests()); n != 1 {
		t.Errorf("%d requests: %v", n, dst.Requests())
	}
}

// TestDeepCheck_ReadError checks that a deep check that cannot be completed does not change the
// state.
func TestDeepCheck_ReadError(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.Intercept(t, registrytest.V3(t))
	pushed := src.Push(t, "app", "1", registrytest.Image{Seed: "app"})
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", pushed.Ref, dst.Ref("app", "1"), "deep_check = true"))
	before := ws.stateFile()
	dst.On("HEAD", ".*/blobs/.*").Reply(http.StatusForbidden, nil, "")
	ws.planFails().wantError("403", "-refresh=false")
	if ws.stateFile() != before {
		t.Error("the state was changed")
	}
}

// TestReferrers_Chain checks that one plan shows a new referrer for all stages, and one apply
// copies it to all of them.
func TestReferrers_Chain(t *testing.T) {
	t.Parallel()
	src, staging, production := registrytest.V3(t), registrytest.Scripted(t, registrytest.Behaviour{Referrers: true}), registrytest.V2(t)
	image := registrytest.Image{Seed: "app"}
	pushed := src.Push(t, "app", "1", image)
	ws := newWorkspace(t)
	stage := func(name, source, destination string) string {
		return fmt.Sprintf("resource \"registry_image_copy\" %q {\n  source = %s\n  destination = %q\n  referrers = true\n}\n", name, source, destination)
	}
	ws.converge(stage("staging", fmt.Sprintf("%q", pushed.Ref), staging.Ref("app", "1")),
		stage("app", "registry_image_copy.staging.pinned_reference", production.Ref("app", "1")))
	ws.wantNoChanges().wantNoWarnings()
	sbom := src.Attach(t, "app", registrytest.Artifact{Seed: "sbom", Type: sbomType, Subject: image})
	plan := ws.plan()
	plan.wantUnknown("registry_image_copy.staging", "referrers_digest").wantUnknown(app, "referrers_digest")
	ws.apply(plan)
	if !production.HasManifest(t, "app", string(sbom.Digest)) {
		t.Error("the referrer was not copied to the last stage")
	}
	ws.wantNoChanges().wantNoWarnings()
}

// TestDeepCheck_Referrers checks that a deep check covers the copied referrers, and whether
// clients can discover them.
func TestDeepCheck_Referrers(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	image := registrytest.Image{Seed: "app"}
	pushed := src.Push(t, "app", "1", image)
	signature := registrytest.NewSigningKey(t).Sign(t, image)
	sbom := src.Attach(t, "app", registrytest.Artifact{Seed: "sbom", Type: sbomType, Subject: image})
	tagged := src.Push(t, "app", signature.Tag, signature.Tagged)
	ws := newWorkspace(t)
	ws.converge(imageCopy("app", pushed.Ref, dst.Ref("app", "1"), "referrers = true", "deep_check = true"))
	ws.wantNoChanges().wantNoWarnings()
	for tag, lost := range map[string]digest.Digest{registrytest.ReferrersTag(pushed.Digest): sbom.Digest, signature.Tag: tagged.Digest} {
		dst.DeleteTag(t, "app", tag)
		plan := ws.plan()
		plan.wantAction(app, tfjson.ActionUpdate).wantChange(app, "missing", []any{string(lost)}, []any{})
		ws.apply(plan)
		if !dst.HasManifest(t, "app", tag) {
			t.Errorf("the tag %s was not repaired", tag)
		}
		ws.wantNoChanges().wantNoWarnings()
	}
	// A referrer that is new at the source is not missing.
	src.Attach(t, "app", registrytest.Artifact{Seed: "late", Type: sbomType, Subject: image})
	plan := ws.plan()
	plan.wantUnknown(app, "referrers_digest").wantChange(app, "missing", []any{}, []any{})
	ws.apply(plan)
	ws.wantNoChanges().wantNoWarnings()
}

// TestReferrerTypes_PartlyUnknown checks that an unknown artifact type is planned as a change,
// because it may differ from the prior one.
func TestReferrerTypes_PartlyUnknown(t *testing.T) {
	t.Parallel()
	src, dst := registrytest.V3(t), registrytest.V3(t)
	image := registrytest.Image{Seed: "app"}
	pushed := src.Push(t, "app", "1", image)
	src.Attach(t, "app", registrytest.Artifact{Seed: "sbom", Type: sbomType, Subject: image})
	scan := src.Attach(t, "app", registrytest.Artifact{Seed: "scan", Type: "application/sarif+json", Subject: image})
	ws := newWorkspace(t)
	config := func(other string) []string {
		return []string{
			fmt.Sprintf("resource \"terraform_data\" \"type\" {\n  input = %q\n}\n", other),
			imageCopy("app", pushed.Ref, dst.Ref("app", "1"), "referrers = true", `referrer_types = ["`+sbomType+`", terraform_data.type.output]`),
		}
	}
	ws.converge(config(sbomType)...)
	ws.configure(config("application/sarif+json")...)
	plan := ws.plan()
	plan.wantUnknown(app, "referrers_digest")
	ws.apply(plan)
	if !dst.HasManifest(t, "app", string(scan.Digest)) {
		t.Error("the referrer of the other type was not copied")
	}
	ws.wantNoChanges()
}

// TestReferrers_SignatureAtDestination checks that a signature that exists only at the
// destination is not lost, even if overwrite is true. With overwrite = false, its tag is
// protected as any other tag.
func TestReferrers_SignatureAtDestination(t *testing.T) {
	t.Parallel()
	for overwrite, contains := range map[string]string{"true": "they would be lost", "false": "overwrite = false"} {
		t.Run("overwrite_"+overwrite, func(t *testing.T) {
			t.Parallel()
			src, dst := registrytest.V3(t), registrytest.V3(t)
			image := registrytest.Image{Seed: "app"}
			pushed := src.Push(t, "app", "1", image)
			first, second := registrytest.NewSigningKey(t).Sign(t, image), registrytest.NewSigningKey(t).Sign(t, image)
			src.Push(t, "app", first.Tag, first.Tagged)
			own := dst.Push(t, "app", first.Tag, second.Tagged)
			ws := newWorkspace(t)
			config := imageCopy("app", pushed.Ref, dst.Ref("app", "1"), "referrers = true", "overwrite = "+overwrite)
			ws.configure(config)
			ws.applyFails(ws.plan()).wantError(first.Tag, string(own.Digest), contains)
			if dst.HasManifest(t, "app", "1") || dst.Digest(t, "app", first.Tag) != own.Digest {
				t.Error("a tag was written")
			}
			dst.DeleteTag(t, "app", first.Tag)
			ws.converge(config)
			// The resource may replace a tag that it wrote, also with a signature by another
			// key.
			moved := src.Push(t, "app", first.Tag, second.Tagged)
			ws.converge(config)
			if dst.Digest(t, "app", first.Tag) != moved.Digest {
				t.Error("the signature was not replaced")
			}
			ws.wantNoChanges()
		})
	}
}
