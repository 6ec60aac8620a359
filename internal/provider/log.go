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

// newLogger gives the engine a logger that writes to Terraform's log, where
// TF_LOG decides what is seen. The engine logs no secret; those that are known
// here are masked in what it logs all the same, because logs are kept and sent
// around.
func newLogger(secrets []auth.Secret) *slog.Logger {
	return slog.New(logHandler{secrets: secrets})
}

// logLook tells what a tag or digest of a repository names, while planning,
// refreshing and destroying, and where that is known from: the registry, the
// resource's record, or the reference itself. The engine has masked what an
// error says.
func logLook(ctx context.Context, repository, reference string, names digest.Digest, from string, err error) {
	about := []any{"repository", repository, "reference", reference, "digest", names, "from", from}
	if err != nil {
		about = append(about, "error", err)
	}
	newLogger(nil).DebugContext(ctx, "looked at a reference", about...)
}

// logHandler is a slog.Handler onto tflog. The logger is the one in the context
// that a record comes with: Terraform's, for the operation at hand.
type logHandler struct {
	secrets []auth.Secret
	fields  map[string]any
	prefix  string // of the open groups
}

var _ slog.Handler = logHandler{}

// Enabled leaves the choice to tflog, which knows what TF_LOG asks for.
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

// add puts an attribute among the fields, groups with a dot in the name.
func (h logHandler) add(fields map[string]any, prefix string, a slog.Attr) {
	v := a.Value.Resolve()
	switch v.Kind() {
	case slog.KindGroup:
		for _, member := range v.Group() {
			h.add(fields, prefix+a.Key+".", member)
		}
	case slog.KindInt64, slog.KindUint64:
		// As text: Terraform shows a large number as 1.2e+06.
		fields[prefix+a.Key] = v.String()
	case slog.KindFloat64, slog.KindBool:
		fields[prefix+a.Key] = v.Any()
	case slog.KindDuration:
		fields[prefix+a.Key] = v.Duration().Round(time.Millisecond).String()
	default:
		fields[prefix+a.Key] = auth.Redact(fmt.Sprint(v.Any()), h.secrets...)
	}
}
