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

// withReferrers asks for what refers to the image too, of some types or all.
func withReferrers(types ...string) func(*copier.Job) {
	return func(j *copier.Job) { j.Referrers, j.ReferrerTypes = true, types }
}

// signed is an image of two platforms at a source, with all that may refer to it:
// an SBOM of the whole and one of a platform, a signature, a signature of the
// signature, and what cosign keeps under tags.
type signed struct {
	image, sbom, platform, signature, second registrytest.Pushed
	key                                      registrytest.SigningKey
	legacy                                   registrytest.Signature
}

func newSigned(t *testing.T, from *registrytest.Registry) signed {
	t.Helper()
	content := registrytest.MultiArch("a")
	s := signed{key: registrytest.NewSigningKey(t), image: from.Push(t, "app", "1", content)}
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

// arrived fails the test where a referrer is missing or is not found; there may be
// later ones of the image.
func (s signed) arrived(t *testing.T, to *registrytest.Registry, later ...digest.Digest) {
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
			t.Errorf("the destination lists %s as referring to %s, want %s", listed, subject, want)
		}
	}
	if err := s.key.VerifyReferrer(t, to, "to", s.image.Digest); err != nil {
		t.Errorf("the signature does not verify: %v", err)
	}
	if err := s.key.VerifyTag(t, to, "to", s.image.Digest); err != nil {
		t.Errorf("the signature under a tag does not verify: %v", err)
	}
	if !to.HasManifest(t, "to", legacyTag(s.sbom.Digest, "att")) {
		t.Error("what is tagged as an attestation of a referrer is not there")
	}
}

// registriesOfEachKind are registries with a referrers API and without one.
func registriesOfEachKind(t *testing.T) map[string]func() *registrytest.Registry {
	return map[string]func() *registrytest.Registry{
		"v3": func() *registrytest.Registry { return registrytest.V3(t) },
		"v2": func() *registrytest.Registry { return registrytest.V2(t) },
		"a referrers API": func() *registrytest.Registry {
			return registrytest.Scripted(t, registrytest.Behaviour{Referrers: true, PageSize: 1})
		},
		"no API, tags immutable": func() *registrytest.Registry {
			return registrytest.Scripted(t, registrytest.Behaviour{ImmutableTags: true})
		},
	}
}

func TestCopyReferrers_RegistryKinds(t *testing.T) {
	t.Parallel()
	for source, from := range registriesOfEachKind(t) {
		for destination, to := range registriesOfEachKind(t) {
			if strings.Contains(source, "immutable") {
				continue // it takes no second entry in a list
			}
			t.Run(source+" to "+destination, func(t *testing.T) {
				t.Parallel()
				from, to := from(), to()
				s := newSigned(t, from)
				e := newEngine(t)
				report := e.copy(t, from.Ref("app", "1"), to.Ref("to", "1"), withReferrers())
				registrytest.Same(t, s.image.Tree, to.Read(t, "to", "1"))
				s.arrived(t, to)
				if len(report.Referrers) != 6 || report.ReferrersDigest == "" || len(report.ReferrerTags) != 2 {
					t.Errorf("the report says %d referrers, %q, under tags %v", len(report.Referrers), report.ReferrersDigest, report.ReferrerTags)
				}
				// Once more, and by somebody who knows nothing of the first time.
				again := newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"), withReferrers())
				if again.Manifests != 0 || again.Copied.Blobs != 0 || again.ReferrersDigest != report.ReferrersDigest {
					t.Errorf("a second copy says %+v", again)
				}
			})
		}
	}
}

func TestCopyReferrers_Disabled(t *testing.T) {
	t.Parallel()
	from, to := registrytest.V3(t), registrytest.V3(t)
	s := newSigned(t, from)
	report := newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"))
	if tags := to.Tags(t, "to"); !slices.Equal(tags, []string{"1"}) || report.ReferrersDigest != "" {
		t.Errorf("the tags are %v; the report says %+v", tags, report)
	}
	if s.key.VerifyReferrer(t, to, "to", s.image.Digest) == nil || s.key.VerifyTag(t, to, "to", s.image.Digest) == nil {
		t.Error("a signature came along")
	}
}

