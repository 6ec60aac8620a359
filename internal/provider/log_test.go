package provider

import (
	"bytes"
	"encoding/base64"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-log/tflogtest"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

func TestLogger_LevelsAndFields(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	ctx := tflogtest.RootLogger(t.Context(), &out)
	log := newLogger(nil).With("host", "ghcr.io").WithGroup("blob")
	log.LogAttrs(ctx, remote.LevelTrace, "request", slog.Int("status", 200))
	log.DebugContext(ctx, "copied", "size", int64(7), "took", 1500*time.Microsecond, slog.Group("side", "source", "a"))
	log.InfoContext(ctx, "info")
	log.WarnContext(ctx, "warn")
	log.ErrorContext(ctx, "error", "err", errors.New("broken"), "password", auth.Secret("hunter22"))

	lines, err := tflogtest.MultilineJSONDecode(&out)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []map[string]any{
		{"@level": "trace", "@message": "request", "host": "ghcr.io", "blob.status": "200"},
		{"@level": "debug", "@message": "copied", "blob.size": "7", "blob.took": "2ms", "blob.side.source": "a"},
		{"@level": "info", "@message": "info"},
		{"@level": "warn", "@message": "warn"},
		{"@level": "error", "@message": "error", "blob.err": "broken", "blob.password": "***"},
	} {
		if i >= len(lines) {
			t.Fatalf("%d lines", len(lines))
		}
		for key, value := range want {
			if lines[i][key] != value {
				t.Errorf("line %d: %s is %v, want %v", i, key, lines[i][key], value)
			}
		}
	}
}

func TestLogger_RedactsSecrets(t *testing.T) {
	t.Parallel()
	const secret = "p4ss/word+canary"
	encoded := base64.StdEncoding.EncodeToString([]byte(secret))
	var out bytes.Buffer
	ctx := tflogtest.RootLogger(t.Context(), &out)
	log := newLogger([]auth.Secret{secret})
	log.With("with", "a "+secret).DebugContext(ctx, "message "+secret, "field", "x="+secret, "base64", encoded, "err", errors.New(secret))
	if s := out.String(); strings.Contains(s, secret) || strings.Contains(s, encoded) {
		t.Errorf("the log shows the secret: %s", s)
	}
	if n := strings.Count(out.String(), "***"); n != 5 {
		t.Errorf("%d masks, want 5: %s", n, out.String())
	}
}

func TestLogger_ResolvedReferences(t *testing.T) {
	t.Parallel()
	const reference = "registry.test/app:1"
	known, seen := digest.FromString("known"), digest.FromString("seen")
	var out bytes.Buffer
	ctx := tflogtest.RootLogger(t.Context(), &out)
	repo := &fakeRepository{head: registry.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: seen}}
	if _, err := resolveReference(ctx, repo, "1", ""); err != nil {
		t.Fatal(err)
	}
	repo.headErr = &registry.Error{Kind: registry.ErrDenied, Message: "not yours"}
	if _, err := resolveReference(ctx, repo, "1", ""); err == nil {
		t.Fatal("no error")
	}
	p := planBuilder{update: true, plan: imageCopyModel{Source: newReference(reference), Destination: newReference("registry.test/prod:2")},
		record: privateState{Latest: resolvedSource{Source: reference, SourceDigest: known, Digest: known}, Observed: map[string]digest.Digest{"2": known}}}
	p.plannedSource(ctx)
	p.checkTags(ctx, known)

	lines, err := tflogtest.MultilineJSONDecode(&out)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []map[string]any{
		{"repository": "registry.test/app", "reference": "1", "digest": seen.String(), "from": "registry"},
		{"repository": "registry.test/app", "reference": "1", "from": "registry", "error": repo.headErr.Error()},
		{"repository": "registry.test/app", "reference": "1", "digest": known.String(), "from": "record"},
		{"repository": "registry.test/prod", "reference": "2", "digest": known.String(), "from": "record"},
	} {
		if i >= len(lines) {
			t.Fatalf("%d lines", len(lines))
		}
		for key, value := range want {
			if lines[i][key] != value {
				t.Errorf("line %d: %s is %v, want %v", i, key, lines[i][key], value)
			}
		}
	}
}
