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

// maxNotices is how many different things a registry may want people to know:
// beyond it somebody makes them up.
const maxNotices = 100

// warningDedup are what people were told, each once for the life of the client.
type warningDedup struct {
	mu   sync.Mutex
	seen map[string]bool
}

// first says whether a notice was not given before.
func (n *warningDedup) first(key string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.seen[key] || len(n.seen) == maxNotices {
		return false
	}
	if n.seen == nil {
		n.seen = map[string]bool{}
	}
	n.seen[key] = true
	return true
}

// emitWarning tells the operation at hand what an answer wants people to know, which may
// repeat what it was asked with. What has the same key, or without one the same
// words, is told once.
func (r *repository) emitWarning(ctx context.Context, resp *http.Response, key, format string, args ...any) {
	text := registry.Sanitize(r.redactFor(fmt.Sprintf(format, args...), resp.Request.URL, ""))
	if r.host.warnings.first(cmp.Or(key, text)) {
		registry.TraceOf(ctx).Warning(text)
	}
}

// warning is one Warning header as registries send it: code 299, no agent, and
// a quoted text (OCI distribution specification, "Warnings").
var warning = regexp.MustCompile(`299 - ("(?:[^"\\]|\\.)*")`)

// lowPulls is when a rate limit is worth a word.
const lowPulls = 10

// handleWarnings passes on what a registry says beside its answers: Warning headers
// and a rate limit that runs low.
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
		// Once, and not with every number on the way down.
		r.emitWarning(ctx, resp, "rate limit", "%s allows %d more pulls%s", host, left, ofLimit(header.Get("RateLimit-Limit")))
	}
}

// ofLimit puts a limit such as "100;w=21600" into words.
func ofLimit(limit string) string {
	pulls, window, _ := strings.Cut(limit, ";w=")
	n, err := strconv.ParseUint(pulls, 10, 32)
	seconds, windowErr := strconv.ParseUint(window, 10, 32)
	if err != nil || windowErr != nil {
		return ""
	}
	return fmt.Sprintf(" of %d in %s", n, time.Duration(seconds)*time.Second)
}
