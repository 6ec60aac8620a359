package layout_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
)

// recorder records log lines and calls then after each line.
type recorder struct {
	then func()

	mu     sync.Mutex
	buffer bytes.Buffer
}

func (r *recorder) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.then != nil {
		defer r.then()
	}
	return r.buffer.Write(p)
}

func (r *recorder) lines() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.buffer.Len() == 0 {
		return nil
	}
	return strings.Split(strings.TrimSpace(r.buffer.String()), "\n")
}
