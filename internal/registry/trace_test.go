package registry_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// heard is a trace that notes what it is told.
func heard(into *[]string, who string) registry.Trace {
	return registry.Trace{
		Request: func(r registry.Request) { *into = append(*into, who+": "+r.Kind()+" "+r.Host) },
		Over:    func(r registry.Request) { *into = append(*into, who+": over "+r.Host) },
		Wait:    func(w registry.Wait) { *into = append(*into, fmt.Sprint(who, ": ", w.For, " ", w.Took)) },
		Warning: func(w string) { *into = append(*into, who+": "+w) },
	}
}

func TestEveryNestedTraceIsToldOnce(t *testing.T) {
	var got []string
	outer := registry.WithTrace(t.Context(), heard(&got, "outer"))
	inner := registry.WithTrace(outer, heard(&got, "inner"))

	registry.TraceOf(inner).Request(registry.Request{Host: "ghcr.io", Method: "GET", Object: "blob"})
	registry.TraceOf(inner).Over(registry.Request{Host: "ghcr.io"})
	registry.TraceOf(inner).Wait(registry.Wait{For: registry.WaitRetry, Took: time.Second})
	registry.TraceOf(inner).Warning("soon gone")
	registry.TraceOf(outer).Warning("only outside")

	want := []string{
		"inner: GET blob ghcr.io", "outer: GET blob ghcr.io", "inner: over ghcr.io", "outer: over ghcr.io",
		"inner: retry 1s", "outer: retry 1s", "inner: soon gone", "outer: soon gone", "outer: only outside",
	}
	if !slices.Equal(got, want) {
		t.Errorf("heard %q, want %q", got, want)
	}
}

func TestTraceNeedsNoFunctions(t *testing.T) {
	var got []string
	ctx := registry.WithTrace(t.Context(), heard(&got, "outer"))
	ctx = registry.WithTrace(ctx, registry.Trace{})
	registry.TraceOf(ctx).Request(registry.Request{Host: "ghcr.io", Method: "HEAD", Object: "manifest"})
	if want := []string{"outer: HEAD manifest ghcr.io"}; !slices.Equal(got, want) {
		t.Errorf("heard %q through an empty trace, want %q", got, want)
	}

	none := registry.TraceOf(t.Context())
	if none.Request == nil || none.Over == nil || none.Wait == nil || none.Warning == nil {
		t.Fatal("the trace of a bare context has nil functions")
	}
	none.Request(registry.Request{})
	none.Over(registry.Request{})
	none.Wait(registry.Wait{})
	none.Warning("nobody listens")
}
