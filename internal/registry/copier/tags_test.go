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
	// Its tags are immutable, so that a PUT would fail.
	from, to := pair(t, registrytest.Behaviour{ImmutableTags: true})
	pushed := from.Push(t, "app", "1", registrytest.MultiArch("a"))
	newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"))
	for name, c := range map[string]struct {
		source   string
		requests int
	}{
		"by tag":    {from.Ref("app", "1"), 2},
		"by digest": {from.Ref("app", string(pushed.Digest)), 1},
	} {
		t.Run(name, func(t *testing.T) {
			from.Forget()
			to.Forget()
			report := newEngine(t).copy(t, c.source, to.Ref("to", "1"))
			requests := slices.Concat(from.Requests(), to.Requests())
			for _, r := range requests {
				if r.Method != http.MethodHead {
					t.Errorf("%s %s was sent", r.Method, r.Path)
				}
			}
			if len(requests) != c.requests || report.Requests != c.requests {
				t.Errorf("%d requests were sent and the report says %d, want %d", len(requests), report.Requests, c.requests)
			}
			if report.Digest != pushed.Digest || report.MediaType != pushed.MediaType || report.Manifests != 0 || !slices.Equal(report.Tagged, []string{"1"}) {
				t.Errorf("the report says %+v", report)
			}
		})
	}
}

// Within one registry the manifest comes with the tag, which saves a round trip.
func TestCopy_SameRegistryReadsSourceOnce(t *testing.T) {
	t.Parallel()
	_, reg := pair(t, registrytest.Behaviour{})
	reg.Push(t, "from", "1", registrytest.Image{Seed: "a"})
	report := newEngine(t).copy(t, reg.Ref("from", "1"), reg.Ref("to", "1"))
	if heads, gets := reg.Count("HEAD", "/v2/from/.*"), reg.Count("GET", "/v2/from/.*"); heads != 0 || gets != 1 {
		t.Errorf("the source was asked by %d HEADs and %d GETs", heads, gets)
	}
	reg.Forget()
	again := newEngine(t).copy(t, reg.Ref("from", "1"), reg.Ref("to", "1"))
	if n := len(reg.Requests()); n != 2 || again.Digest != report.Digest || again.MediaType != report.MediaType {
		t.Errorf("what is there already cost %d requests; the report says %+v", n, again)
	}
}

func TestCopy_ImmutableTag(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status        int
		code, message string
	}{
		"ECR":            {http.StatusBadRequest, "TAG_INVALID", "The image tag '1' already exists in the 'to' repository and cannot be overwritten because the repository is immutable."},
		"ECR, older":     {http.StatusBadRequest, "ImageTagAlreadyExistsException", "tag is there"},
		"Harbor":         {http.StatusPreconditionFailed, "PRECONDITION", "Failed to process request due to 'to:1' configured as immutable."},
		"tag invalid":    {http.StatusConflict, "TAG_INVALID", "manifest tag did not match URI"},
		"a 409 of words": {http.StatusConflict, "CONFLICT", "there is one already"},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := pair(t, registrytest.Behaviour{})
			from.Push(t, "app", "1", registrytest.Image{Seed: "new"})
			old := to.Push(t, "to", "1", registrytest.Image{Seed: "old"})
			to.On("PUT", tagPath).Reply(c.status, nil, string(registrytest.ErrorBody(c.code, c.message)))
			err := newEngine(t).refused(t, from.Ref("app", "1"), to.Ref("to", "1"), registry.Destination, registry.ErrTagImmutable)
			mentions(t, err.Error(), c.message, to.Addr+"/to")
			mentions(t, err.Hint, "do not let it move")
			if n := to.Count("PUT", tagPath); n != 1 {
				t.Errorf("the tag was written %d times", n)
			}
			if to.Digest(t, "to", "1") != old.Digest {
				t.Error("the tag moved")
			}
		})
	}
}

// Some registries say no more than the status.
func TestCopy_ImmutableTagStatusOnly(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusConflict, http.StatusPreconditionFailed} {
		from, to := pair(t, registrytest.Behaviour{})
		from.Push(t, "app", "1", registrytest.Image{Seed: "new"})
		old := to.Push(t, "to", "1", registrytest.Image{Seed: "old"})
		to.On("PUT", tagPath).Reply(status, nil, "")
		err := newEngine(t).refused(t, from.Ref("app", "1"), to.Ref("to", "1"), registry.Destination, registry.ErrTagImmutable)
		mentions(t, err.Error(), fmt.Sprint("HTTP ", status), "the tag is immutable and holds "+string(old.Digest), to.Addr+"/to")
		mentions(t, err.Hint, "do not let it move")
		if n := to.Count("PUT", tagPath); n != 1 {
			t.Errorf("%d: the tag was written %d times", status, n)
		}
	}
}

