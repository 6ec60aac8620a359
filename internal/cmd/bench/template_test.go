package main

import (
	"slices"
	"testing"
)

func TestFill(t *testing.T) {
	got := template("SSL_CERT_FILE={ca} A_B=c tool  --host reg={source} X=1 {src} {unknown}").fill(map[string]string{
		"ca": "a directory/ca.pem", "source": "127.0.0.1:1", "src": "{dst}",
	})
	if want := []string{"SSL_CERT_FILE=a directory/ca.pem", "A_B=c"}; !slices.Equal(got.Env, want) {
		t.Errorf("fill() Env = %q, want %q", got.Env, want)
	}
	if want := []string{"tool", "--host", "reg=127.0.0.1:1", "X=1", "{dst}", "{unknown}"}; !slices.Equal(got.Args, want) {
		t.Errorf("fill() Args = %q, want %q", got.Args, want)
	}
}
