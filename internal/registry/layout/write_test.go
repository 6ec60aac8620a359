package layout_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

func TestPutBlob_IncompleteContent(t *testing.T) {
	l := create(t, t.TempDir())
	content := "content"
	d := registry.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromString(content), Size: int64(len(content))}
	broken := errors.New("broken")
	for name, open := range map[string]func(context.Context) (io.ReadCloser, error){
		"read_error": func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(strings.NewReader("con"), failing{broken})), nil
		},
		"open_error": func(context.Context) (io.ReadCloser, error) { return nil, broken },
	} {
		if _, err := l.PutBlob(t.Context(), d, registry.Content{Open: open}); !errors.Is(err, broken) {
			t.Errorf("%s: PutBlob() = %v, want %v", name, err, broken)
		}
	}
	short := func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("con")), nil }
	if _, err := l.PutBlob(t.Context(), d, registry.Content{Open: short}); err == nil {
		t.Error("PutBlob() accepted truncated content")
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancels := func(context.Context) (io.ReadCloser, error) {
		cancel(broken)
		return io.NopCloser(strings.NewReader(content)), nil
	}
	if _, err := l.PutBlob(ctx, d, registry.Content{Open: cancels}); !errors.Is(err, broken) {
		t.Errorf("PutBlob() with a canceled context = %v", err)
	}
	if _, err := l.StatBlob(t.Context(), d.Digest); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("StatBlob() = %v, want ErrNotFound", err)
	}
	complete := registry.Content{Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }}
	for i, want := range []registry.Outcome{registry.Copied, registry.AlreadyExists, registry.Copied} {
		complete.Force = i == 2
		if outcome, err := l.PutBlob(t.Context(), d, complete); err != nil || outcome != want {
			t.Errorf("PutBlob() = %q, %v, want %q", outcome, err, want)
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestPutManifest_MissingContent(t *testing.T) {
	from := registrytest.Layout(t, map[string]registrytest.Content{"1": registrytest.Image{Seed: "a"}})
	m, err := open(t, from).GetManifest(t.Context(), "1")
	if err != nil {
		t.Fatal(err)
	}
	l := create(t, t.TempDir())
	err = l.PutManifest(t.Context(), "1", m)
	assertError(t, err, "which the layout does not hold")
	if !errors.Is(err, registry.ErrMissingContent) {
		t.Errorf("PutManifest() = %v, want ErrMissingContent", err)
	}
}