func TestCopyReferrers_Types(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		types     []string
		referrers func(signed) []registrytest.Pushed
		tags      int
	}{
		"SBOMs":                   {[]string{sbomType}, func(s signed) []registrytest.Pushed { return []registrytest.Pushed{s.sbom, s.platform} }, 0},
		"signatures":              {[]string{registrytest.SignatureType}, func(s signed) []registrytest.Pushed { return []registrytest.Pushed{s.signature, s.second} }, 0},
		"by the type of a layer":  {[]string{"application/vnd.dev.cosign.simplesigning.v1+json"}, func(signed) []registrytest.Pushed { return nil }, 1},
		"a type that nothing has": {[]string{"application/vnd.example.other"}, func(signed) []registrytest.Pushed { return nil }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from, to := registrytest.Scripted(t, registrytest.Behaviour{Referrers: true}), registrytest.Scripted(t, registrytest.Behaviour{Referrers: true})
			s := newSigned(t, from)
			report := newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"), withReferrers(c.types...))
			want := c.referrers(s)
			if len(report.Referrers) != len(want)+c.tags || len(report.ReferrerTags) != c.tags {
				t.Errorf("the report says %d referrers and tags %v", len(report.Referrers), report.ReferrerTags)
			}
			for _, p := range []registrytest.Pushed{s.sbom, s.platform, s.signature, s.second} {
				wanted := slices.ContainsFunc(want, func(w registrytest.Pushed) bool { return w.Digest == p.Digest })
				if to.HasManifest(t, "to", string(p.Digest)) != wanted {
					t.Errorf("%s of %s: wanted is %v", p.Digest, p.ArtifactType, wanted)
				}
			}
		})
	}
}

// Docker Hub refuses what refers to something that is not there.
func TestCopyReferrers_PushOrder(t *testing.T) {
	t.Parallel()
	for _, api := range []bool{true, false} {
		from := registrytest.Scripted(t, registrytest.Behaviour{Referrers: true})
		s := newSigned(t, from)
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
				t.Errorf("API %v: %s is put as number %d and %s as %d", api, first, i, then, j)
			}
		}
		before(string(s.image.Digest), string(s.sbom.Digest))
		before(string(s.image.Digest), string(s.signature.Digest))
		before(string(s.image.Manifests[0].Digest), string(s.platform.Digest))
		before(string(s.signature.Digest), string(s.second.Digest))
		before(string(s.second.Digest), "1")
		before(s.legacy.Tag, "1")
		if order[len(order)-1] != "1" {
			t.Errorf("API %v: the last that is put is %s", api, order[len(order)-1])
		}
		if list := registrytest.ReferrersTag(s.image.Digest); slices.Contains(order, list) == api {
			t.Errorf("API %v: it is put in %q", api, order)
		}
	}
}

func TestCopyReferrers_NewReferrer(t *testing.T) {
	t.Parallel()
	for _, api := range []bool{true, false} {
		b := registrytest.Behaviour{Referrers: api}
		from, to := registrytest.Scripted(t, b), registrytest.Intercept(t, registrytest.Scripted(t, b))
		s := newSigned(t, from)
		e := newEngine(t)
		before := e.copy(t, from.Ref("app", "1"), to.Ref("to", "1"), withReferrers())
		late := from.Attach(t, "app", registrytest.Artifact{Seed: "late", Type: sbomType, Subject: registrytest.MultiArch("a")})
		to.Forget()
		report := e.copy(t, from.Ref("app", "1"), to.Ref("to", "1"), withReferrers())
		if report.ReferrersDigest == before.ReferrersDigest || len(report.Referrers) != len(before.Referrers)+1 {
			t.Errorf("API %v: before %+v\nafter %+v", api, before, report)
		}
		// Its configuration, {}, is a blob that others brought.
		if report.Copied.Blobs != 1 || to.Count("PUT", "/v2/to/manifests/"+string(late.Digest)) != 1 || to.Count("PUT", tagPath) != 0 {
			t.Errorf("API %v: %+v\n%v", api, report, to.Requests())
		}
		s.arrived(t, to.Registry, late.Digest)
	}
}

func TestCopyReferrers_ExistingIndexTag(t *testing.T) {
	t.Parallel()
	from, to := registrytest.V3(t), registrytest.V3(t)
	s := newSigned(t, from)
	to.Push(t, "to", "", registrytest.MultiArch("a"))
	own := to.Attach(t, "to", registrytest.Artifact{Seed: "made there", Subject: registrytest.MultiArch("a")})
	newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"), withReferrers())
	s.arrived(t, to, own.Digest)
	list := to.Read(t, "to", registrytest.ReferrersTag(s.image.Digest))
	content := list.Manifests[list.Root].Content
	for _, want := range []string{`"artifactType":"` + sbomType + `"`, `"made":"by hand"`} {
		if !strings.Contains(content, want) {
			t.Errorf("the list does not say %s: %s", want, content)
		}
	}
}