// A failed precondition may be a policy's, and where there is no such tag
// nothing is in the way of it.
func TestCopy_UnrelatedConflict(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		held   bool
		status int
		body   string
		says   string
	}{
		"a policy":                    {true, http.StatusPreconditionFailed, string(registrytest.ErrorBody("POLICY", "it was never scanned")), "it was never scanned"},
		"a conflict about nothing":    {false, http.StatusConflict, "", "HTTP 409"},
		"a precondition, and no tag":  {false, http.StatusPreconditionFailed, "", "HTTP 412"},
		"a conflict of words, no tag": {false, http.StatusConflict, string(registrytest.ErrorBody("CONFLICT", "project is being deleted")), "project is being deleted"},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := pair(t, registrytest.Behaviour{})
			from.Push(t, "app", "1", registrytest.Image{Seed: "new"})
			if c.held {
				to.Push(t, "to", "1", registrytest.Image{Seed: "old"})
			}
			to.On("PUT", tagPath).Reply(c.status, nil, c.body)
			err := newEngine(t).refused(t, from.Ref("app", "1"), to.Ref("to", "1"), registry.Destination, registry.ErrDenied)
			mentions(t, err.Error(), c.says)
			if n := to.Count("PUT", tagPath); n != 1 {
				t.Errorf("the tag was written %d times", n)
			}
		})
	}
}

func TestCopy_ImmutableTagWithSameDigest(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{ImmutableTags: true})
	pushed := from.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	to.On("PUT", tagPath).Do(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		to.PutManifest(t, "to", "1", pushed.Manifest) // somebody else was quicker
		next.ServeHTTP(w, r)
	})
	report := newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"))
	if !slices.Equal(report.Tagged, []string{"1"}) || report.Manifests != 0 {
		t.Errorf("the report says %+v", report)
	}
	if n := to.Count("PUT", tagPath); n != 1 {
		t.Errorf("the tag was written %d times", n)
	}
	registrytest.Same(t, pushed.Tree, to.Read(t, "to", "1"))
}

// Some registries say no more than the status.
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
			t.Errorf("%d: the report says %+v", status, report)
		}
	}
}

