package copier_test

import (
	"errors"
	"net/http"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

var errMayNotReplace = errors.New("may not be replaced")

// rejectReplace returns the job with a MayReplace function that returns errMayNotReplace, and the
// digests that the function was called with.
func rejectReplace(job copier.Job) (copier.Job, *[]digest.Digest) {
	calls := &[]digest.Digest{}
	job.MayReplace = func(_ string, current digest.Digest) error {
		*calls = append(*calls, current)
		return errMayNotReplace
	}
	return job, calls
}

func TestMayReplace_BeforeCopy(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	from.Push(t, "app", "1", registrytest.Image{Seed: "new"})
	old := to.Push(t, "to", "1", registrytest.Image{Seed: "old"})
	e := newEngine(t)
	job, calls := rejectReplace(e.job(t, from.Ref("app", "1"), to.Ref("to", "1")))
	_, err := e.copier.Copy(t.Context(), job)
	if !errors.Is(err, errMayNotReplace) || !slices.Equal(*calls, []digest.Digest{old.Digest}) {
		t.Errorf("MayReplace() calls = %v, Copy() error = %v, want one call and %v", *calls, err, errMayNotReplace)
	}
	for _, r := range slices.Concat(from.Requests(), to.Requests()) {
		if r.Method != http.MethodHead {
			t.Errorf("Copy() sent %s %s, want only HEAD requests", r.Method, r.Path)
		}
	}
}

func TestMayReplace_NotCalled(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	pushed := from.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	e := newEngine(t)
	job, calls := rejectReplace(e.job(t, from.Ref("app", "1"), to.Ref("to", "1")))
	e.run(t, job)
	job.Tags = []string{"1", "2"}
	e.run(t, job)
	if len(*calls) != 0 {
		t.Errorf("MayReplace() was called with %v, want no calls", *calls)
	}
	registrytest.Same(t, pushed.Tree, to.Read(t, "to", "2"))
}

func TestMayReplace_BeforeWrite(t *testing.T) {
	t.Parallel()
	for name, concurrent := range map[string]registrytest.Image{
		"other_image": {Seed: "other"},
		"same_image":  {Seed: "new"},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := pair(t, registrytest.Behaviour{})
			pushed := from.Push(t, "app", "1", registrytest.Image{Seed: "new"})
			gate := make(chan struct{})
			from.On("GET", "/v2/app/blobs/.*").Hold(gate)
			e := newEngine(t)
			job, calls := rejectReplace(e.job(t, from.Ref("app", "1"), to.Ref("to", "1")))
			done := e.start(t.Context(), job)
			from.Wait(t, func() bool { return from.Count("GET", "/v2/app/blobs/.*") > 0 })
			written := to.Push(t, "to", "1", concurrent)
			close(gate)
			r := await(t, done)
			if n := to.Count("PUT", tagPath); n != 0 {
				t.Errorf("tag was pushed %d times, want 0", n)
			}
			if to.Digest(t, "to", "1") != written.Digest {
				t.Errorf("tag has digest %s, want %s", to.Digest(t, "to", "1"), written.Digest)
			}
			if written.Digest == pushed.Digest {
				if r.err != nil || len(*calls) != 0 || !slices.Equal(r.report.Tagged, []string{"1"}) {
					t.Errorf("MayReplace() calls = %v, tagged = %v, error = %v, want no calls and tag 1", *calls, r.report.Tagged, r.err)
				}
				return
			}
			if !errors.Is(r.err, errMayNotReplace) || !slices.Equal(*calls, []digest.Digest{written.Digest}) {
				t.Errorf("MayReplace() calls = %v, Copy() error = %v, want one call and %v", *calls, r.err, errMayNotReplace)
			}
		})
	}
}

func TestMayReplace_DigestAlgorithm(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	pushed := from.Push(t, "app", "", registrytest.Image{Seed: "a", Algorithm: digest.SHA512})
	to.Push(t, "to", "1", registrytest.Image{Seed: "a"}) // the same manifest with a sha256 digest
	old := to.Push(t, "to", "2", registrytest.Image{Seed: "old"})
	e := newEngine(t)
	job, calls := rejectReplace(e.job(t, from.Ref("app", string(pushed.Digest)), to.Ref("to", "1")))
	e.run(t, job)
	if len(*calls) != 0 {
		t.Errorf("MayReplace() was called with %v for the same manifest, want no calls", *calls)
	}
	job.Tags = []string{"2"}
	_, err := e.copier.Copy(t.Context(), job)
	if !errors.Is(err, errMayNotReplace) || !slices.Equal(*calls, []digest.Digest{digest.SHA512.FromBytes(old.Bytes)}) {
		t.Errorf("MayReplace() calls = %v, Copy() error = %v, want one call and %v", *calls, err, errMayNotReplace)
	}
	// A tag whose digest cannot be converted is not replaced.
	to.On("GET", "/v2/to/manifests/2").Reply(http.StatusForbidden, nil, "")
	_, err = e.copier.Copy(t.Context(), job)
	assertError(t, err, registry.Destination, registry.ErrDenied)
}
