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

// layered is an image with so many layers of sixteen parts each.
func layeredImage(seed string, layers int) registrytest.Image {
	image := registrytest.Image{Seed: seed}
	for i := range layers {
		image.Layers = append(image.Layers, registrytest.Layer(fmt.Sprint(seed, i), 16*part))
	}
	return image
}

// All that takes slots besides a request's own: parts, contents that are read
// ahead, and copies in both directions at once. The test is here and not with
// the engine because only here blobs of this size come in parts.
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
					t.Errorf("the report says %+v, %v", report, err)
				}
				for _, p := range []*registrytest.Proxy{from, to} {
					if n := report.Hosts[p.Addr].Peak; n < 1 || n > limit {
						t.Errorf("the report says that %s was asked up to %d at a time, and %d may be", p.Addr, n, limit)
					}
				}
			}
			// Alone, a layer comes in parts where half of the limit has room for it.
			copyOne(left, right, "alone", left.Push(t, "from-alone", "1", layeredImage("alone", 1)))
			inParts := slices.ContainsFunc(left.Requests(), func(r registrytest.Request) bool { return r.Header.Get("Range") != "" })
			if inParts != (limit == 8) {
				t.Errorf("that the layer came in parts is %t", inParts)
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
					t.Errorf("%d requests were under way at once, and %d may be", p.Peak(), limit)
				}
			}
		})
	}
}
