package provider

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"github.com/hashicorp/terraform-plugin-log/tflog"
	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// newLogger returns a logger for the engine that writes to Terraform's log, filtered by TF_LOG.
// The engine logs no secrets. Known secrets are redacted nevertheless, because logs are stored
// and shared.
func newLogger(secrets []auth.Secret) *slog.Logger {
	return slog.New(logHandler{secrets: secrets})
}

// logResolved logs the digest of a resolved reference during plan, refresh and destroy. from is
// the source of that information: the registry, private state, the plan of another resource, the
// reference itself, or a restored tag. The engine has already redacted err.
func logResolved(ctx context.Context, repository, reference string, names digest.Digest, from string, err error) {
	attrs := []any{"repository", repository, "reference", reference, "digest", names, "from", from}
	if err != nil {
		attrs = append(attrs, "error", err)
	}
	newLogger(nil).DebugContext(ctx, "resolved reference", attrs...)
}

// logHandler is a slog.Handler that writes to tflog. It uses the logger in the context of the
// record, which Terraform sets for each operation.
type logHandler struct {
	secrets []auth.Secret
	fields  map[string]any
	prefix  string // of the open groups
}

var _ slog.Handler = logHandler{}

// Enabled always reports true, because tflog filters by TF_LOG.
func (logHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h logHandler) Handle(ctx context.Context, r slog.Record) error {
	fields := maps.Clone(h.fields)
	if fields == nil {
		fields = map[string]any{}
	}
	r.Attrs(func(a slog.Attr) bool {
		h.add(fields, h.prefix, a)
		return true
	})
	write := tflog.Trace
	switch {
	case r.Level >= slog.LevelError:
		write = tflog.Error
	case r.Level >= slog.LevelWarn:
		write = tflog.Warn
	case r.Level >= slog.LevelInfo:
		write = tflog.Info
	case r.Level >= slog.LevelDebug:
		write = tflog.Debug
	}
	write(ctx, auth.Redact(r.Message, h.secrets...), fields)
	return nil
}

func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	fields := maps.Clone(h.fields)
	if fields == nil {
		fields = map[string]any{}
	}
	for _, a := range attrs {
		h.add(fields, h.prefix, a)
	}
	h.fields = fields
	return h
}

func (h logHandler) WithGroup(name string) slog.Handler {
	h.prefix += name + "."
	return h
}

// add adds an attribute to fields. The members of a group have a dot in their names.
func (h logHandler) add(fields map[string]any, prefix string, a slog.Attr) {
	v := a.Value.Resolve()
	switch v.Kind() {
	case slog.KindGroup:
		for _, member := range v.Group() {
			h.add(fields, prefix+a.Key+".", member)
		}
	case slog.KindInt64, slog.KindUint64:
		// As text, because Terraform formats a large number as 1.2e+06.
		fields[prefix+a.Key] = v.String()
	case slog.KindFloat64, slog.KindBool:
		fields[prefix+a.Key] = v.Any()
	case slog.KindDuration:
		fields[prefix+a.Key] = v.Duration().Round(time.Millisecond).String()
	default:
		fields[prefix+a.Key] = auth.Redact(fmt.Sprint(v.Any()), h.secrets...)
	}
}
