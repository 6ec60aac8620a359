package registry_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// large is more than the reserved share of a pair.
const large = 20 << 20

func TestMemory_PairDoesNotWaitForAnother(t *testing.T) {
	t.Parallel()
	m := registry.NewMemory(registry.DefaultManifestMemory)
	if err := m.Reserve("slow.example b.example", "the slow copy").Grow(t.Context(), large); err != nil {
		t.Fatal(err)
	}
	for _, copied := range []string{"the first copy", "the second copy"} {
		if err := m.Reserve("other.example b.example", copied).Grow(t.Context(), 2<<20); err != nil {
			t.Errorf("Grow() of %s of another pair error = %v", copied, err)
		}
	}
	if !m.Charge("other.example b.example", "the first copy").TryGrow(4 << 20) {
		t.Error("TryGrow() of a charge of another pair = false, want true")
	}
}

func TestMemory_OneChargeOfAPairIsExempt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		kept int64 // by another copy of the pair
		end  func(*registry.Charge)
		want bool // whether the next charge may exceed the ceiling
	}{
		"released":                 {large, (*registry.Charge).Release, true},
		"parsed":                   {0, func(c *registry.Charge) { c.Shrink(4 << 20) }, true},
		"parsed_above_the_ceiling": {large, func(c *registry.Charge) { c.Shrink(4 << 20) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := registry.NewMemory(registry.DefaultManifestMemory)
			other := m.Reserve("a.example b.example", "the copy of a large index")
			if err := other.Grow(t.Context(), c.kept); err != nil {
				t.Fatal(err)
			}
			first, second := m.Charge("a.example b.example", "another copy"), m.Charge("a.example b.example", "a third copy")
			if !first.TryGrow(4 << 20) {
				t.Fatal("TryGrow() beside a copy that keeps much = false, want true")
			}
			if second.TryGrow(4 << 20) {
				t.Error("TryGrow() of a second manifest above the ceiling = true, want false")
			}
			c.end(first)
			if got := second.TryGrow(4 << 20); got != c.want {
				t.Errorf("TryGrow() after the first manifest = %t, want %t", got, c.want)
			}
		})
	}
}

// The content of parsed manifests is charged until they are written.
func TestMemory_ParsedChargesAddUp(t *testing.T) {
	t.Parallel()
	m := registry.NewMemory(registry.DefaultManifestMemory)
	granted := 0
	for range 100 {
		c := m.Charge("a.example b.example", "a copy")
		if !c.TryGrow(4 << 20) {
			break
		}
		c.Shrink(4 << 20)
		granted++
	}
	if got, most := int64(granted)*(4<<20), int64(registry.DefaultManifestMemory+4<<20); got > most {
		t.Errorf("manifests of %d bytes are in memory, want at most %d", got, most)
	}
}

func TestMemory_OneReservationExceedsTheShare(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := registry.NewMemory(registry.DefaultManifestMemory)
		_ = m.Reserve("a.example b.example", "an older copy, which needs no memory")
		first, second := m.Reserve("a.example b.example", "the first copy"), m.Reserve("a.example b.example", "the second copy")
		if err := first.Grow(t.Context(), large); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- second.Grow(t.Context(), large) }()
		synctest.Wait()
		if len(ended) > 0 {
			t.Fatal("Grow() beyond the ceiling and the reserved share did not wait")
		}
		first.Release()
		if err := <-ended; err != nil {
			t.Errorf("Grow() after the other reservation ended error = %v", err)
		}
	})
}

func TestMemory_CanceledWaitNamesTheHolder(t *testing.T) {
	t.Parallel()
	m := registry.NewMemory(registry.DefaultManifestMemory)
	if err := m.Reserve("a.example b.example", "the first copy").Grow(t.Context(), large); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := m.Reserve("a.example b.example", "the second copy").Grow(ctx, large)
	busy, ok := errors.AsType[*registry.BusyError](err)
	if !ok || busy.Holder != "the first copy" || !errors.Is(err, context.Canceled) {
		t.Errorf("Grow() error = %v, want a BusyError that names the first copy", err)
	}
}
