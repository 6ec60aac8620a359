package remote

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// maxWarnings is the maximum number of distinct warnings. A registry that sends more is
// assumed to make them up.
const maxWarnings = 100

// warningDedup records reported warnings so that each is reported once during the lifetime
// of the client.
type warningDedup struct {
	mu   sync.Mutex
	seen map[string]bool
}

// first reports whether key was not reported before. It returns false after maxNotices
// keys.
func (n *warningDedup) first(key string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.seen[key] || len(n.seen) == maxWarnings {
		return false
	}
	if n.seen == nil {
		n.seen = map[string]bool{}
	}
	n.seen[key] = true
	return true
}

// emitWarning reports a warning in a response to the trace of ctx. It redacts what the
// client sent, because the warning may echo it. Warnings with the same key, or with the
// same text if key is empty, are reported once.
func (r *repository) emitWarning(ctx context.Context, resp *http.Response, key, format string, args ...any) {
	text := registry.Sanitize(r.redactFor(fmt.Sprintf(format, args...), resp.Request.URL, ""))
	if r.host.warnings.first(cmp.Or(key, text)) {
		registry.TraceOf(ctx).Warning(text)
	}
}

// warning matches a Warning header as registries send it: code 299, no agent, and a quoted
// text (OCI distribution specification, "Warnings").
var warning = regexp.MustCompile(`299 - ("(?:[^"\\]|\\.)*")`)

// lowPulls is the number of remaining pulls at which a rate limit causes a warning.
const lowPulls = 10

// handleWarnings reports Warning headers and a rate limit that is nearly reached.
func (r *repository) handleWarnings(ctx context.Context, resp *http.Response) {
	host, header := r.host.name, resp.Header
	for _, value := range header.Values("Warning") {
		for _, match := range warning.FindAllStringSubmatch(value, -1) {
			if text, err := strconv.Unquote(match[1]); err == nil && text != "" {
				r.emitWarning(ctx, resp, "", "%s says: %s", host, text)
			}
		}
	}
	remaining, _, _ := strings.Cut(header.Get("RateLimit-Remaining"), ";")
	if left, err := strconv.Atoi(strings.TrimSpace(remaining)); err == nil && left >= 0 && left <= lowPulls {
		// Warn once, not for every number on the way to 0.
		r.emitWarning(ctx, resp, "rate limit", "%s allows %d more pulls%s", host, left, ofLimit(header.Get("RateLimit-Limit")))
	}
}

// ofLimit formats a limit such as "100;w=21600".
func ofLimit(limit string) string {
	pulls, window, _ := strings.Cut(limit, ";w=")
	n, err := strconv.ParseUint(pulls, 10, 32)
	seconds, windowErr := strconv.ParseUint(window, 10, 32)
	if err != nil || windowErr != nil {
		return ""
	}
	return fmt.Sprintf(" of %d in %s", n, time.Duration(seconds)*time.Second)
}
