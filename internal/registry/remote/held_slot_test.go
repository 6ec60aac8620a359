package remote_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

const anotherHost = "127.0.0.1:6001"

// A request that is redirected to another registry counts toward the limit of that
// registry.
func TestHeldSlot_RedirectToAnotherRegistry(t *testing.T) {
	content := descriptor("content")
	for name, do := range map[string]func(t *testing.T, c *client, host string) error{
		"resolve": func(t *testing.T, c *client, host string) error {
			t.Helper()
			_, err := c.pull(t, host+"/app").Resolve(t.Context(), "v1")
			return err
		},
		"read_a_blob": func(t *testing.T, c *client, host string) error {
			t.Helper()
			r, err := c.pull(t, host+"/app").GetBlob(registry.WithFlow(t.Context(), host), content)
			if err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, r)
			return errors.Join(err, r.Close())
		},
		"upload_a_blob": func(t *testing.T, c *client, host string) error {
			t.Helper()
			_, err := c.push(t, host+"/app").PutBlob(registry.WithFlow(t.Context(), host), content, newBody(t, "content").get())
			return err
		},
	} {
		for _, both := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/both_directions=%t", name, both), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var active, peak [2]atomic.Int32
					handler := func(w http.ResponseWriter, r *http.Request) {
						i, other := 0, anotherHost
						if r.Host == anotherHost {
							i, other = 1, pipeHost
						}
						peak[i].Store(max(peak[i].Load(), active[i].Add(1)))
						defer active[i].Add(-1)
						<-time.After(time.Second)
						_, _ = io.Copy(io.Discard, r.Body)
						target := "http://" + other + "/target"
						switch {
						case strings.HasPrefix(r.URL.Path, "/target") && r.Method == http.MethodPut:
							w.WriteHeader(http.StatusCreated)
						case r.Method == http.MethodPost && (both || i == 0):
							w.Header().Set("Location", target)
							w.WriteHeader(http.StatusAccepted)
						case r.Method == http.MethodPost:
							w.Header().Set("Location", "/target")
							w.WriteHeader(http.StatusAccepted)
						case !strings.HasPrefix(r.URL.Path, "/target") && (both || i == 0):
							redirect(target)(w, r)
						case r.Method == http.MethodHead:
							w.Header().Set("Docker-Content-Digest", string(content.Digest))
						default:
							_, _ = io.WriteString(w, "content")
						}
					}
					limit := remote.HostOptions{MaxConcurrentRequests: 3}
					c := newClient(t, settings(map[string]remote.HostOptions{pipeHost: limit, anotherHost: limit}), servePipes(t, handler).options)
					var all sync.WaitGroup
					for i := range 20 {
						all.Go(func() {
							if err := do(t, c, []string{pipeHost, anotherHost}[i%2]); err != nil {
								t.Error(err)
							}
						})
					}
					all.Wait()
					for i, host := range []string{pipeHost, anotherHost} {
						if got := peak[i].Load(); got > 3 {
							t.Errorf("requests in flight to %s = %d, want at most 3", host, got)
						}
					}
				})
			})
		}
	}
}
