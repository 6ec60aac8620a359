package copier_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

const sbomType = "application/vnd.example.sbom"

// withReferrers makes a job copy referrers, of these types or all.
func withReferrers(types ...string) func(*copier.Job) {
	return func(j *copier.Job) { j.Referrers, j.ReferrerTypes = true, types }
}

// signedImage is an image for two platforms with all kinds of referrers: an SBOM of the index and
// one of a platform, a signature, a signature of the signature, and the signature and attestation
// that cosign stores under tags.
type signedImage struct {
	image, sbom, platform, signature, second registrytest.Pushed
	key                                      registrytest.SigningKey
	legacy                                   registrytest.Signature
}

func newSignedImage(t *testing.T, from *registrytest.Registry) signedImage {
	t.Helper()
	content := registrytest.MultiArch("a")
	s := signedImage{key: registrytest.NewSigningKey(t), image: from.Push(t, "app", "1", content)}
	sbom := registrytest.Artifact{Seed: "sbom", Type: sbomType, Subject: content, Annotations: map[string]string{"made": "by hand"}}
	s.sbom = from.Attach(t, "app", sbom)
	s.platform = from.Attach(t, "app", registrytest.Artifact{Seed: "platform", Type: sbomType, Subject: content.Manifests[0]})
	s.legacy = s.key.Sign(t, content)
	s.signature = from.Attach(t, "app", s.legacy.Referrer)
	s.second = from.Attach(t, "app", s.key.Sign(t, s.legacy.Referrer).Referrer)
	from.Push(t, "app", s.legacy.Tag, s.legacy.Tagged)
	from.Push(t, "app", legacyTag(s.sbom.Digest, "att"), registrytest.Image{Seed: "attestation of the SBOM"})
	return s
}

func legacyTag(d digest.Digest, kind string) string {
	return "sha256-" + d.Encoded() + "." + kind
}

// assertCopied fails the test unless the destination has all referrers and lists them. The digests
// in later are additional referrers of the image.
func (s signedImage) assertCopied(t *testing.T, to *registrytest.Registry, later ...digest.Digest) {
	t.Helper()
	for _, p := range []registrytest.Pushed{s.sbom, s.platform, s.signature, s.second} {
		registrytest.Same(t, p.Tree, to.Read(t, "to", string(p.Digest)))
	}
	for subject, want := range map[digest.Digest][]digest.Digest{
		s.image.Digest:              append(later, s.sbom.Digest, s.signature.Digest),
		s.image.Manifests[0].Digest: {s.platform.Digest},
		s.signature.Digest:          {s.second.Digest},
	} {
		listed := to.Referrers(t, "to", subject)
		slices.Sort(listed)
		slices.Sort(want)
		if !slices.Equal(listed, want) {
			t.Errorf("referrers of %s = %s, want %s", subject, listed, want)
		}
	}
	if err := s.key.VerifyReferrer(t, to, "to", s.image.Digest); err != nil {
		t.Errorf("signature verification failed: %v", err)
	}
	if err := s.key.VerifyTag(t, to, "to", s.image.Digest); err != nil {
		t.Errorf("verification of the signature under a tag failed: %v", err)
	}
	if !to.HasManifest(t, "to", legacyTag(s.sbom.Digest, "att")) {
		t.Error("destination does not have the attestation of a referrer")
	}
}

// registryKinds returns constructors of registries with and without the referrers API.
func registryKinds(t *testing.T) map[string]func() *registrytest.Registry {
	return map[string]func() *registrytest.Registry{
		"v3": func() *registrytest.Registry { return registrytest.V3(t) },
		"v2": func() *registrytest.Registry { return registrytest.V2(t) },
		"referrers_api": func() *registrytest.Registry {
			return registrytest.Scripted(t, registrytest.Behaviour{Referrers: true, PageSize: 1})
		},
		"immutable_tags": func() *registrytest.Registry {
			return registrytest.Scripted(t, registrytest.Behaviour{ImmutableTags: true})
		},
	}
}

