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
	// maxHelperOutput is how much a helper may print.
	maxHelperOutput = 64 << 10
	// helperMemory is how long a helper's answer is believed. Some issue
	// credentials for hours only, and may have issued them a while ago.
	helperMemory = 10 * time.Minute
	// helperLag is how long a helper's children may keep its output open after
	// it has ended.
	helperLag = 500 * time.Millisecond
	// hubServer is the name under which helpers know Docker Hub.
	hubServer = "https://index.docker.io/v1/"
	// helperHasNone is what a helper prints that knows no credential, exit
	// status 1 (docker's "Credential helper protocol").
	helperHasNone = "credentials not found in native keychain"
)

// helpers runs credential helpers, each once for a host however many ask.
type helpers struct {
	timeout time.Duration
	now     func() time.Time
	flights singleflight[question, Credential]

	mu      sync.Mutex
	answers map[question]answer
}

type question struct{ program, server string }

type answer struct {
	credential Credential
	until      time.Time
}

var helperForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// get asks the helper that a file names by its suffix for a host's credential,
// which is anonymous where it has none. host must have passed normalHost.
func (h *helpers) get(ctx context.Context, suffix, host string, file *configFile) (Credential, error) {
	q := question{"docker-credential-" + suffix, host}
	if host == registry.DockerHub {
		q.server = hubServer
	}
	fail := func(why string, err error, try string) error {
		return &registry.Error{Op: "get credentials for", Reference: host, Kind: registry.ErrCredentials, Err: err,
			Message: fmt.Sprintf("the credential helper %s, named in %s, %s", registry.ShellWord(q.program), file.name, why),
			Hint:    fmt.Sprintf("%s. Or %s, or give credentials for %q in registries.", try, file.withoutHelper(), host)}
	}
	// With a separator in it the name would be a path, and any program.
	if !helperForm.MatchString(suffix) {
		return Credential{}, fail("has a name that no helper has", nil, "Correct the helper's name in "+file.name)
	}
	try := fmt.Sprintf("Try it with: echo %s | %s get", registry.ShellWord(q.server), registry.ShellWord(q.program))
	if c, ok := h.remembered(q); ok {
		return c, nil
	}
	c, err := h.flights.do(ctx, q, func(ctx context.Context) (Credential, error) {
		if c, ok := h.remembered(q); ok {
			return c, nil
		}
		ctx, cancel := context.WithTimeoutCause(ctx, h.timeout, fmt.Errorf("did not answer within %s", h.timeout))
		defer cancel()
		c, err := run(ctx, q)
		if err != nil {
			return Credential{}, err
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.answers == nil {
			h.answers = map[question]answer{}
		}
		h.answers[q] = answer{c, h.now().Add(helperMemory)}
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

func (h *helpers) remembered(q question) (Credential, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a, ok := h.answers[q]
	return a.credential, ok && h.now().Before(a.until)
}

// run runs a helper. Its errors go on from "the helper".
func run(ctx context.Context, q question) (Credential, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// What has printed that much is not waited for: it may never end.
	out := capped{full: func() { cancel(errNoCredential) }}
	var messages capped
	cmd := exec.CommandContext(ctx, q.program, "get") //nolint:gosec // its name was checked
	cmd.Stdin = strings.NewReader(q.server)
	cmd.Stdout, cmd.Stderr = &out, &messages
	cmd.WaitDelay = helperLag
	endWithChildren(cmd)
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // it ended well, and left something like an agent behind
	}
	switch {
	case ctx.Err() != nil:
		return Credential{}, context.Cause(ctx)
	case errors.Is(err, exec.ErrNotFound):
		return Credential{}, errors.New("is not on PATH")
	case err != nil && strings.TrimSpace(string(out.kept)) == helperHasNone:
		return Credential{}, nil
	case err != nil:
		return Credential{}, fmt.Errorf("failed (%s)%s", registry.Sanitize(err.Error()), saying(string(out.kept), string(messages.kept)))
	}
	var said struct {
		Username string
		Secret   Secret
	}
	if json.Unmarshal(out.kept, &said) != nil {
		return Credential{}, errNoCredential
	}
	return asToken(Credential{Username: said.Username, Password: said.Secret}), nil
}

// errNoCredential goes on from "the helper". What it printed is not quoted: it
// may be the secret.
var errNoCredential = errors.New("printed something else than a credential")

// maxSaying is how much is shown of what a helper said.
const maxSaying = 200

// saying is what a helper said when it failed, as far as it is safe to show. An
// answer is not, whatever it looks like.
func saying(out, messages string) string {
	if strings.Contains(out, "{") {
		out = redacted
	}
	words := plainWords(registry.Sanitize(out + " " + messages))
	if len(words) > maxSaying {
		words = words[:maxSaying] + "…"
	}
	if words == "" {
		return ""
	}
	return ": " + words
}

// capped keeps the beginning of what is written to it, and calls full, where
// there is one, when that is not all.
type capped struct {
	kept []byte
	full func()
}

func (c *capped) Write(p []byte) (int, error) {
	room := min(len(p), maxHelperOutput-len(c.kept))
	c.kept = append(c.kept, p[:room]...)
	if room < len(p) && c.full != nil {
		c.full()
	}
	return len(p), nil
}
