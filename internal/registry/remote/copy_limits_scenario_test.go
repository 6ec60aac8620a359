package remote_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

// layeredImage returns an image with the given number of layers of 16 ranges each.
func layeredImage(seed string, layers int) registrytest.Image {
	image := registrytest.Image{Seed: seed}
	for i := range layers {
		image.Layers = append(image.Layers, registrytest.Layer(fmt.Sprint(seed, i), 16*part))
	}
	return image
}

// A copy takes slots in addition to those of its requests: for ranges, for content that is
// read ahead, and for copies in both directions at once. The test is in this package
// because only here do blobs of this size use ranges.
func TestCopy_HostLimits(t *testing.T) {
	for _, limit := range []int{2, 3, 5, 8} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			registrytest.NoLeaks(t)
			left, right := scripted(t, registrytest.Behaviour{}), scripted(t, registrytest.Behaviour{})
			c := newClient(t, settings(map[string]remote.HostOptions{
				left.Addr: {MaxConcurrentRequests: limit}, right.Addr: {MaxConcurrentRequests: limit},
			}))
			c.ForceRanges(part, 6)
			engine := copier.New(nil)
			copyOne := func(from, to *registrytest.Proxy, repo string, pushed registrytest.Pushed) {
				report, err := engine.Copy(t.Context(), copier.Job{
					Source: c.pull(t, from.Ref("from-"+repo, "1")), Destination: c.push(t, to.Ref("to-"+repo, "1")),
					Reference: "1", Digest: pushed.Digest, Tags: []string{"1"},
				})
				if err != nil || report.Copied.Blobs != len(pushed.Tree.Blobs) {
					t.Errorf("Copy() = %+v, %v", report, err)
				}
				for _, p := range []*registrytest.Proxy{from, to} {
					if n := report.Hosts[p.Addr].Peak; n < 1 || n > limit {
						t.Errorf("reported peak of %s = %d, want 1 to %d", p.Addr, n, limit)
					}
				}
			}
			// A layer on its own is read in ranges if half of the limit leaves room for
			// them.
			copyOne(left, right, "single", left.Push(t, "from-single", "1", layeredImage("single", 1)))
			inParts := slices.ContainsFunc(left.Requests(), func(r registrytest.Request) bool { return r.Header.Get("Range") != "" })
			if inParts != (limit == 8) {
				t.Errorf("layer read in ranges = %t, want %t", inParts, limit == 8)
			}
			var copies sync.WaitGroup
			for i := range 4 {
				repo := fmt.Sprint(i)
				one := left.Push(t, "from-"+repo, "1", layeredImage("left "+repo, 3))
				other := right.Push(t, "from-"+repo, "1", layeredImage("right "+repo, 3))
				copies.Go(func() { copyOne(left, right, repo, one) })
				copies.Go(func() { copyOne(right, left, repo, other) })
			}
			copies.Wait()
			for _, p := range []*registrytest.Proxy{left, right} {
				if p.Peak() > limit {
					t.Errorf("concurrent requests = %d, want at most %d", p.Peak(), limit)
				}
			}
		})
	}
}
