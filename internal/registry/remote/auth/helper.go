package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

const (
	// maxHelperOutput is the size limit of the output of a helper.
	maxHelperOutput = 64 << 10
	// helperCacheTime is how long the result of a helper is cached. Some helpers
	// return credentials that are valid for some hours only, and may have issued
	// them earlier.
	helperCacheTime = 10 * time.Minute
	// helperWaitDelay is how long children of a helper may keep its output open
	// after it has ended.
	helperWaitDelay = 500 * time.Millisecond
	// hubServer is the name that helpers use for Docker Hub.
	hubServer = "https://index.docker.io/v1/"
	// helperHasNone is the output of a helper without a credential for the host.
	// Its exit status is 1 (docker's "Credential helper protocol").
	helperHasNone = "credentials not found in native keychain"
)

// helpers runs credential helpers. Concurrent callers for a host share one run.
type helpers struct {
	timeout time.Duration
	now     func() time.Time
	runs    singleflight[helperKey, Credential]

	mu    sync.Mutex
	cache map[helperKey]cachedCredential
}

type helperKey struct{ program, server string }

type cachedCredential struct {
	credential Credential
	until      time.Time
}

var helperForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// get returns the credential for a host from the helper with the given suffix. The
// credential is anonymous if the helper has none. host must be a result of
// normalHost.
func (h *helpers) get(ctx context.Context, suffix, host string, file *configFile) (Credential, error) {
	q := helperKey{"docker-credential-" + suffix, host}
	if host == registry.DockerHub {
		q.server = hubServer
	}
	fail := func(why string, err error, try string) error {
		return &registry.Error{Op: "get credentials for", Reference: host, Kind: registry.ErrCredentials, Err: err,
			Message: fmt.Sprintf("the credential helper %s, named in %s, %s", registry.ShellWord(q.program), file.name, why),
			Hint:    fmt.Sprintf("%s. Or %s, or give credentials for %q in registries.", try, file.disableHelperHint(), host)}
	}
	// A suffix with a separator would make the name a path to any program.
	if !helperForm.MatchString(suffix) {
		return Credential{}, fail("has a name that no helper has", nil, "Correct the helper's name in "+file.name)
	}
	try := fmt.Sprintf("Try it with: echo %s | %s get", registry.ShellWord(q.server), registry.ShellWord(q.program))
	if c, ok := h.cached(q); ok {
		return c, nil
	}
	c, err := h.runs.do(ctx, q, func(ctx context.Context) (Credential, error) {
		if c, ok := h.cached(q); ok {
			return c, nil
		}
		ctx, cancel := context.WithTimeoutCause(ctx, h.timeout, fmt.Errorf("did not answer within %s", h.timeout))
		defer cancel()
		c, err := runHelper(ctx, q)
		if err != nil {
			return Credential{}, err
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.cache == nil {
			h.cache = map[helperKey]cachedCredential{}
		}
		h.cache[q] = cachedCredential{c, h.now().Add(helperCacheTime)}
		return c, nil
	})
	if err != nil && ctx.Err() != nil {
		return Credential{}, fail("was not waited for", err, try)
	}
	if err != nil {
		return Credential{}, fail(err.Error(), nil, try)
	}
	if !c.Anonymous() {
		c.Source = fmt.Sprintf("the credential helper %s, named in %s", q.program, file.name)
	}
	return c, nil
}

func (h *helpers) cached(q helperKey) (Credential, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a, ok := h.cache[q]
	return a.credential, ok && h.now().Before(a.until)
}

// runHelper runs a helper. Its errors continue the phrase "the helper".
func runHelper(ctx context.Context, q helperKey) (Credential, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// Cancel a helper that prints too much, because it may never end.
	out := limitedBuffer{full: func() { cancel(errNoCredential) }}
	var messages limitedBuffer
	cmd := exec.CommandContext(ctx, q.program, "get") //nolint:gosec // the name was validated
	cmd.Stdin = strings.NewReader(q.server)
	cmd.Stdout, cmd.Stderr = &out, &messages
	cmd.WaitDelay = helperWaitDelay
	killProcessGroup(cmd)
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // the helper succeeded, and left a process such as an agent running
	}
	switch {
	case ctx.Err() != nil:
		return Credential{}, context.Cause(ctx)
	case errors.Is(err, exec.ErrNotFound):
		return Credential{}, errors.New("is not on PATH")
	case err != nil && strings.TrimSpace(string(out.content)) == helperHasNone:
		return Credential{}, nil
	case err != nil:
		return Credential{}, fmt.Errorf("failed (%s)%s", registry.Sanitize(err.Error()), errorOutput(string(out.content), string(messages.content)))
	}
	var output struct {
		Username string
		Secret   Secret
	}
	if json.Unmarshal(out.content, &output) != nil {
		return Credential{}, errNoCredential
	}
	return asToken(Credential{Username: output.Username, Password: output.Secret}), nil
}

// errNoCredential continues the phrase "the helper". The output is not quoted,
// because it may be the secret.
var errNoCredential = errors.New("printed something else than a credential")

// maxErrorOutput is the length limit of a helper's quoted output, in bytes.
const maxErrorOutput = 200

// errorOutput returns the part of a failed helper's output that is safe to display. JSON is
// always replaced, because it may contain the secret.
func errorOutput(out, messages string) string {
	if strings.Contains(out, "{") {
		out = redacted
	}
	words := plainWords(registry.Sanitize(out + " " + messages))
	if len(words) > maxErrorOutput {
		words = words[:maxErrorOutput] + "…"
	}
	if words == "" {
		return ""
	}
	return ": " + words
}

// limitedBuffer stores the beginning of the written data. If there is more, it
// calls full unless that is nil.
type limitedBuffer struct {
	content []byte
	full    func()
}

func (c *limitedBuffer) Write(p []byte) (int, error) {
	room := min(len(p), maxHelperOutput-len(c.content))
	c.content = append(c.content, p[:room]...)
	if room < len(p) && c.full != nil {
		c.full()
	}
	return len(p), nil
}