func TestCopyReferrers_MissingIndexEntry(t *testing.T) {
	t.Parallel()
	from, to := registrytest.V3(t), registrytest.V3(t)
	s := newSigned(t, from)
	to.Push(t, "to", "", registrytest.MultiArch("a"))
	gone := to.Attach(t, "to", registrytest.Artifact{Seed: "gone", Subject: registrytest.MultiArch("a")})
	to.DeleteManifest(t, "to", gone.Digest)
	newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"), withReferrers())
	s.arrived(t, to)
}

// A garbage collection may take a referrer that no list names yet.
func TestCopyReferrers_CollectedBeforeListing(t *testing.T) {
	t.Parallel()
	from, behind := registrytest.V3(t), registrytest.V3(t)
	to := registrytest.Intercept(t, behind)
	image := registrytest.Image{Seed: "a"}
	from.Push(t, "app", "1", image)
	ours := from.Attach(t, "app", registrytest.Artifact{Seed: "ours", Subject: image})
	list := registrytest.ReferrersTag(image.Build().Digest)
	to.On("PUT", "/v2/to/manifests/"+list).Times(1).Do(func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		behind.DeleteManifest(t, "to", ours.Digest)
		next.ServeHTTP(w, req)
	})
	e := newEngine(t)
	e.refused(t, from.Ref("app", "1"), to.Ref("to", "1"), registry.Destination, registry.ErrMissingContent, withReferrers())
	if to.HasManifest(t, "to", list) || to.HasManifest(t, "to", "1") {
		t.Error("a tag was written")
	}
	e.copy(t, from.Ref("app", "1"), to.Ref("to", "1"), withReferrers())
	if listed := to.Referrers(t, "to", image.Build().Digest); !slices.Equal(listed, []digest.Digest{ours.Digest}) {
		t.Errorf("listed are %s", listed)
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
		t.Errorf("listed are %s, want %s", listed, want)
	}
}