func TestCopyReferrers_RegistryKinds(t *testing.T) {
	t.Parallel()
	for source, from := range registryKinds(t) {
		for destination, to := range registryKinds(t) {
			if strings.Contains(source, "immutable") {
				continue // its referrers tag cannot get a second entry
			}
			t.Run(source+"_to_"+destination, func(t *testing.T) {
				t.Parallel()
				from, to := from(), to()
				s := newSignedImage(t, from)
				e := newEngine(t)
				report := e.copy(t, from.Ref("app", "1"), to.Ref("to", "1"), withReferrers())
				registrytest.Same(t, s.image.Tree, to.Read(t, "to", "1"))
				s.assertCopied(t, to)
				if len(report.Referrers) != 6 || report.ReferrersDigest == "" || len(report.ReferrerTags) != 2 {
					t.Errorf("Copy() report has %d referrers with digest %q and tags %v, want 6 referrers, a digest and 2 tags", len(report.Referrers), report.ReferrersDigest, report.ReferrerTags)
				}
				// Copy again with a new engine, like a new process.
				again := newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"), withReferrers())
				if again.Manifests != 0 || again.Copied.Blobs != 0 || again.ReferrersDigest != report.ReferrersDigest {
					t.Errorf("second Copy() report = %+v, want no pushes and referrers digest %s", again, report.ReferrersDigest)
				}
			})
		}
	}
}

func TestCopyReferrers_Disabled(t *testing.T) {
	t.Parallel()
	from, to := registrytest.V3(t), registrytest.V3(t)
	s := newSignedImage(t, from)
	report := newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"))
	if tags := to.Tags(t, "to"); !slices.Equal(tags, []string{"1"}) || report.ReferrersDigest != "" {
		t.Errorf("destination tags = %v and report = %+v, want tag 1 and no referrers", tags, report)
	}
	if s.key.VerifyReferrer(t, to, "to", s.image.Digest) == nil || s.key.VerifyTag(t, to, "to", s.image.Digest) == nil {
		t.Error("destination has a signature, want none")
	}
}

func TestCopyReferrers_Types(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		types     []string
		referrers func(signedImage) []registrytest.Pushed
		tags      int
	}{
		"sboms":            {[]string{sbomType}, func(s signedImage) []registrytest.Pushed { return []registrytest.Pushed{s.sbom, s.platform} }, 0},
		"signatures":       {[]string{registrytest.SignatureType}, func(s signedImage) []registrytest.Pushed { return []registrytest.Pushed{s.signature, s.second} }, 0},
		"layer_media_type": {[]string{"application/vnd.dev.cosign.simplesigning.v1+json"}, func(signedImage) []registrytest.Pushed { return nil }, 1},
		"no_match":         {[]string{"application/vnd.example.other"}, func(signedImage) []registrytest.Pushed { return nil }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from, to := registrytest.Scripted(t, registrytest.Behaviour{Referrers: true}), registrytest.Scripted(t, registrytest.Behaviour{Referrers: true})
			s := newSignedImage(t, from)
			report := newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"), withReferrers(c.types...))
			want := c.referrers(s)
			if len(report.Referrers) != len(want)+c.tags || len(report.ReferrerTags) != c.tags {
				t.Errorf("Copy() report has %d referrers and tags %v, want %d and %d tags", len(report.Referrers), report.ReferrerTags, len(want)+c.tags, c.tags)
			}
			for _, p := range []registrytest.Pushed{s.sbom, s.platform, s.signature, s.second} {
				expected := slices.ContainsFunc(want, func(w registrytest.Pushed) bool { return w.Digest == p.Digest })
				if got := to.HasManifest(t, "to", string(p.Digest)); got != expected {
					t.Errorf("destination has %s of type %s: %t, want %t", p.Digest, p.ArtifactType, got, expected)
				}
			}
		})
	}
}

