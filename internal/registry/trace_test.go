package registry_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// recordingTrace returns a trace that appends its events to a list.
func recordingTrace(into *[]string, name string) registry.Trace {
	return registry.Trace{
		Request: func(r registry.Request) { *into = append(*into, name+": "+r.Kind()+" "+r.Host) },
		Over:    func(r registry.Request) { *into = append(*into, name+": over "+r.Host) },
		Wait:    func(w registry.Wait) { *into = append(*into, fmt.Sprint(name, ": ", w.For, " ", w.Took)) },
		Warning: func(w string) { *into = append(*into, name+": "+w) },
	}
}

func TestWithTrace_Nested(t *testing.T) {
	var got []string
	outer := registry.WithTrace(t.Context(), recordingTrace(&got, "outer"))
	inner := registry.WithTrace(outer, recordingTrace(&got, "inner"))

	registry.TraceOf(inner).Request(registry.Request{Host: "ghcr.io", Method: "GET", Object: "blob"})
	registry.TraceOf(inner).Over(registry.Request{Host: "ghcr.io"})
	registry.TraceOf(inner).Wait(registry.Wait{For: registry.WaitRetry, Took: time.Second})
	registry.TraceOf(inner).Warning("deprecated")
	registry.TraceOf(outer).Warning("outer only")

	want := []string{
		"inner: GET blob ghcr.io", "outer: GET blob ghcr.io", "inner: over ghcr.io", "outer: over ghcr.io",
		"inner: retry 1s", "outer: retry 1s", "inner: deprecated", "outer: deprecated", "outer: outer only",
	}
	if !slices.Equal(got, want) {
		t.Errorf("events = %q, want %q", got, want)
	}
}

func TestWithTrace_NilFunctions(t *testing.T) {
	var got []string
	ctx := registry.WithTrace(t.Context(), recordingTrace(&got, "outer"))
	ctx = registry.WithTrace(ctx, registry.Trace{})
	registry.TraceOf(ctx).Request(registry.Request{Host: "ghcr.io", Method: "HEAD", Object: "manifest"})
	if want := []string{"outer: HEAD manifest ghcr.io"}; !slices.Equal(got, want) {
		t.Errorf("events with an empty trace = %q, want %q", got, want)
	}

	none := registry.TraceOf(t.Context())
	if none.Request == nil || none.Over == nil || none.Wait == nil || none.Warning == nil {
		t.Fatal("TraceOf() has nil functions")
	}
	none.Request(registry.Request{})
	none.Over(registry.Request{})
	none.Wait(registry.Wait{})
	none.Warning("ignored")
}
