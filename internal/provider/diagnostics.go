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

// addEngineError adds an error of the engine as a diagnostic for the attribute at. The detail
// has the error, its hint, and the advice that the current operation adds.
func addEngineError(diags *diag.Diagnostics, at path.Path, summary string, err error, advice ...string) {
	diags.AddAttributeError(at, summary, engineDetail(err, advice))
}

// addEngineWarning is like addEngineError, but adds a warning.
func addEngineWarning(diags *diag.Diagnostics, at path.Path, summary string, err error, advice ...string) {
	diags.AddAttributeWarning(at, summary, engineDetail(err, advice))
}

// engineDetail formats err as paragraphs: the error, its hint, and each piece of advice.
func engineDetail(err error, advice []string) string {
	paragraphs := []string{capitalize(err.Error())}
	var e *registry.Error
	timedOut, isTimeout := errors.AsType[timeoutError](err)
	switch {
	case isTimeout:
		paragraphs = append(paragraphs, fmt.Sprintf("Look whether the registry is well. If it only needs longer, `timeouts` gives it more: timeouts = { %s = \"…\" }.", timedOut.operation))
	case errors.As(err, &e) && e.Hint != "":
		paragraphs = append(paragraphs, e.Hint)
	case errors.Is(err, context.Canceled) && len(advice) == 0:
		paragraphs = append(paragraphs, "Somebody ended it. Run it again.")
	}
	return strings.Join(append(paragraphs, advice...), "\n\n")
}

// withTimeout returns ctx with the timeout of one operation ("create", "read" and so on). Its
// cancellation cause is a timeoutError.
func withTimeout(ctx context.Context, timeout time.Duration, operation string) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, timeout, timeoutError{operation, timeout})
}

// timeoutError is the cancellation cause of an operation whose timeout has expired.
type timeoutError struct {
	operation string
	timeout   time.Duration
}

// Error describes which operation timed out. A read only waits for responses, so its message
// names the registry.
func (t timeoutError) Error() string {
	if t.operation == "read" {
		return fmt.Sprintf("the registry did not answer within %s, the read timeout", t.timeout)
	}
	return fmt.Sprintf("it was not done within %s, the %s timeout", t.timeout, t.operation)
}

// Is reports whether target is context.DeadlineExceeded.
func (timeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

// errorTitles are the summaries by kind of error. The verb is replaced by "Source ",
// "Destination " or, if there is only one registry, "".
var errorTitles = []struct {
	kind  error
	title string
}{
	{registry.ErrNotFound, "%sImage Not Found"},
	{registry.ErrUnauthorized, "%sRegistry Denied Access"},
	{registry.ErrDenied, "%sRegistry Denied Access"},
	{registry.ErrRateLimited, "%sRegistry Limits Requests"},
	{registry.ErrUnavailable, "%sRegistry Is Unavailable"},
}

// isMissingPlatform reports whether err means that the image exists but does not have the
// requested platform.
func isMissingPlatform(err error) bool {
	e, ok := errors.AsType[*registry.Error](err)
	return ok && errors.Is(err, registry.ErrNotFound) && strings.HasPrefix(e.Op, "find the platform")
}

// errorSummary returns the summary of an error by its kind. It returns fallback if the kind has
// no summary or if the operation was canceled. side is "Source ", "Destination " or "".
func errorSummary(side string, err error, fallback string) string {
	canceled := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	e, ok := errors.AsType[*registry.Error](err)
	if ok && !canceled && layout.Is(e.Repository) && !errors.Is(err, registry.ErrNotFound) {
		return fmt.Sprintf("%sImage Layout Is Unusable", side)
	}
	switch {
	case isMissingPlatform(err):
		return fmt.Sprintf("%sImage Lacks Platform", side)
	case ok && !canceled && errors.Is(err, registry.ErrUnavailable) && strings.HasPrefix(e.Op, "fetch a token"):
		return fmt.Sprintf("%sToken Service Is Unavailable", side)
	}
	for _, t := range errorTitles {
		if !canceled && errors.Is(err, t.kind) {
			return fmt.Sprintf(t.title, side)
		}
	}
	return fallback
}

// missingTagAdvice returns advice for a reference without tag and digest that was not found.
func missingTagAdvice(reference referenceValue, err error) []string {
	if hint := registry.HintMissingTag(reference.ValueString(), err); hint != "" {
		return []string{hint}
	}
	return nil
}

// mayBeCreatedLater reports whether err may be caused by an image or layout that another
// resource still has to create. An unavailable registry does not count, because an outage is
// more likely. Neither does a file that is not a valid layout, because it exists already.
func mayBeCreatedLater(err error) bool {
	return errors.Is(err, registry.ErrNotFound) && !isMissingPlatform(err)
}

// capitalize returns s as a sentence. It adds a period if s has no final punctuation, and
// capitalizes the first word unless that is a host or a reference.
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

// attributeOf returns the path of the attribute that an error of a copy belongs to.
func attributeOf(err error) path.Path {
	var e *registry.Error
	if errors.As(err, &e) && e.Side == registry.Source {
		return path.Root("source")
	}
	return path.Root("destination")
}

// warnings collects the warnings that registries send during an operation, without duplicates.
type warnings struct {
	mu       sync.Mutex
	messages []string
}

// collect returns a context that adds the warnings of its operations to w.
func (w *warnings) collect(ctx context.Context) context.Context {
	return registry.WithTrace(ctx, registry.Trace{Warning: func(message string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if !slices.Contains(w.messages, message) {
			w.messages = append(w.messages, message)
		}
	}})
}

// addTo adds the collected warnings to diags.
func (w *warnings) addTo(diags *diag.Diagnostics) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, message := range w.messages {
		diags.AddWarning("Registry Warning", message)
	}
}

// maxListed is the maximum number of names in a list. A repository may have thousands of tags.
const maxListed = 20

// joinNames returns names as an English list: "a", "a and b", or "a, b and c". It returns
// "none" if names is empty.
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