// overwritten lets somebody else write an empty list each time that one is written.
func overwritten(t *testing.T, to *registrytest.Proxy, behind *registrytest.Registry, list string, times int) {
	empty := registrytest.Manifest{MediaType: ocispec.MediaTypeImageIndex, Bytes: []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`)}
	to.On("PUT", "/v2/to/manifests/"+list).Times(times).Do(func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		next.ServeHTTP(w, req)
		behind.PutManifest(t, "to", list, empty)
	})
}

func TestCopyReferrers_IndexTagOverwritten(t *testing.T) {
	t.Parallel()
	image := registrytest.Image{Seed: "a"}
	subject := image.Build().Digest
	for name, c := range map[string]struct {
		times int
		kind  error
	}{"once": {1, nil}, "each time": {100, registry.ErrMismatch}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from, behind := registrytest.V3(t), registrytest.Scripted(t, registrytest.Behaviour{})
			to := registrytest.Intercept(t, behind)
			from.Push(t, "app", "1", image)
			ours := from.Attach(t, "app", registrytest.Artifact{Seed: "ours", Subject: image})
			overwritten(t, to, behind, registrytest.ReferrersTag(subject), c.times)
			if c.kind != nil {
				newEngine(t).refused(t, from.Ref("app", "1"), to.Ref("to", "1"), registry.Destination, c.kind, withReferrers())
				if to.HasManifest(t, "to", "1") {
					t.Error("the tag was written")
				}
				return
			}
			newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"), withReferrers())
			if listed := to.Referrers(t, "to", subject); !slices.Equal(listed, []digest.Digest{ours.Digest}) {
				t.Errorf("listed are %s", listed)
			}
		})
	}
}

func TestCopyReferrers_IndexTagIsNotAnIndex(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	s := newSigned(t, from.Registry)
	list := registrytest.ReferrersTag(s.image.Digest)
	other := to.Push(t, "to", list, registrytest.Image{Seed: "somebody's"})
	e := newEngine(t).refused(t, from.Ref("app", "1"), to.Ref("to", "1"), registry.Destination, registry.ErrTagHeld, withReferrers())
	mentions(t, e.Error(), list, string(other.Digest))
	if to.Digest(t, "to", list) != other.Digest || to.HasManifest(t, "to", "1") {
		t.Error("a tag was written")
	}
}

// What a listing says is believed of nothing.
func TestCopyReferrers_FalseListing(t *testing.T) {
	t.Parallel()
	from, to := registrytest.Scripted(t, registrytest.Behaviour{Unchecked: true}), registrytest.Scripted(t, registrytest.Behaviour{})
	image := registrytest.Image{Seed: "a"}
	pushed := from.Push(t, "app", "1", image)
	right := from.Push(t, "app", "", registrytest.Artifact{Seed: "right", Subject: image})
	foreign := []registrytest.Pushed{
		from.Push(t, "app", "", registrytest.Image{Seed: "no subject"}),
		from.Push(t, "app", "", registrytest.Artifact{Seed: "another subject", Subject: registrytest.Image{Seed: "b"}}),
	}
	listed := []ocispec.Descriptor{pushed.Descriptor(), right.Descriptor(), {MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("not there"), Size: 9}}
	for _, f := range foreign {
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
		t.Errorf("%s came", report.Referrers)
	}
	if !to.HasManifest(t, "to", string(right.Digest)) {
		t.Error("the one that refers to it did not come")
	}
	for _, f := range foreign {
		if to.HasManifest(t, "to", string(f.Digest)) {
			t.Errorf("%s came", f.Digest)
		}
	}
}

// What a listing says of the type is believed neither.
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
		t.Errorf("%s came, want %s", report.Referrers, sbom.Digest)
	}
}

// Each lists the other: nothing goes on for ever, and what is not so is dropped.
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
		t.Errorf("%s came, want %s", report.Referrers, sbom.Digest)
	}
}

// A chain is what a cycle would be: no manifest can name one that names it.
func TestCopyReferrers_MaxDepth(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	var subject registrytest.Content = registrytest.Image{Seed: "a"}
	from.Push(t, "app", "1", subject)
	for i := range 40 {
		subject = registrytest.Artifact{Seed: fmt.Sprint(i), Layers: []registrytest.Blob{}, Subject: subject}
		from.Attach(t, "app", subject)
	}
	newEngine(t).refused(t, from.Ref("app", "1"), to.Ref("to", "1"), registry.Source, registry.ErrLimit, withReferrers())
	if to.HasManifest(t, "to", "1") {
		t.Error("the tag was written")
	}
}

func TestCopyReferrers_ReferrerInIndex(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	image := mixed("a") // its last child refers to the first
	pushed := from.Push(t, "app", "1", image)
	from.Attach(t, "app", image.Manifests[3])
	report := newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"), withReferrers())
	registrytest.Same(t, pushed.Tree, to.Read(t, "to", "1"))
	if listed := to.Referrers(t, "to", image.Manifests[0].Build().Digest); len(report.Referrers) != 1 || len(listed) != 1 {
		t.Errorf("the report says %d, listed are %s", len(report.Referrers), listed)
	}
}

func TestCopyReferrers_ArtifactManifest(t *testing.T) {
	t.Parallel()
	b := registrytest.Behaviour{Referrers: true}
	for name, image := range map[string]registrytest.Content{
		"to an image": registrytest.Image{Seed: "a"}, "to one of Docker's": registrytest.Image{Seed: "a", Docker: true},
		"to an index of Docker's": registrytest.Index{Docker: true, Manifests: []registrytest.Content{registrytest.Image{Seed: "a", Docker: true}}},
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
	refusal := errors.New("not this one")
	for name, c := range map[string]struct {
		held, source registrytest.Image
		change       func(j *copier.Job, tag string, held digest.Digest)
		kind         error // nil where it is replaced
	}{
		"another one":                {theirs, ours, nil, registry.ErrTagHeld},
		"some of those that are new": {ours, both, nil, nil},
		"some that are not":          {both, ours, nil, registry.ErrTagHeld},
		"what was put there before": {theirs, ours, func(j *copier.Job, tag string, held digest.Digest) {
			j.ReferrerTags = map[string]digest.Digest{tag: held}
		}, nil},
		"what must not be overwritten": {ours, both, func(j *copier.Job, _ string, _ digest.Digest) {
			j.MayReplace = func(string, digest.Digest) error { return refusal }
		}, refusal},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from, to := pair(t, registrytest.Behaviour{})
			from.Push(t, "app", "1", image)
			tag := legacyTag(image.Build().Digest, "sig")
			wanted, held := from.Push(t, "app", tag, c.source), to.Push(t, "to", tag, c.held)
			e := newEngine(t)
			job := e.job(t, from.Ref("app", "1"), to.Ref("to", "1"))
			withReferrers()(&job)
			if c.change != nil {
				c.change(&job, tag, held.Digest)
			}
			_, err := e.copier.Copy(t.Context(), job)
			want := held.Digest
			if c.kind == nil {
				want = wanted.Digest
			}
			if !errors.Is(err, c.kind) || to.Digest(t, "to", tag) != want || to.HasManifest(t, "to", "1") != (c.kind == nil) {
				t.Errorf("the error is %v, and the tag holds %s, want %s", err, to.Digest(t, "to", tag), want)
			}
		})
	}
}

// What was there before may have lost something since.
func TestCopyReferrers_MissingContent(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	s := newSigned(t, from.Registry)
	e := newEngine(t)
	e.copy(t, from.Ref("app", "1"), to.Ref("to", "1"), withReferrers())
	to.DeleteTag(t, "to", s.legacy.Tag)
	to.DeleteBlob(t, "to", s.legacy.Tagged.Build().Blobs[1].Descriptor().Digest)
	newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"), withReferrers())
	s.arrived(t, to.Registry)
}

// Nobody can list every tag of a repository to find three.
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
		t.Errorf("under tags came %v; %v", report.ReferrerTags, from.Requests())
	}
}

// Two tags may name each other's manifests, and an image itself.
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

	// A tag that names what the image is made of, and that the image waits for.
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
		t.Errorf("%+v", report)
	}
}

func TestCopyReferrers_SameRepository(t *testing.T) {
	t.Parallel()
	reg := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{Referrers: true}))
	s := newSigned(t, reg.Registry)
	reg.Forget()
	report := newEngine(t).copy(t, reg.Ref("app", "1"), reg.Ref("app", "2"), withReferrers())
	if n := reg.Count("PUT", ".*"); n != 1 || len(report.Referrers) != 6 || reg.Digest(t, "app", "2") != s.image.Digest {
		t.Errorf("%d were put; the report says %+v", n, report)
	}
}

func TestCopyReferrers_Platform(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{Referrers: true})
	s := newSigned(t, from.Registry)
	platform, err := registry.ParsePlatform("linux/amd64")
	if err != nil {
		t.Fatal(err)
	}
	report := newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"), withReferrers(), func(j *copier.Job) { j.Platforms = []registry.Platform{platform} })
	if report.Digest != s.image.Manifests[0].Digest || len(report.Referrers) != 1 || !to.HasManifest(t, "to", string(s.platform.Digest)) {
		t.Errorf("the report says %+v", report)
	}
}

func TestFindReferrers(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{Referrers: true})
	newSigned(t, from.Registry)
	e := newEngine(t)
	job := e.job(t, from.Ref("app", "1"), to.Ref("to", "1"))
	withReferrers()(&job)
	from.Forget()
	found, err := e.copier.FindReferrers(t.Context(), job)
	if err != nil || len(to.Requests()) != 0 || from.Count(".*", ".*/blobs/.*") != 0 {
		t.Errorf("%v; at the source %v, at the destination %v", err, from.Requests(), to.Requests())
	}
	if copied := e.do(t, job); copied.ReferrersDigest != found.ReferrersDigest || len(copied.Referrers) != len(found.Referrers) || len(found.Referrers) != 6 {
		t.Errorf("found were %+v and copied %+v", found, copied)
	}
}

// A signature that cannot be seen must not be taken for one that is not there.
func TestCopyReferrers_SourceError(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]string{"the list": ".*/referrers/.*", "a tag": `.*\.sig`} {
		for status, kind := range map[int]error{401: registry.ErrUnauthorized, 403: registry.ErrDenied, 503: registry.ErrUnavailable} {
			t.Run(fmt.Sprint(name, " answers ", status), func(t *testing.T) {
				t.Parallel()
				from, to := pair(t, registrytest.Behaviour{})
				from.Push(t, "app", "1", registrytest.Image{Seed: "a"})
				from.On(".*", path).Reply(status, nil, string(registrytest.ErrorBody("UNKNOWN", "not now")))
				newEngine(t).refused(t, from.Ref("app", "1"), to.Ref("to", "1"), registry.Source, kind, withReferrers())
				if to.HasManifest(t, "to", "1") {
					t.Error("the tag was written")
				}
			})
		}
	}
}
