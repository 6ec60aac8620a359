package provider

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/layout"
)

// addEngineError puts an error of the engine into words: what failed in the
// summary; where, what the registry said and what to do in the detail. advice
// is what the operation at hand can add to the engine's own hint.
func addEngineError(diags *diag.Diagnostics, at path.Path, summary string, err error, advice ...string) {
	diags.AddAttributeError(at, summary, engineDetail(err, advice))
}

// addEngineWarning is addEngineError for a failure that stops nothing.
func addEngineWarning(diags *diag.Diagnostics, at path.Path, summary string, err error, advice ...string) {
	diags.AddAttributeWarning(at, summary, engineDetail(err, advice))
}

// engineDetail is one paragraph each for the error, the engine's hint, and
// every piece of advice.
func engineDetail(err error, advice []string) string {
	paragraphs := []string{capitalize(err.Error())}
	var e *registry.Error
	over, isOver := errors.AsType[timeoutError](err)
	switch {
	case isOver:
		paragraphs = append(paragraphs, fmt.Sprintf("Look whether the registry is well. If it only needs longer, `timeouts` gives it more: timeouts = { %s = \"…\" }.", over.operation))
	case errors.As(err, &e) && e.Hint != "":
		paragraphs = append(paragraphs, e.Hint)
	case errors.Is(err, context.Canceled) && len(advice) == 0:
		paragraphs = append(paragraphs, "Somebody ended it. Run it again.")
	}
	return strings.Join(append(paragraphs, advice...), "\n\n")
}

// withTimeout is ctx for one operation of a resource ("create", "read" and so on).
// What is still under way after its timeout fails with a timeoutError.
func withTimeout(ctx context.Context, timeout time.Duration, operation string) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, timeout, timeoutError{operation, timeout})
}

// timeoutError is why something was ended when the time for an operation was over.
type timeoutError struct {
	operation string
	timeout   time.Duration
}

// Error says what was not done in time. A read waits for answers and nothing
// else.
func (t timeoutError) Error() string {
	if t.operation == "read" {
		return fmt.Sprintf("the registry did not answer within %s, the read timeout", t.timeout)
	}
	return fmt.Sprintf("it was not done within %s, the %s timeout", t.timeout, t.operation)
}

// Is lets it be recognised as what it is to everything else.
func (timeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

// titles say what failed, by the kind of the error. what is "source ",
// "destination ", or nothing where there is only one registry.
var titles = []struct {
	kind  error
	title string
}{
	{registry.ErrNotFound, "The %simage does not exist"},
	{registry.ErrUnauthorized, "The %sregistry refused the request"},
	{registry.ErrDenied, "The %sregistry refused the request"},
	{registry.ErrRateLimited, "The %sregistry limits requests"},
	{registry.ErrUnavailable, "The %sregistry is not available"},
}

// lacksPlatform says whether an image is there, and a platform that is wanted of
// it is not.
func lacksPlatform(err error) bool {
	e, ok := errors.AsType[*registry.Error](err)
	return ok && errors.Is(err, registry.ErrNotFound) && strings.HasPrefix(e.Op, "find the platform")
}

// errorSummary is the summary for an error: what its kind means, or otherwise that the
// operation did not succeed, which is all that is known where it was ended from
// here.
func errorSummary(what string, err error, otherwise string) string {
	ended := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	e, ok := errors.AsType[*registry.Error](err)
	if ok && !ended && layout.Is(e.Repository) && !errors.Is(err, registry.ErrNotFound) {
		return fmt.Sprintf("The %simage layout cannot be used", what)
	}
	switch {
	case lacksPlatform(err):
		return fmt.Sprintf("The %simage does not have the platform", what)
	case ok && !ended && errors.Is(err, registry.ErrUnavailable) && strings.HasPrefix(e.Op, "fetch a token"):
		return fmt.Sprintf("The %sregistry's token service is not available", what)
	}
	for _, t := range titles {
		if !ended && errors.Is(err, t.kind) {
			return fmt.Sprintf(t.title, what)
		}
	}
	return otherwise
}

// untagged is what to say where a reference that names neither tag nor digest
// leads to nothing.
func untagged(reference referenceValue, err error) []string {
	if said := registry.HintMissingTag(reference.ValueString(), err); said != "" {
		return []string{said}
	}
	return nil
}

// mayBeCreatedLater says whether the reason may be that what is asked for is still to be
// made: an image that does not exist, a layout that is not there. That a registry
// is still to be started is rarer than that it is down, and a file that is no
// layout is there already.
func mayBeCreatedLater(err error) bool {
	return errors.Is(err, registry.ErrNotFound) && !lacksPlatform(err)
}

// capitalize is s with a full stop, and with a capital where it begins with a
// word: a host or a reference is shown as it is written.
func capitalize(s string) string {
	if s == "" {
		return s
	}
	if first, _, _ := strings.Cut(s, " "); !strings.ContainsAny(first, "./:") {
		s = strings.ToUpper(s[:1]) + s[1:]
	}
	if !strings.ContainsAny(s[len(s)-1:], ".?!") {
		s += "."
	}
	return s
}

// attributeOf is the attribute that an error of a copy is about.
func attributeOf(err error) path.Path {
	var e *registry.Error
	if errors.As(err, &e) && e.Side == registry.Source {
		return path.Root("source")
	}
	return path.Root("destination")
}

// warnings collects what registries want people to know while something is
// asked of them, each once.
type warnings struct {
	mu   sync.Mutex
	said []string
}

// collect returns a context whose operations report to n.
func (n *warnings) collect(ctx context.Context) context.Context {
	return registry.WithTrace(ctx, registry.Trace{Warning: func(said string) {
		n.mu.Lock()
		defer n.mu.Unlock()
		if !slices.Contains(n.said, said) {
			n.said = append(n.said, said)
		}
	}})
}

// tell makes warnings of what was said.
func (n *warnings) tell(diags *diag.Diagnostics) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, said := range n.said {
		diags.AddWarning("A registry has something to say", said)
	}
}

// maxListed is how many names a list shows: a repository may have thousands of
// tags.
const maxListed = 20

// joinNames is names as people write lists: "a", "a and b", "a, b and c"; "none"
// for none.
func joinNames(names []string) string {
	if more := len(names) - maxListed; more > 1 {
		names = append(slices.Clone(names[:maxListed]), fmt.Sprintf("%d more", more))
	}
	switch len(names) {
	case 0:
		return "none"
	case 1:
		return names[0]
	}
	last := len(names) - 1
	return fmt.Sprintf("%s and %s", strings.Join(names[:last], ", "), names[last])
}