// TestCopyReferrers_PushOrder verifies that subjects are pushed before their referrers. Docker Hub
// rejects a manifest whose subject does not exist.
func TestCopyReferrers_PushOrder(t *testing.T) {
	t.Parallel()
	for _, api := range []bool{true, false} {
		from := registrytest.Scripted(t, registrytest.Behaviour{Referrers: true})
		s := newSignedImage(t, from)
		to := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{Referrers: api}))
		newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"), withReferrers())
		var order []string
		for _, r := range to.Requests() {
			if r.Method == http.MethodPut && strings.Contains(r.Path, "/manifests/") {
				order = append(order, strings.TrimPrefix(r.Path, "/v2/to/manifests/"))
			}
		}
		before := func(first, then string) {
			t.Helper()
			if i, j := slices.Index(order, first), slices.Index(order, then); i < 0 || j < 0 || i > j {
				t.Errorf("referrers API %t: push of %s is number %d, that of %s is number %d", api, first, i, then, j)
			}
		}
		before(string(s.image.Digest), string(s.sbom.Digest))
		before(string(s.image.Digest), string(s.signature.Digest))
		before(string(s.image.Manifests[0].Digest), string(s.platform.Digest))
		before(string(s.signature.Digest), string(s.second.Digest))
		before(string(s.second.Digest), "1")
		before(s.legacy.Tag, "1")
		if order[len(order)-1] != "1" {
			t.Errorf("referrers API %t: last push = %s, want 1", api, order[len(order)-1])
		}
		if list := registrytest.ReferrersTag(s.image.Digest); slices.Contains(order, list) == api {
			t.Errorf("referrers API %t: pushes = %q, want the referrers tag: %t", api, order, !api)
		}
	}
}

func TestCopyReferrers_NewReferrer(t *testing.T) {
	t.Parallel()
	for _, api := range []bool{true, false} {
		b := registrytest.Behaviour{Referrers: api}
		from, to := registrytest.Scripted(t, b), registrytest.Intercept(t, registrytest.Scripted(t, b))
		s := newSignedImage(t, from)
		e := newEngine(t)
		before := e.copy(t, from.Ref("app", "1"), to.Ref("to", "1"), withReferrers())
		late := from.Attach(t, "app", registrytest.Artifact{Seed: "late", Type: sbomType, Subject: registrytest.MultiArch("a")})
		to.Forget()
		report := e.copy(t, from.Ref("app", "1"), to.Ref("to", "1"), withReferrers())
		if report.ReferrersDigest == before.ReferrersDigest || len(report.Referrers) != len(before.Referrers)+1 {
			t.Errorf("referrers API %t: first report %+v\nsecond report %+v, want one more referrer", api, before, report)
		}
		// The destination already has its config {}, which other referrers share.
		if report.Copied.Blobs != 1 || to.Count("PUT", "/v2/to/manifests/"+string(late.Digest)) != 1 || to.Count("PUT", tagPath) != 0 {
			t.Errorf("referrers API %t: report = %+v, want 1 blob and 1 manifest\n%v", api, report, to.Requests())
		}
		s.assertCopied(t, to.Registry, late.Digest)
	}
}

func TestCopyReferrers_ExistingIndexTag(t *testing.T) {
	t.Parallel()
	from, to := registrytest.V3(t), registrytest.V3(t)
	s := newSignedImage(t, from)
	to.Push(t, "to", "", registrytest.MultiArch("a"))
	own := to.Attach(t, "to", registrytest.Artifact{Seed: "made there", Subject: registrytest.MultiArch("a")})
	newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"), withReferrers())
	s.assertCopied(t, to, own.Digest)
	list := to.Read(t, "to", registrytest.ReferrersTag(s.image.Digest))
	content := list.Manifests[list.Root].Content
	for _, want := range []string{`"artifactType":"` + sbomType + `"`, `"made":"by hand"`} {
		if !strings.Contains(content, want) {
			t.Errorf("index under the referrers tag does not contain %s: %s", want, content)
		}
	}
}

func TestCopyReferrers_MissingIndexEntry(t *testing.T) {
	t.Parallel()
	from, to := registrytest.V3(t), registrytest.V3(t)
	s := newSignedImage(t, from)
	to.Push(t, "to", "", registrytest.MultiArch("a"))
	gone := to.Attach(t, "to", registrytest.Artifact{Seed: "gone", Subject: registrytest.MultiArch("a")})
	to.DeleteManifest(t, "to", gone.Digest)
	newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"), withReferrers())
	s.assertCopied(t, to)
}

