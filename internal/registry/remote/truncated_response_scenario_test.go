package remote_test

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// The response may end anywhere. net/http treats some truncated lines as complete ones.
func TestTruncatedResponse_Retried(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{})
	pushed := p.Push(t, "app", "1", registrytest.Index{})
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: %s\r\nDocker-Content-Digest: %s\r\nContent-Length: %d\r\n\r\n",
		pushed.MediaType, pushed.Digest, len(pushed.Bytes))
	c := newClient(t)
	for n := range len(head) + len(pushed.Bytes) {
		rule := p.On("GET", ".*").Times(1).Do(cutAfter(n, head+string(pushed.Bytes)))
		m, err := c.pull(t, p.Ref("app", "1")).GetManifest(t.Context(), "1")
		if err != nil || m.Digest != pushed.Digest || rule.Taken() != 1 {
			t.Errorf("GetManifest() after the truncated response %q = %v", (head + string(pushed.Bytes))[:n], err)
		}
	}
}

// cutAfter returns a handler that sends the first n bytes of text and closes the
// connection.
func cutAfter(n int, text string) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = conn.Write([]byte(text[:n]))
		_ = conn.Close()
	}
}

func TestTruncatedResponse_ErrorKind(t *testing.T) {
	for _, came := range []string{"H", "HTTP/1.", "HTTP/1.1 ", "HTTP/1.1 20", "HTTP/1.1 200 OK\r\nDocker"} {
		p := scripted(t, registrytest.Behaviour{})
		p.On("GET", ".*").Do(cutAfter(len(came), came))
		_, err := newClient(t).pull(t, p.Ref("app", "1")).GetManifest(t.Context(), "1")
		assertContains(t, assertErrorKind(t, err, registry.ErrUnavailable).Error(), "in the middle of an answer")
	}
}

func TestCancelUpload_RetriesAfterReset(t *testing.T) {
	for want, fault := range map[string]func(*registrytest.Rule){
		"[204]":   func(r *registrytest.Rule) { r.Times(0).Reset() },
		"[0 204]": func(r *registrytest.Rule) { r.Times(1).Reset() },
		"[0 0]":   func(r *registrytest.Rule) { r.Reset() }, // the number of attempts is limited
		"[503]":   func(r *registrytest.Rule) { r.Reply(http.StatusServiceUnavailable, nil, "") },
	} {
		p := scripted(t, registrytest.Behaviour{})
		p.On("PUT", ".*").Reply(http.StatusForbidden, nil, "")
		fault(p.On("DELETE", ".*"))
		_, err := newClient(t).push(t, p.Ref("app", "1")).PutBlob(t.Context(), descriptor("new"), newBody(t, "new").get())
		assertErrorKind(t, err, registry.ErrDenied)
		var statuses []int
		for _, r := range p.Requests() {
			if r.Method == http.MethodDelete {
				statuses = append(statuses, r.Status)
			}
		}
		if got := fmt.Sprint(statuses); got != want {
			t.Errorf("DELETE statuses = %s, want %s", got, want)
		}
	}
}

// Only the error document of a 400 tells whether the registry rejects the manifest permanently.
func TestPutManifest_TruncatedRefusal(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{})
	document := string(registrytest.ErrorBody("MANIFEST_BLOB_UNKNOWN", "blob unknown to registry"))
	p.On("PUT", ".*").Times(1).Do(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Length", strconv.Itoa(len(document)))
		w.WriteHeader(400)
		_, _ = io.WriteString(w, document[:20])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	refused := p.On("PUT", ".*").Times(1).Reply(400, nil, document)
	m, err := registry.NewManifest("application/vnd.oci.image.manifest.v1+json", []byte("{}"), "")
	if err != nil {
		t.Fatal(err)
	}
	assertErrorKind(t, newClient(t).push(t, p.Ref("app", "1")).PutManifest(t.Context(), "1", m), registry.ErrMissingContent)
	if refused.Taken() != 1 {
		t.Error("the refusal was not requested again")
	}
}
