package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	quiet()
	os.Exit(m.Run())
}

func TestRun(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), options{seed: 1, copies: sweepEvery + 8, concurrency: 8}, &out); err != nil {
		t.Error(err)
	}
	t.Log(out.String())
	if !strings.HasSuffix(out.String(), "\nall checks passed\n") {
		t.Error("output does not end with \"all checks passed\"")
	}
	if strings.Contains(out.String(), "\nreferrers      0 ") {
		t.Error("no referrers were copied")
	}
	if strings.Contains(out.String(), " of which 0 were cut") {
		t.Error("no connections were cut")
	}
}

func TestRun_Interrupted(t *testing.T) {
	interrupted, interrupt := context.WithCancel(t.Context())
	interrupt()
	var out bytes.Buffer
	if err := run(interrupted, options{seed: 1, copies: 1 << 40, concurrency: 8}, &out); err != nil {
		t.Error(err)
	}
	if !strings.Contains(out.String(), "\nat rest ") {
		t.Errorf("output has no footprint:\n%s", out.String())
	}
}

func TestRun_Log(t *testing.T) {
	file := filepath.Join(t.TempDir(), "soak.log")
	o, err := parse([]string{"-copies", "1", "-at-once", "1", "-seed", "1", "-log", file})
	if err == nil {
		err = run(t.Context(), o, io.Discard)
	}
	if err = errors.Join(err, o.log.Close()); err != nil {
		t.Fatal(err)
	}
	if content, err := os.ReadFile(file); err != nil || !strings.Contains(string(content), `msg="image copied"`) {
		t.Errorf("log = %.300s, %v, want a copied image", content, err)
	}
}

func TestParse_Invalid(t *testing.T) {
	for _, args := range [][]string{{"-at-once", "0"}, {"-at-once", "99"}, {"-for", "0s"}, {"word"}, {"-log", filepath.Join(t.TempDir(), "no", "folder")}} {
		if o, err := parse(args); err == nil {
			t.Errorf("parse(%q) = %+v, want an error", args, o)
		}
	}
	if o, err := parse([]string{"-for", "1h", "-seed", "42"}); err != nil || o.seed != 42 {
		t.Errorf("parse() = %+v, %v, want seed 42", o, err)
	}
}
