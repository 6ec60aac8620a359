package registry_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

func TestMemory_OldestOfAHostNeverWaits(t *testing.T) {
	t.Parallel()
	m := registry.NewMemory(1000)
	slow := m.Reserve("slow.example", "the slow copy")
	if err := slow.Keep(t.Context(), 1000); err != nil {
		t.Fatal(err)
	}
	other := m.Reserve("other.example", "the other copy")
	if err := other.Keep(t.Context(), 500); err != nil {
		t.Errorf("Keep() of the oldest reservation of another host error = %v", err)
	}
	charge := other.Charge()
	if err := charge.For(t.Context(), 5000); err != nil {
		t.Errorf("For() of the oldest reservation of another host error = %v", err)
	}
	if other.Charge().TryFor(10) {
		t.Error("TryFor() of a second manifest above the ceiling = true, want false")
	}
	charge.Release()
	if again := other.Charge(); !again.TryFor(10) {
		t.Error("TryFor() after the first manifest was released = false, want true")
	}
}

func TestMemory_YoungerReservationWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := registry.NewMemory(1000)
		oldest, younger := m.Reserve("a.example", "the first copy"), m.Reserve("a.example", "the second copy")
		if err := oldest.Keep(t.Context(), 900); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- younger.Keep(t.Context(), 500) }()
		synctest.Wait()
		if len(ended) > 0 {
			t.Fatal("Keep() beyond the ceiling did not wait")
		}
		oldest.Release()
		if err := <-ended; err != nil {
			t.Errorf("Keep() after the oldest reservation ended error = %v", err)
		}
	})
}

func TestMemory_CanceledWaitNamesTheHolder(t *testing.T) {
	t.Parallel()
	m := registry.NewMemory(1000)
	if err := m.Reserve("a.example", "the first copy").Keep(t.Context(), 900); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := m.Reserve("a.example", "the second copy").Keep(ctx, 500)
	busy, ok := errors.AsType[*registry.BusyError](err)
	if !ok || busy.Holder != "the first copy" || !errors.Is(err, context.Canceled) {
		t.Errorf("Keep() error = %v, want a BusyError that names the first copy", err)
	}
}