// TestCopyReferrers_CollectedBeforeListing verifies that a copy fails if a garbage collection
// deletes a referrer before it is listed.
func TestCopyReferrers_CollectedBeforeListing(t *testing.T) {
	t.Parallel()
	from, reg := registrytest.V3(t), registrytest.V3(t)
	to := registrytest.Intercept(t, reg)
	image := registrytest.Image{Seed: "a"}
	from.Push(t, "app", "1", image)
	referrer := from.Attach(t, "app", registrytest.Artifact{Seed: "ours", Subject: image})
	list := registrytest.ReferrersTag(image.Build().Digest)
	to.On("PUT", "/v2/to/manifests/"+list).Times(1).Do(func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		reg.DeleteManifest(t, "to", referrer.Digest)
		next.ServeHTTP(w, req)
	})
	e := newEngine(t)
	e.copyError(t, from.Ref("app", "1"), to.Ref("to", "1"), registry.Destination, registry.ErrMissingContent, withReferrers())
	if to.HasManifest(t, "to", list) || to.HasManifest(t, "to", "1") {
		t.Error("a tag was written, want none")
	}
	e.copy(t, from.Ref("app", "1"), to.Ref("to", "1"), withReferrers())
	if listed := to.Referrers(t, "to", image.Build().Digest); !slices.Equal(listed, []digest.Digest{referrer.Digest}) {
		t.Errorf("referrers = %s, want %s", listed, referrer.Digest)
	}
}

func TestCopyReferrers_ConcurrentCopies(t *testing.T) {
	t.Parallel()
	a, b, to := registrytest.V3(t), registrytest.V3(t), registrytest.V3(t)
	e := newEngine(t)
	var want []digest.Digest
	var group sync.WaitGroup
	for i, from := range []*registrytest.Registry{a, b} {
		from.Push(t, "app", "1", registrytest.Image{Seed: "a"})
		for _, seed := range []string{"x", "y"} {
			want = append(want, from.Attach(t, "app", registrytest.Artifact{Seed: seed + from.Addr, Subject: registrytest.Image{Seed: "a"}}).Digest)
		}
		group.Go(func() { e.copy(t, from.Ref("app", "1"), to.Ref("to", fmt.Sprint("1.", i)), withReferrers()) })
	}
	group.Wait()
	listed := to.Referrers(t, "to", registrytest.Image{Seed: "a"}.Build().Digest)
	slices.Sort(listed)
	slices.Sort(want)
	if !slices.Equal(listed, want) {
		t.Errorf("referrers = %s, want %s", listed, want)
	}
}

