package copier_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

func TestCopy_UpToDate(t *testing.T) {
	t.Parallel()
	// The tags of the destination are immutable, so a PUT would fail.
	from, to := pair(t, registrytest.Behaviour{ImmutableTags: true})
	pushed := from.Push(t, "app", "1", registrytest.MultiArch("a"))
	newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"))
	for name, c := range map[string]struct {
		source   string
		requests int
	}{
		"tag":    {from.Ref("app", "1"), 2},
		"digest": {from.Ref("app", string(pushed.Digest)), 1},
	} {
		t.Run(name, func(t *testing.T) {
			from.Forget()
			to.Forget()
			report := newEngine(t).copy(t, c.source, to.Ref("to", "1"))
			requests := slices.Concat(from.Requests(), to.Requests())
			for _, r := range requests {
				if r.Method != http.MethodHead {
					t.Errorf("Copy() sent %s %s, want only HEAD requests", r.Method, r.Path)
				}
			}
			if len(requests) != c.requests || report.Requests != c.requests {
				t.Errorf("registries received %d requests and report has %d, want %d", len(requests), report.Requests, c.requests)
			}
			if report.Digest != pushed.Digest || report.MediaType != pushed.MediaType || report.Manifests != 0 || !slices.Equal(report.Tagged, []string{"1"}) {
				t.Errorf("Copy() report = %+v, want digest %s, tag 1 and no manifests", report, pushed.Digest)
			}
		})
	}
}

// TestCopy_SameRegistryReadsSourceOnce verifies that a copy within one registry reads the
// manifest by its tag, which saves a round trip.
func TestCopy_SameRegistryReadsSourceOnce(t *testing.T) {
	t.Parallel()
	_, reg := pair(t, registrytest.Behaviour{})
	reg.Push(t, "from", "1", registrytest.Image{Seed: "a"})
	report := newEngine(t).copy(t, reg.Ref("from", "1"), reg.Ref("to", "1"))
	if heads, gets := reg.Count("HEAD", "/v2/from/.*"), reg.Count("GET", "/v2/from/.*"); heads != 0 || gets != 1 {
		t.Errorf("source received %d HEAD and %d GET requests, want 0 and 1", heads, gets)
	}
	reg.Forget()
	again := newEngine(t).copy(t, reg.Ref("from", "1"), reg.Ref("to", "1"))
	if n := len(reg.Requests()); n != 2 || again.Digest != report.Digest || again.MediaType != report.MediaType {
		t.Errorf("second Copy() sent %d requests and report = %+v, want 2 and digest %s", n, again, report.Digest)
	}
}

func TestCopy_ImmutableTag(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status        int
		code, message string
	}{
		"ecr":                   {http.StatusBadRequest, "TAG_INVALID", "The image tag '1' already exists in the 'to' repository and cannot be overwritten because the repository is immutable."},
		"ecr_older":             {http.StatusBadRequest, "ImageTagAlreadyExistsException", "tag is there"},
		"harbor":                {http.StatusPreconditionFailed, "PRECONDITION", "Failed to process request due to 'to:1' configured as immutable."},
		"tag_invalid":           {http.StatusConflict, "TAG_INVALID", "manifest tag did not match URI"},
		"conflict_with_message": {http.StatusConflict, "CONFLICT", "there is one already"},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := pair(t, registrytest.Behaviour{})
			from.Push(t, "app", "1", registrytest.Image{Seed: "new"})
			old := to.Push(t, "to", "1", registrytest.Image{Seed: "old"})
			to.On("PUT", tagPath).Reply(c.status, nil, string(registrytest.ErrorBody(c.code, c.message)))
			err := newEngine(t).copyError(t, from.Ref("app", "1"), to.Ref("to", "1"), registry.Destination, registry.ErrTagImmutable)
			assertContains(t, err.Error(), c.message, to.Addr+"/to")
			assertContains(t, err.Hint, "do not let it move")
			if n := to.Count("PUT", tagPath); n != 1 {
				t.Errorf("tag was pushed %d times, want 1", n)
			}
			if to.Digest(t, "to", "1") != old.Digest {
				t.Errorf("tag has digest %s, want %s", to.Digest(t, "to", "1"), old.Digest)
			}
		})
	}
}

