package provider

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

// dialWithResponse returns a dial function for a server that sends the given response to one
// request. If the response is empty, the server does not respond.
func dialWithResponse(answer string) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			_, _ = http.ReadRequest(bufio.NewReader(server))
			if _, _ = io.WriteString(server, answer); answer == "" {
				_, _ = io.Copy(io.Discard, server) // until the client closes the connection
			}
		}()
		return client, nil
	}
}

func TestRefresh_SourceReadTimeout(t *testing.T) {
	const reference = "127.0.0.1:5000/app:1"
	for name, test := range map[string]struct {
		answer   string
		contains string
		kind     error
	}{
		"rate_limited": {"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 6\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "asks to wait 6s", registry.ErrRateLimited},
		"silent":       {"", "it did not answer within 20s, and a refresh waits no longer for a source", registry.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, err := newEngine(settings{options: remote.Options{Dial: dialWithResponse(test.answer)}})
				if err != nil {
					t.Fatal(err)
				}
				applied := resolvedSource{Source: reference, SourceDigest: digest.FromString("app"), Digest: digest.FromString("app")}
				ctx, cancel := context.WithTimeout(t.Context(), defaultReadTimeout)
				defer cancel()
				began := time.Now() // virtual time of the synctest bubble
				found, _, err := (&imageCopyResource{engine: e}).refreshSource(ctx, imageCopyModel{Source: newReference(reference)}, privateState{Applied: applied})
				if took := time.Since(began); took < 10*time.Second || took > sourceReadTimeout {
					t.Errorf("refreshSource() took %s", took)
				}
				if !errors.Is(err, test.kind) || !strings.Contains(err.Error(), test.contains) {
					t.Errorf("refreshSource() error = %v, want %q", err, test.contains)
				}
				if !reflect.DeepEqual(found, applied) {
					t.Errorf("refreshSource() = %v, want the applied source", found)
				}
			})
		})
	}
}
