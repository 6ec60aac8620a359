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

var errKept = errors.New("it is to be kept")

// keeping is a job that replaces nothing, and the digests that it was asked
// about.
func keeping(job copier.Job) (copier.Job, *[]digest.Digest) {
	asked := &[]digest.Digest{}
	job.MayReplace = func(_ string, held digest.Digest) error {
		*asked = append(*asked, held)
		return errKept
	}
	return job, asked
}

func TestMayReplace_BeforeCopy(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	from.Push(t, "app", "1", registrytest.Image{Seed: "new"})
	old := to.Push(t, "to", "1", registrytest.Image{Seed: "old"})
	e := newEngine(t)
	job, asked := keeping(e.job(t, from.Ref("app", "1"), to.Ref("to", "1")))
	_, err := e.copier.Copy(t.Context(), job)
	if !errors.Is(err, errKept) || !slices.Equal(*asked, []digest.Digest{old.Digest}) {
		t.Errorf("asked about %v, and failed with %v", *asked, err)
	}
	for _, r := range slices.Concat(from.Requests(), to.Requests()) {
		if r.Method != http.MethodHead {
			t.Errorf("%s %s was sent", r.Method, r.Path)
		}
	}
}

func TestMayReplace_NotCalled(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	pushed := from.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	e := newEngine(t)
	job, asked := keeping(e.job(t, from.Ref("app", "1"), to.Ref("to", "1")))
	e.do(t, job)
	job.Tags = []string{"1", "2"}
	e.do(t, job)
	if len(*asked) != 0 {
		t.Errorf("asked about %v", *asked)
	}
	registrytest.Same(t, pushed.Tree, to.Read(t, "to", "2"))
}

func TestMayReplace_BeforeWrite(t *testing.T) {
	t.Parallel()
	for name, meanwhile := range map[string]registrytest.Image{
		"another image came":  {Seed: "other"},
		"the same image came": {Seed: "new"},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := pair(t, registrytest.Behaviour{})
			pushed := from.Push(t, "app", "1", registrytest.Image{Seed: "new"})
			gate := make(chan struct{})
			from.On("GET", "/v2/app/blobs/.*").Hold(gate)
			e := newEngine(t)
			job, asked := keeping(e.job(t, from.Ref("app", "1"), to.Ref("to", "1")))
			ended := e.start(t.Context(), job)
			from.Wait(t, func() bool { return from.Count("GET", "/v2/app/blobs/.*") > 0 })
			came := to.Push(t, "to", "1", meanwhile)
			close(gate)
			r := await(t, ended)
			if n := to.Count("PUT", tagPath); n != 0 {
				t.Errorf("the tag was written %d times", n)
			}
			if to.Digest(t, "to", "1") != came.Digest {
				t.Error("the tag moved")
			}
			if came.Digest == pushed.Digest {
				if r.err != nil || len(*asked) != 0 || !slices.Equal(r.report.Tagged, []string{"1"}) {
					t.Errorf("asked about %v, tagged %v, and failed with %v", *asked, r.report.Tagged, r.err)
				}
				return
			}
			if !errors.Is(r.err, errKept) || !slices.Equal(*asked, []digest.Digest{came.Digest}) {
				t.Errorf("asked about %v, and failed with %v", *asked, r.err)
			}
		})
	}
}

func TestMayReplace_DigestAlgorithm(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	pushed := from.Push(t, "app", "", registrytest.Image{Seed: "a", Algorithm: digest.SHA512})
	to.Push(t, "to", "1", registrytest.Image{Seed: "a"}) // the same, known by sha256
	old := to.Push(t, "to", "2", registrytest.Image{Seed: "old"})
	e := newEngine(t)
	job, asked := keeping(e.job(t, from.Ref("app", string(pushed.Digest)), to.Ref("to", "1")))
	e.do(t, job)
	if len(*asked) != 0 {
		t.Errorf("asked about %v, which is what is wanted", *asked)
	}
	job.Tags = []string{"2"}
	_, err := e.copier.Copy(t.Context(), job)
	if !errors.Is(err, errKept) || !slices.Equal(*asked, []digest.Digest{digest.SHA512.FromBytes(old.Bytes)}) {
		t.Errorf("asked about %v, and failed with %v", *asked, err)
	}
	// What cannot be compared is not replaced.
	to.On("GET", "/v2/to/manifests/2").Reply(http.StatusForbidden, nil, "")
	_, err = e.copier.Copy(t.Context(), job)
	failure(t, err, registry.Destination, registry.ErrDenied)
}