// TestCopy_ImmutableTagStatusOnly verifies that a conflict without an error code is recognized.
// Some registries respond only with a status.
func TestCopy_ImmutableTagStatusOnly(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusConflict, http.StatusPreconditionFailed} {
		from, to := pair(t, registrytest.Behaviour{})
		from.Push(t, "app", "1", registrytest.Image{Seed: "new"})
		old := to.Push(t, "to", "1", registrytest.Image{Seed: "old"})
		to.On("PUT", tagPath).Reply(status, nil, "")
		err := newEngine(t).copyError(t, from.Ref("app", "1"), to.Ref("to", "1"), registry.Destination, registry.ErrTagImmutable)
		assertContains(t, err.Error(), fmt.Sprint("HTTP ", status), "the tag is immutable and holds "+string(old.Digest), to.Addr+"/to")
		assertContains(t, err.Hint, "do not let it move")
		if n := to.Count("PUT", tagPath); n != 1 {
			t.Errorf("with status %d, tag was pushed %d times, want 1", status, n)
		}
	}
}

// TestCopy_UnrelatedConflict verifies that a failed push is not attributed to an immutable tag
// if a policy rejected it, or if the tag does not exist.
func TestCopy_UnrelatedConflict(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		exists   bool // whether the tag exists
		status   int
		body     string
		wantText string
	}{
		"policy":                       {true, http.StatusPreconditionFailed, string(registrytest.ErrorBody("POLICY", "it was never scanned")), "it was never scanned"},
		"conflict_no_tag":              {false, http.StatusConflict, "", "HTTP 409"},
		"precondition_no_tag":          {false, http.StatusPreconditionFailed, "", "HTTP 412"},
		"conflict_with_message_no_tag": {false, http.StatusConflict, string(registrytest.ErrorBody("CONFLICT", "project is being deleted")), "project is being deleted"},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := pair(t, registrytest.Behaviour{})
			from.Push(t, "app", "1", registrytest.Image{Seed: "new"})
			if c.exists {
				to.Push(t, "to", "1", registrytest.Image{Seed: "old"})
			}
			to.On("PUT", tagPath).Reply(c.status, nil, c.body)
			err := newEngine(t).copyError(t, from.Ref("app", "1"), to.Ref("to", "1"), registry.Destination, registry.ErrDenied)
			assertContains(t, err.Error(), c.wantText)
			if n := to.Count("PUT", tagPath); n != 1 {
				t.Errorf("tag was pushed %d times, want 1", n)
			}
		})
	}
}

func TestCopy_ImmutableTagWithSameDigest(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{ImmutableTags: true})
	pushed := from.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	to.On("PUT", tagPath).Do(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		to.PutManifest(t, "to", "1", pushed.Manifest) // another client writes it first
		next.ServeHTTP(w, r)
	})
	report := newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"))
	if !slices.Equal(report.Tagged, []string{"1"}) || report.Manifests != 0 {
		t.Errorf("Copy() report = %+v, want tag 1 and no manifests", report)
	}
	if n := to.Count("PUT", tagPath); n != 1 {
		t.Errorf("tag was pushed %d times, want 1", n)
	}
	registrytest.Same(t, pushed.Tree, to.Read(t, "to", "1"))
}

// TestCopy_ImmutableTagWithSameDigestStatusOnly verifies that a conflict without an error code
// is ignored if the tag already has the digest.
func TestCopy_ImmutableTagWithSameDigestStatusOnly(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusConflict, http.StatusPreconditionFailed} {
		from, to := pair(t, registrytest.Behaviour{})
		pushed := from.Push(t, "app", "1", registrytest.Image{Seed: "a"})
		to.On("PUT", tagPath).Do(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			to.PutManifest(t, "to", "1", pushed.Manifest)
			w.WriteHeader(status)
		})
		if report := newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1")); !slices.Equal(report.Tagged, []string{"1"}) {
			t.Errorf("with status %d, Copy() report = %+v, want tag 1", status, report)
		}
	}
}

func TestConfirmTag_OneRead(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	from.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"))
	if n := to.Count("HEAD", tagPath); n != 2 {
		t.Errorf("tag was requested %d times, want once before and once after the push", n)
	}
}

