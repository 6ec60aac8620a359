package copier_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

func TestReport_Written(t *testing.T) {
	t.Parallel()
	image := registrytest.Image{Seed: "a"}
	for name, c := range map[string]struct {
		prepare func(t *testing.T, to *registrytest.Proxy)
		written []string
		failed  bool
	}{
		"new_tags": {func(*testing.T, *registrytest.Proxy) {}, []string{"stable", "1"}, false},
		"one_tag_exists": {func(t *testing.T, to *registrytest.Proxy) {
			to.Push(t, "to", "stable", image)
		}, []string{"1"}, false},
		"all_tags_exist": {func(t *testing.T, to *registrytest.Proxy) {
			to.Push(t, "to", "stable", image)
			to.Push(t, "to", "1", image)
		}, nil, false},
		"tag_moved": {func(t *testing.T, to *registrytest.Proxy) {
			to.Push(t, "to", "stable", registrytest.Image{Seed: "old"})
		}, []string{"stable", "1"}, false},
		"response_lost": {func(_ *testing.T, to *registrytest.Proxy) {
			to.On("PUT", "/v2/to/manifests/stable").Times(1).Do(dropResponse)
		}, []string{"stable", "1"}, false},
		"response_lost_and_tag_immutable": {func(_ *testing.T, to *registrytest.Proxy) {
			to.On("PUT", "/v2/to/manifests/stable").Times(1).Do(dropResponse)
			to.On("PUT", "/v2/to/manifests/stable").Reply(http.StatusConflict, nil, "")
		}, []string{"stable", "1"}, false},
		"written_by_another_client": {func(t *testing.T, to *registrytest.Proxy) {
			to.On("PUT", "/v2/to/manifests/stable").Do(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
				to.PutManifest(t, "to", "stable", image.Build())
				w.WriteHeader(http.StatusConflict)
			})
		}, []string{"1"}, false},
		"failed_midway": {func(_ *testing.T, to *registrytest.Proxy) {
			to.On("PUT", "/v2/to/manifests/1").Reply(http.StatusForbidden, nil, "")
		}, []string{"stable"}, true},
		"not_confirmed": {func(_ *testing.T, to *registrytest.Proxy) {
			to.On("HEAD|GET", "/v2/to/manifests/1").After(1).Reply(http.StatusServiceUnavailable, nil, "")
		}, []string{"stable", "1"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from, to := pair(t, registrytest.Behaviour{})
			from.Push(t, "app", "1", image)
			c.prepare(t, to)
			e := newEngine(t)
			job := e.job(t, from.Ref("app", "1"), to.Ref("to", "1"))
			job.Tags = []string{"stable", "1"}
			report, err := e.copier.Copy(t.Context(), job)
			if (err != nil) != c.failed {
				t.Fatalf("Copy() error = %v, want one: %t", err, c.failed)
			}
			if !slices.Equal(report.Written, c.written) {
				t.Errorf("Copy() Written = %q, want %q", report.Written, c.written)
			}
		})
	}
}

// dropResponse lets the registry handle a request but responds with 503.
func dropResponse(w http.ResponseWriter, r *http.Request, next http.Handler) {
	next.ServeHTTP(discardResponse{http.Header{}}, r)
	w.WriteHeader(http.StatusServiceUnavailable)
}

type discardResponse struct{ header http.Header }

func (d discardResponse) Header() http.Header         { return d.header }
func (d discardResponse) Write(b []byte) (int, error) { return len(b), nil }
func (d discardResponse) WriteHeader(int)             {}