// overwriteIndexTag simulates another client that replaces the index with an empty one after each
// push.
func overwriteIndexTag(t *testing.T, to *registrytest.Proxy, reg *registrytest.Registry, list string, times int) {
	empty := registrytest.Manifest{MediaType: ocispec.MediaTypeImageIndex, Bytes: []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`)}
	to.On("PUT", "/v2/to/manifests/"+list).Times(times).Do(func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		next.ServeHTTP(w, req)
		reg.PutManifest(t, "to", list, empty)
	})
}

func TestCopyReferrers_IndexTagOverwritten(t *testing.T) {
	t.Parallel()
	image := registrytest.Image{Seed: "a"}
	subject := image.Build().Digest
	for name, c := range map[string]struct {
		times int
		kind  error
	}{"once": {1, nil}, "always": {100, registry.ErrMismatch}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from, reg := registrytest.V3(t), registrytest.Scripted(t, registrytest.Behaviour{})
			to := registrytest.Intercept(t, reg)
			from.Push(t, "app", "1", image)
			referrer := from.Attach(t, "app", registrytest.Artifact{Seed: "ours", Subject: image})
			overwriteIndexTag(t, to, reg, registrytest.ReferrersTag(subject), c.times)
			if c.kind != nil {
				newEngine(t).copyError(t, from.Ref("app", "1"), to.Ref("to", "1"), registry.Destination, c.kind, withReferrers())
				if to.HasManifest(t, "to", "1") {
					t.Error("tag was written, want none")
				}
				return
			}
			newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"), withReferrers())
			if listed := to.Referrers(t, "to", subject); !slices.Equal(listed, []digest.Digest{referrer.Digest}) {
				t.Errorf("referrers = %s, want %s", listed, referrer.Digest)
			}
		})
	}
}

func TestCopyReferrers_IndexTagIsNotAnIndex(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	s := newSignedImage(t, from.Registry)
	list := registrytest.ReferrersTag(s.image.Digest)
	other := to.Push(t, "to", list, registrytest.Image{Seed: "other"})
	e := newEngine(t).copyError(t, from.Ref("app", "1"), to.Ref("to", "1"), registry.Destination, registry.ErrTagHeld, withReferrers())
	assertContains(t, e.Error(), list, string(other.Digest))
	if to.Digest(t, "to", list) != other.Digest || to.HasManifest(t, "to", "1") {
		t.Error("a tag was written, want none")
	}
}

// TestCopyReferrers_FalseListing verifies that a listed manifest is copied only if its own
// subject is the image.
func TestCopyReferrers_FalseListing(t *testing.T) {
	t.Parallel()
	from, to := registrytest.Scripted(t, registrytest.Behaviour{Unchecked: true}), registrytest.Scripted(t, registrytest.Behaviour{})
	image := registrytest.Image{Seed: "a"}
	pushed := from.Push(t, "app", "1", image)
	right := from.Push(t, "app", "", registrytest.Artifact{Seed: "right", Subject: image})
	unrelated := []registrytest.Pushed{
		from.Push(t, "app", "", registrytest.Image{Seed: "no subject"}),
		from.Push(t, "app", "", registrytest.Artifact{Seed: "another subject", Subject: registrytest.Image{Seed: "b"}}),
	}
	listed := []ocispec.Descriptor{pushed.Descriptor(), right.Descriptor(), {MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("not there"), Size: 9}}
	for _, f := range unrelated {
		d := f.Descriptor()
		d.ArtifactType = sbomType
		listed = append(listed, d)
	}
	content, err := json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: listed})
	if err != nil {
		t.Fatal(err)
	}
	from.PutManifest(t, "app", registrytest.ReferrersTag(pushed.Digest), registrytest.Manifest{MediaType: ocispec.MediaTypeImageIndex, Bytes: content})
	if report := newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"), withReferrers()); len(report.Referrers) != 1 {
		t.Errorf("Copy() referrers = %s, want 1", report.Referrers)
	}
	if !to.HasManifest(t, "to", string(right.Digest)) {
		t.Errorf("destination does not have the referrer %s", right.Digest)
	}
	for _, f := range unrelated {
		if to.HasManifest(t, "to", string(f.Digest)) {
			t.Errorf("destination has %s, which is not a referrer", f.Digest)
		}
	}
}

// TestCopyReferrers_FalseArtifactType verifies that the artifact type is that of the manifest,
// regardless of the list.
func TestCopyReferrers_FalseArtifactType(t *testing.T) {
	t.Parallel()
	from, to := registrytest.Scripted(t, registrytest.Behaviour{}), registrytest.Scripted(t, registrytest.Behaviour{})
	image := registrytest.Image{Seed: "a"}
	pushed := from.Push(t, "app", "1", image)
	sbom := from.Push(t, "app", "", registrytest.Artifact{Seed: "sbom", Type: sbomType, Subject: image}).Descriptor()
	other := from.Push(t, "app", "", registrytest.Artifact{Seed: "other", Type: "application/vnd.example.other", Subject: image}).Descriptor()
	sbom.ArtifactType, other.ArtifactType = "", sbomType
	content, err := json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{other, sbom}})
	if err != nil {
		t.Fatal(err)
	}
	from.PutManifest(t, "app", registrytest.ReferrersTag(pushed.Digest), registrytest.Manifest{MediaType: ocispec.MediaTypeImageIndex, Bytes: content})
	report := newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"), withReferrers(sbomType))
	if !slices.Equal(report.Referrers, []digest.Digest{sbom.Digest}) {
		t.Errorf("Copy() referrers = %s, want %s", report.Referrers, sbom.Digest)
	}
}

// TestCopyReferrers_ListingCycle verifies that a walk ends if two manifests are listed as
// referrers of each other, and that it ignores the false entry.
func TestCopyReferrers_ListingCycle(t *testing.T) {
	t.Parallel()
	from, to := registrytest.Scripted(t, registrytest.Behaviour{Unchecked: true}), registrytest.Scripted(t, registrytest.Behaviour{})
	image := registrytest.Image{Seed: "a"}
	pushed := from.Push(t, "app", "1", image)
	sbom := from.Attach(t, "app", registrytest.Artifact{Seed: "sbom", Subject: image})
	content, err := json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{pushed.Descriptor(), sbom.Descriptor()}})
	if err != nil {
		t.Fatal(err)
	}
	for _, subject := range []digest.Digest{pushed.Digest, sbom.Digest} {
		from.PutManifest(t, "app", registrytest.ReferrersTag(subject), registrytest.Manifest{MediaType: ocispec.MediaTypeImageIndex, Bytes: content})
	}
	report := newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"), withReferrers())
	if !slices.Equal(report.Referrers, []digest.Digest{sbom.Digest}) {
		t.Errorf("Copy() referrers = %s, want %s", report.Referrers, sbom.Digest)
	}
}

// TestCopyReferrers_MaxDepth verifies that the depth of referrers is limited. The test uses a
// long chain, because digests prevent a cycle.
func TestCopyReferrers_MaxDepth(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	var subject registrytest.Content = registrytest.Image{Seed: "a"}
	from.Push(t, "app", "1", subject)
	for i := range 40 {
		subject = registrytest.Artifact{Seed: fmt.Sprint(i), Layers: []registrytest.Blob{}, Subject: subject}
		from.Attach(t, "app", subject)
	}
	newEngine(t).copyError(t, from.Ref("app", "1"), to.Ref("to", "1"), registry.Source, registry.ErrLimit, withReferrers())
	if to.HasManifest(t, "to", "1") {
		t.Error("tag was written, want none")
	}
}

func TestCopyReferrers_ReferrerInIndex(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	image := mixedIndex("a") // the subject of its last child is the first child
	pushed := from.Push(t, "app", "1", image)
	from.Attach(t, "app", image.Manifests[3])
	report := newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"), withReferrers())
	registrytest.Same(t, pushed.Tree, to.Read(t, "to", "1"))
	if listed := to.Referrers(t, "to", image.Manifests[0].Build().Digest); len(report.Referrers) != 1 || len(listed) != 1 {
		t.Errorf("Copy() report has %d referrers and destination lists %s, want 1", len(report.Referrers), listed)
	}
}

func TestCopyReferrers_ArtifactManifest(t *testing.T) {
	t.Parallel()
	b := registrytest.Behaviour{Referrers: true}
	for name, image := range map[string]registrytest.Content{
		"image": registrytest.Image{Seed: "a"}, "docker_image": registrytest.Image{Seed: "a", Docker: true},
		"docker_index": registrytest.Index{Docker: true, Manifests: []registrytest.Content{registrytest.Image{Seed: "a", Docker: true}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from, to := registrytest.Scripted(t, b), registrytest.Scripted(t, b)
			from.Push(t, "app", "1", image)
			old := from.Attach(t, "app", registrytest.Artifact{Seed: "old", Subject: image, Old: true})
			newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"), withReferrers())
			registrytest.Same(t, old.Tree, to.Read(t, "to", string(old.Digest)))
		})
	}
}

func TestCopyReferrers_LegacySignatureTag(t *testing.T) {
	t.Parallel()
	image := registrytest.Image{Seed: "a"}
	ours, theirs := registrytest.NewSigningKey(t).Sign(t, image).Tagged, registrytest.NewSigningKey(t).Sign(t, image).Tagged
	both := registrytest.Image{Layers: slices.Concat(ours.Layers, theirs.Layers)}
	refusal := errors.New("may not replace")
	for name, c := range map[string]struct {
		current, source registrytest.Image
		change          func(j *copier.Job, tag string, current digest.Digest)
		kind            error // nil if the tag is replaced
	}{
		"other_signature": {theirs, ours, nil, registry.ErrTagHeld},
		"subset":          {ours, both, nil, nil},
		"superset":        {both, ours, nil, registry.ErrTagHeld},
		"written_by_earlier_copy": {theirs, ours, func(j *copier.Job, tag string, current digest.Digest) {
			j.ReferrerTags = map[string]digest.Digest{tag: current}
		}, nil},
		"may_not_replace": {ours, both, func(j *copier.Job, _ string, _ digest.Digest) {
			j.MayReplace = func(string, digest.Digest) error { return refusal }
		}, refusal},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from, to := pair(t, registrytest.Behaviour{})
			from.Push(t, "app", "1", image)
			tag := legacyTag(image.Build().Digest, "sig")
			updated, current := from.Push(t, "app", tag, c.source), to.Push(t, "to", tag, c.current)
			e := newEngine(t)
			job := e.job(t, from.Ref("app", "1"), to.Ref("to", "1"))
			withReferrers()(&job)
			if c.change != nil {
				c.change(&job, tag, current.Digest)
			}
			_, err := e.copier.Copy(t.Context(), job)
			want := current.Digest
			if c.kind == nil {
				want = updated.Digest
			}
			if !errors.Is(err, c.kind) || to.Digest(t, "to", tag) != want || to.HasManifest(t, "to", "1") != (c.kind == nil) {
				t.Errorf("Copy() error = %v and tag has digest %s, want %s", err, to.Digest(t, "to", tag), want)
			}
		})
	}
}

// TestCopyReferrers_MissingContent verifies that a referrer is uploaded again if the
// destination has lost part of its content.
func TestCopyReferrers_MissingContent(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	s := newSignedImage(t, from.Registry)
	e := newEngine(t)
	e.copy(t, from.Ref("app", "1"), to.Ref("to", "1"), withReferrers())
	to.DeleteTag(t, "to", s.legacy.Tag)
	to.DeleteBlob(t, "to", s.legacy.Tagged.Build().Blobs[1].Descriptor().Digest)
	newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"), withReferrers())
	s.assertCopied(t, to.Registry)
}

// TestCopyReferrers_LegacyTagNames verifies that the client requests the tags of referrers by name.
// Listing all tags of a repository would be expensive.
func TestCopyReferrers_LegacyTagNames(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	image := registrytest.Image{Seed: "a"}
	pushed := from.Push(t, "app", "1", image)
	for _, kind := range []string{"sig", "att", "sbom"} {
		from.Push(t, "app", legacyTag(pushed.Digest, kind), registrytest.Image{Seed: kind})
	}
	from.Forget()
	report := newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"), withReferrers())
	if len(report.ReferrerTags) != 3 || from.Count(".*", ".*/tags/.*")+to.Count(".*", ".*/tags/.*") != 0 {
		t.Errorf("Copy() referrer tags = %v, want 3 and no requests to list tags: %v", report.ReferrerTags, from.Requests())
	}
}

// TestCopyReferrers_LegacyTagCycle verifies that a walk ends if the tags of referrers create a
// cycle, which digests do not prevent.
func TestCopyReferrers_LegacyTagCycle(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	leaf := registrytest.Image{Seed: "leaf"}
	inner := registrytest.Index{Manifests: []registrytest.Content{leaf}}
	outer := registrytest.Index{Manifests: []registrytest.Content{inner}, Annotations: map[string]string{"is": "outer"}}
	pushed := from.Push(t, "app", "1", outer)
	from.Retag(t, "app", string(leaf.Build().Digest), legacyTag(pushed.Digest, "sig"))
	from.Retag(t, "app", string(pushed.Digest), legacyTag(leaf.Build().Digest, "att"))
	newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"), withReferrers())
	registrytest.Same(t, pushed.Tree, to.Read(t, "to", "1"))

	// The tag of a referrer of the image has a manifest that the image references.
	first := registrytest.Index{Manifests: []registrytest.Content{registrytest.Index{Manifests: []registrytest.Content{registrytest.Image{Seed: "x"}}}}}
	root := from.Push(t, "app", "2", first)
	from.Push(t, "app", legacyTag(root.Digest, "sig"), registrytest.Image{Seed: "x"})
	newEngine(t).copy(t, from.Ref("app", "2"), to.Ref("to", "2"), withReferrers())
	registrytest.Same(t, root.Tree, to.Read(t, "to", "2"))
}

func TestCopyReferrers_InvalidLegacyTag(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	image := registrytest.Image{Seed: "a"}
	pushed := from.Push(t, "app", "1", image)
	tag := legacyTag(pushed.Digest, "sig")
	junk := `{"schemaVersion":2,"layers":1}`
	from.On("GET|HEAD", "/v2/app/manifests/("+tag+"|"+string(digest.FromString(junk))+")").Reply(200, http.Header{
		"Content-Type": {ocispec.MediaTypeImageManifest}, "Docker-Content-Digest": {string(digest.FromString(junk))},
	}, junk)
	report := newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"), withReferrers())
	if len(report.Referrers) != 0 || len(report.Warnings) != 1 || !strings.Contains(report.Warnings[0], tag) {
		t.Errorf("Copy() report = %+v, want no referrers and 1 warning", report)
	}
}

func TestCopyReferrers_SameRepository(t *testing.T) {
	t.Parallel()
	reg := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{Referrers: true}))
	s := newSignedImage(t, reg.Registry)
	reg.Forget()
	report := newEngine(t).copy(t, reg.Ref("app", "1"), reg.Ref("app", "2"), withReferrers())
	if n := reg.Count("PUT", ".*"); n != 1 || len(report.Referrers) != 6 || reg.Digest(t, "app", "2") != s.image.Digest {
		t.Errorf("registry received %d PUT requests and report = %+v, want 1 and 6 referrers", n, report)
	}
}

func TestCopyReferrers_Platform(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{Referrers: true})
	s := newSignedImage(t, from.Registry)
	platform, err := registry.ParsePlatform("linux/amd64")
	if err != nil {
		t.Fatal(err)
	}
	report := newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"), withReferrers(), func(j *copier.Job) { j.Platforms = []registry.Platform{platform} })
	if report.Digest != s.image.Manifests[0].Digest || len(report.Referrers) != 1 || !to.HasManifest(t, "to", string(s.platform.Digest)) {
		t.Errorf("Copy() report = %+v, want 1 referrer", report)
	}
}

func TestFindReferrers(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{Referrers: true})
	newSignedImage(t, from.Registry)
	e := newEngine(t)
	job := e.job(t, from.Ref("app", "1"), to.Ref("to", "1"))
	withReferrers()(&job)
	from.Forget()
	found, err := e.copier.FindReferrers(t.Context(), job)
	if err != nil || len(to.Requests()) != 0 || from.Count(".*", ".*/blobs/.*") != 0 {
		t.Errorf("FindReferrers() error = %v with source requests %v and destination requests %v", err, from.Requests(), to.Requests())
	}
	if copied := e.run(t, job); copied.ReferrersDigest != found.ReferrersDigest || len(copied.Referrers) != len(found.Referrers) || len(found.Referrers) != 6 {
		t.Errorf("FindReferrers() = %+v, want the same as Copy() = %+v", found, copied)
	}
}

// TestCopyReferrers_SourceError verifies that a copy fails if the referrers cannot be read.
// They must not be treated as missing.
func TestCopyReferrers_SourceError(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]string{"list": ".*/referrers/.*", "tag": `.*\.sig`} {
		for status, kind := range map[int]error{401: registry.ErrUnauthorized, 403: registry.ErrDenied, 503: registry.ErrUnavailable} {
			t.Run(fmt.Sprintf("%s_%d", name, status), func(t *testing.T) {
				t.Parallel()
				from, to := pair(t, registrytest.Behaviour{})
				from.Push(t, "app", "1", registrytest.Image{Seed: "a"})
				from.On(".*", path).Reply(status, nil, string(registrytest.ErrorBody("UNKNOWN", "not now")))
				newEngine(t).copyError(t, from.Ref("app", "1"), to.Ref("to", "1"), registry.Source, kind, withReferrers())
				if to.HasManifest(t, "to", "1") {
					t.Error("tag was written, want none")
				}
			})
		}
	}
}