func TestConfirmTag_OneRead(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	from.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"))
	if n := to.Count("HEAD", tagPath); n != 2 {
		t.Errorf("the tag was looked at %d times, want before and after", n)
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
	failed := failure(t, err, registry.Destination, registry.ErrMismatch)
	mentions(t, failed.Error(), string(pushed.Digest), string(other.Digest), to.Addr+"/to", `cannot confirm the tag "1"`)
	mentions(t, failed.Hint, "Somebody else wrote the tag")
	if len(report.Tagged) != 0 {
		t.Errorf("the report says that %q hold the image", report.Tagged)
	}
	if puts, looks := to.Count("PUT", tagPath), to.Count("HEAD", tagPath); puts != 1 || looks != 1+4 {
		t.Errorf("the tag was written %d times, and looked at %d times, want before and four times after", puts, looks)
	}
}

func TestConfirmTag_EventuallyConsistent(t *testing.T) {
	t.Parallel()
	for name, shows := range map[string]func(*registrytest.Rule){
		"nothing": func(r *registrytest.Rule) { r.Reply(http.StatusNotFound, nil, "") },
		"what was there before": func(r *registrytest.Rule) {
			r.Alter(func(res *http.Response) { res.Header.Set("Docker-Content-Digest", string(digest.FromString("before"))) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := pair(t, registrytest.Behaviour{})
			from.Push(t, "app", "1", registrytest.Image{Seed: "a"})
			shows(to.On("HEAD", tagPath).After(1).Times(1))
			newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"))
			if n := to.Count("HEAD", tagPath); n != 3 {
				t.Errorf("the tag was looked at %d times, want one more than otherwise", n)
			}
		})
	}
}

func TestConfirmTag_NotFound(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	from.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	to.On("HEAD", tagPath).Reply(http.StatusNotFound, nil, "")
	err := newEngine(t).refused(t, from.Ref("app", "1"), to.Ref("to", "1"), registry.Destination, registry.ErrMismatch)
	mentions(t, err.Error(), "holds nothing")
}

func TestCopy_WriteOnlyCredential(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	pushed := from.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	to.On("HEAD|GET", "/v2/to/.*").Reply(http.StatusForbidden, nil, string(registrytest.ErrorBody("DENIED", "write only")))
	e := newEngine(t)
	e.copy(t, from.Ref("app", "1"), to.Ref("to", "1"))
	registrytest.Same(t, pushed.Tree, to.Read(t, "to", "1"))

	// What must not be replaced unseen is not replaced.
	job := e.job(t, from.Ref("app", "1"), to.Ref("to", "2"))
	job.MayReplace = func(string, digest.Digest) error { return nil }
	_, err := e.copier.Copy(t.Context(), job)
	mentions(t, failure(t, err, registry.Destination, registry.ErrDenied).Error(), "write only")
	if tags := to.Tags(t, "to"); !slices.Equal(tags, []string{"1"}) {
		t.Errorf("the destination has the tags %v", tags)
	}
}

func TestRetag_NoBlobRequests(t *testing.T) {
	t.Parallel()
	_, reg := pair(t, registrytest.Behaviour{})
	pushed := reg.Push(t, "to", "1.4.2", registrytest.MultiArch("a"))
	report := newEngine(t).copy(t, reg.Ref("to", "1.4.2"), reg.Ref("to", "1"))
	registrytest.Same(t, pushed.Tree, reg.Read(t, "to", "1"))
	if n := reg.Count(".*", ".*/blobs/.*"); n != 0 {
		t.Errorf("%d requests for blobs", n)
	}
	// Both tags, one of them with its manifest, the PUT, and the look at what was
	// written.
	if report.Requests != 4 || report.Manifests != 1 || report.Present.Blobs != 0 {
		t.Errorf("the report says %+v", report)
	}
}

func TestRetag_IncompleteImage(t *testing.T) {
	t.Parallel()
	_, reg := pair(t, registrytest.Behaviour{})
	pushed := reg.Push(t, "to", "1.4.2", registrytest.Image{Seed: "a"})
	reg.DeleteBlob(t, "to", pushed.Blobs[1].Descriptor().Digest)
	newEngine(t).refused(t, reg.Ref("to", "1.4.2"), reg.Ref("to", "1"), registry.Destination, registry.ErrMissingContent)

	gone := registrytest.Image{Seed: "gone"}.Build()
	newEngine(t).refused(t, reg.Ref("to", string(gone.Digest)), reg.Ref("to", "1"), registry.Destination, registry.ErrNotFound)
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
	report := e.do(t, job)
	if n := to.Count(".*", ".*/blobs/.*"); n != 0 {
		t.Errorf("%d requests for blobs", n)
	}
	if report.Manifests != 1 || !slices.Equal(report.Tagged, job.Tags) {
		t.Errorf("the report says %+v", report)
	}
	for _, tag := range job.Tags {
		if to.Digest(t, "to", tag) != pushed.Digest {
			t.Errorf("%s holds another digest", tag)
		}
	}
}

func TestRetag_CollectedContent(t *testing.T) {
	t.Parallel()
	for name, collect := range map[string]func(t *testing.T, to *registrytest.Proxy, pushed registrytest.Pushed){
		"a blob is gone": func(t *testing.T, to *registrytest.Proxy, pushed registrytest.Pushed) {
			t.Helper()
			to.DeleteBlob(t, "to", pushed.Blobs[1].Descriptor().Digest)
		},
		"the manifest is gone": func(_ *testing.T, to *registrytest.Proxy, pushed registrytest.Pushed) {
			to.On("GET", "/v2/to/manifests/"+string(pushed.Digest)).Reply(http.StatusNotFound, nil, string(registrytest.ErrorBody("MANIFEST_UNKNOWN", "gone")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := pair(t, registrytest.Behaviour{})
			pushed := from.Push(t, "app", "1", registrytest.Image{Seed: "a"})
			newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"))
			collect(t, to, pushed)
			e := newEngine(t)
			job := e.job(t, from.Ref("app", "1"), to.Ref("to", "1"))
			job.Tags = []string{"1", "2"}
			e.do(t, job)
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
	mentions(t, failure(t, err, registry.Destination, registry.ErrDenied).Error(), "third", "reserved")
	if !slices.Equal(report.Tagged, job.Tags[:2]) || !slices.Equal(to.Tags(t, "to"), []string{"1", "second"}) {
		t.Errorf("the report says %v, and there are %v", report.Tagged, to.Tags(t, "to"))
	}
}

func TestCopy_WithoutTags(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	pushed := from.Push(t, "app", "1", registrytest.MultiArch("a"))
	e := newEngine(t)
	job := e.job(t, from.Ref("app", "1"), to.Ref("to", "1"))
	job.Tags = nil
	e.do(t, job)
	registrytest.Same(t, pushed.Tree, to.Read(t, "to", string(pushed.Digest)))
	if tags := to.Tags(t, "to"); len(tags) > 0 {
		t.Errorf("the destination has the tags %v", tags)
	}
}

func TestCopy_MalformedDigest(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	e := newEngine(t)
	job := e.job(t, from.Ref("app", "1"), to.Ref("to", "1"))
	for _, bad := range badDigests[1:] { // none at all is no fault
		job.Digest = bad
		_, err := e.copier.Copy(t.Context(), job)
		failure(t, err, registry.Source, registry.ErrInvalidReference)
	}
	if n := len(from.Requests()) + len(to.Requests()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}