func TestConfirmTag_OtherDigest(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	pushed := from.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	other := to.Push(t, "to", "2", registrytest.Image{Seed: "other"})
	to.On("PUT", tagPath).Do(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(w, r)
		to.PutManifest(t, "to", "1", other.Manifest)
	})
	e := newEngine(t)
	report, err := e.copier.Copy(t.Context(), e.job(t, from.Ref("app", "1"), to.Ref("to", "1")))
	failed := assertError(t, err, registry.Destination, registry.ErrMismatch)
	assertContains(t, failed.Error(), string(pushed.Digest), string(other.Digest), to.Addr+"/to", `cannot confirm the tag "1"`)
	assertContains(t, failed.Hint, "Somebody else wrote the tag")
	if len(report.Tagged) != 0 {
		t.Errorf("Copy() tagged = %q, want none", report.Tagged)
	}
	if puts, heads := to.Count("PUT", tagPath), to.Count("HEAD", tagPath); puts != 1 || heads != 1+4 {
		t.Errorf("tag was pushed %d times and requested %d times, want 1 push, 1 request before and 4 after it", puts, heads)
	}
}

func TestConfirmTag_EventuallyConsistent(t *testing.T) {
	t.Parallel()
	for name, alter := range map[string]func(*registrytest.Rule){
		"not_found": func(r *registrytest.Rule) { r.Reply(http.StatusNotFound, nil, "") },
		"old_digest": func(r *registrytest.Rule) {
			r.Alter(func(res *http.Response) { res.Header.Set("Docker-Content-Digest", string(digest.FromString("before"))) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := pair(t, registrytest.Behaviour{})
			from.Push(t, "app", "1", registrytest.Image{Seed: "a"})
			alter(to.On("HEAD", tagPath).After(1).Times(1))
			newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"))
			if n := to.Count("HEAD", tagPath); n != 3 {
				t.Errorf("tag was requested %d times, want 3", n)
			}
		})
	}
}

func TestConfirmTag_NotFound(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	from.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	to.On("HEAD", tagPath).Reply(http.StatusNotFound, nil, "")
	err := newEngine(t).copyError(t, from.Ref("app", "1"), to.Ref("to", "1"), registry.Destination, registry.ErrMismatch)
	assertContains(t, err.Error(), "holds nothing")
}

func TestCopy_WriteOnlyCredential(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	pushed := from.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	to.On("HEAD|GET", "/v2/to/.*").Reply(http.StatusForbidden, nil, string(registrytest.ErrorBody("DENIED", "write only")))
	e := newEngine(t)
	e.copy(t, from.Ref("app", "1"), to.Ref("to", "1"))
	registrytest.Same(t, pushed.Tree, to.Read(t, "to", "1"))

	// With MayReplace, a tag that cannot be read is not replaced.
	job := e.job(t, from.Ref("app", "1"), to.Ref("to", "2"))
	job.MayReplace = func(string, digest.Digest) error { return nil }
	_, err := e.copier.Copy(t.Context(), job)
	assertContains(t, assertError(t, err, registry.Destination, registry.ErrDenied).Error(), "write only")
	if tags := to.Tags(t, "to"); !slices.Equal(tags, []string{"1"}) {
		t.Errorf("destination tags = %v, want 1", tags)
	}
}

func TestRetag_NoBlobRequests(t *testing.T) {
	t.Parallel()
	_, reg := pair(t, registrytest.Behaviour{})
	pushed := reg.Push(t, "to", "1.4.2", registrytest.MultiArch("a"))
	report := newEngine(t).copy(t, reg.Ref("to", "1.4.2"), reg.Ref("to", "1"))
	registrytest.Same(t, pushed.Tree, reg.Read(t, "to", "1"))
	if n := reg.Count(".*", ".*/blobs/.*"); n != 0 {
		t.Errorf("registry received %d requests for blobs, want 0", n)
	}
	// Resolve the source tag with its manifest, resolve the destination tag, push it, and confirm it.
	if report.Requests != 4 || report.Manifests != 1 || report.Present.Blobs != 0 {
		t.Errorf("Copy() report = %+v, want 4 requests and 1 manifest", report)
	}
}

func TestRetag_IncompleteImage(t *testing.T) {
	t.Parallel()
	_, reg := pair(t, registrytest.Behaviour{})
	pushed := reg.Push(t, "to", "1.4.2", registrytest.Image{Seed: "a"})
	reg.DeleteBlob(t, "to", pushed.Blobs[1].Descriptor().Digest)
	newEngine(t).copyError(t, reg.Ref("to", "1.4.2"), reg.Ref("to", "1"), registry.Destination, registry.ErrMissingContent)

	gone := registrytest.Image{Seed: "gone"}.Build()
	newEngine(t).copyError(t, reg.Ref("to", string(gone.Digest)), reg.Ref("to", "1"), registry.Destination, registry.ErrNotFound)
}

func TestRetag_AdditionalTags(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	pushed := from.Push(t, "app", "1", registrytest.MultiArch("a"))
	e := newEngine(t)
	e.copy(t, from.Ref("app", "1"), to.Ref("to", "1"))
	to.Forget()
	job := e.job(t, from.Ref("app", "1"), to.Ref("to", "1"))
	job.Tags = []string{"1", "latest", "stable"}
	report := e.run(t, job)
	if n := to.Count(".*", ".*/blobs/.*"); n != 0 {
		t.Errorf("registry received %d requests for blobs, want 0", n)
	}
	if report.Manifests != 1 || !slices.Equal(report.Tagged, job.Tags) {
		t.Errorf("Copy() report = %+v, want 1 manifest and tags %v", report, job.Tags)
	}
	for _, tag := range job.Tags {
		if to.Digest(t, "to", tag) != pushed.Digest {
			t.Errorf("tag %s has digest %s, want %s", tag, to.Digest(t, "to", tag), pushed.Digest)
		}
	}
}

func TestRetag_CollectedContent(t *testing.T) {
	t.Parallel()
	for name, remove := range map[string]func(t *testing.T, to *registrytest.Proxy, pushed registrytest.Pushed){
		"missing_blob": func(t *testing.T, to *registrytest.Proxy, pushed registrytest.Pushed) {
			t.Helper()
			to.DeleteBlob(t, "to", pushed.Blobs[1].Descriptor().Digest)
		},
		"missing_manifest": func(_ *testing.T, to *registrytest.Proxy, pushed registrytest.Pushed) {
			to.On("GET", "/v2/to/manifests/"+string(pushed.Digest)).Reply(http.StatusNotFound, nil, string(registrytest.ErrorBody("MANIFEST_UNKNOWN", "gone")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := pair(t, registrytest.Behaviour{})
			pushed := from.Push(t, "app", "1", registrytest.Image{Seed: "a"})
			newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"))
			remove(t, to, pushed)
			e := newEngine(t)
			job := e.job(t, from.Ref("app", "1"), to.Ref("to", "1"))
			job.Tags = []string{"1", "2"}
			e.run(t, job)
			to.Clear()
			registrytest.Same(t, pushed.Tree, to.Read(t, "to", "2"))
		})
	}
}

func TestCopy_TagOrder(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	from.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	to.On("PUT", "/v2/to/manifests/third").Reply(http.StatusForbidden, nil, string(registrytest.ErrorBody("DENIED", "reserved")))
	e := newEngine(t)
	job := e.job(t, from.Ref("app", "1"), to.Ref("to", "1"))
	job.Tags = []string{"1", "second", "third", "fourth"}
	report, err := e.copier.Copy(t.Context(), job)
	assertContains(t, assertError(t, err, registry.Destination, registry.ErrDenied).Error(), "third", "reserved")
	if !slices.Equal(report.Tagged, job.Tags[:2]) || !slices.Equal(to.Tags(t, "to"), []string{"1", "second"}) {
		t.Errorf("Copy() tagged = %v and destination tags = %v, want %v", report.Tagged, to.Tags(t, "to"), job.Tags[:2])
	}
}

func TestCopy_WithoutTags(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	pushed := from.Push(t, "app", "1", registrytest.MultiArch("a"))
	e := newEngine(t)
	job := e.job(t, from.Ref("app", "1"), to.Ref("to", "1"))
	job.Tags = nil
	e.run(t, job)
	registrytest.Same(t, pushed.Tree, to.Read(t, "to", string(pushed.Digest)))
	if tags := to.Tags(t, "to"); len(tags) > 0 {
		t.Errorf("destination tags = %v, want none", tags)
	}
}

func TestCopy_MalformedDigest(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	e := newEngine(t)
	job := e.job(t, from.Ref("app", "1"), to.Ref("to", "1"))
	for _, malformed := range badDigests[1:] { // an empty digest is valid
		job.Digest = malformed
		_, err := e.copier.Copy(t.Context(), job)
		assertError(t, err, registry.Source, registry.ErrInvalidReference)
	}
	if n := len(from.Requests()) + len(to.Requests()); n != 0 {
		t.Errorf("Copy() sent %d requests, want 0", n)
	}
}
