package remote_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

func TestRetry_StatusCodes(t *testing.T) {
	for _, status := range []int{408, 425, 429, 499, 500, 502, 503, 504, 520, 521, 522, 523, 524, 525, 526, 527, 528, 529} {
		if n := attemptsFor(t, status, ""); n != 6 {
			t.Errorf("HTTP %d: attempts = %d, want 6", status, n)
		}
	}
	for _, status := range []int{400, 401, 403, 404, 405, 409, 412, 413, 416, 422, 501, 505, 530} {
		if n := attemptsFor(t, status, ""); n != 1 {
			t.Errorf("HTTP %d: attempts = %d, want 1", status, n)
		}
	}
	// A code determines whether a failure is retried, whatever the message says. The
	// message of each response is "quota exceeded".
	for code, status := range map[string]int{
		"NAME_UNKNOWN": 404, "MANIFEST_UNKNOWN": 404, "DENIED": 403, "UNSUPPORTED": 405, "MANIFEST_INVALID": 400, "UNAUTHORIZED": 401, "QUOTA": 413,
	} {
		if n := attemptsFor(t, status, code); n != 1 {
			t.Errorf("%s: attempts = %d, want 1", code, n)
		}
	}
	if n := attemptsFor(t, http.StatusForbidden, "TOOMANYREQUESTS"); n != 6 {
		t.Errorf("TOOMANYREQUESTS: attempts = %d, want 6", n)
	}
}

// attemptsFor counts the requests for a manifest if every response is the same, and
// compares the count with the trace.
func attemptsFor(t *testing.T, status int, code string) int {
	t.Helper()
	var requestCount atomic.Int32
	server := servePlain(t, func(w http.ResponseWriter, _ *http.Request) {
		requestCount.Add(1)
		w.WriteHeader(status)
		if code != "" {
			_, _ = w.Write(registrytest.ErrorBody(code, "quota exceeded"))
		}
	})
	c := newClient(t)
	if _, err := c.pull(t, address(server)+"/app").GetManifest(c.context(t), "1"); err == nil {
		t.Errorf("GetManifest() with HTTP %d = nil error, want an error", status)
	}
	if requests, retries := c.sent(); requests != int(requestCount.Load()) || retries != requests-1 {
		t.Errorf("HTTP %d: trace = %d requests and %d retries, want %d requests", status, requests, retries, requestCount.Load())
	}
	return int(requestCount.Load())
}

func TestRetry_BrokenConnection(t *testing.T) {
	for name, fault := range map[string]func(*registrytest.Rule){
		"reset_before_response": func(r *registrytest.Rule) { r.Reset() },
		"cut_response":          func(r *registrytest.Rule) { r.Cut(10) },
	} {
		t.Run(name, func(t *testing.T) {
			p := scripted(t, registrytest.Behaviour{})
			pushed := p.Push(t, "app", "1", registrytest.Image{Seed: "a"})
			fault(p.On("GET", ".*").Times(2))
			c := newClient(t)
			m, err := c.pull(t, p.Ref("app", "1")).GetManifest(c.context(t), "1")
			if err != nil || m.Digest != pushed.Digest {
				t.Fatalf("GetManifest() = %s, %v; want %s", m.Digest, err, pushed.Digest)
			}
			if requests, retries := c.sent(); requests != 3 || retries != 2 {
				t.Errorf("trace = %d requests and %d retries, want 3 and 2", requests, retries)
			}
			p.Clear()
			fault(p.On("GET", ".*"))
			_, err = c.pull(t, p.Ref("app", "1")).GetManifest(t.Context(), "1")
			assertErrorKind(t, err, registry.ErrUnavailable)
		})
	}
}

func TestRetry_DNSAndTLSFailures(t *testing.T) {
	alert := func(kind string) func(net.Conn, string) {
		return func(conn net.Conn, _ string) { _, _ = io.WriteString(conn, "\x15\x03\x03\x00\x02\x02"+kind) }
	}
	notFound := &net.DNSError{Err: "no such host", IsNotFound: true}
	for name, test := range map[string]struct {
		name  error                  // error of the name lookup
		shake func(net.Conn, string) // replaces the handshake
		kind  error                  // the kind if the fault persists
		once  bool
	}{
		"dns_failure":                 {&net.DNSError{Err: "server misbehaving", IsTemporary: true}, nil, registry.ErrUnavailable, false},
		"dns_timeout":                 {&net.DNSError{Err: "i/o timeout", IsTimeout: true}, nil, registry.ErrUnavailable, false},
		"unknown_name":                {notFound, nil, registry.ErrUnavailable, true},
		"closed_in_handshake":         {nil, func(net.Conn, string) {}, registry.ErrUnavailable, false},
		"reset_in_handshake":          {nil, func(conn net.Conn, _ string) { _ = conn.(*net.TCPConn).SetLinger(0) }, registry.ErrUnavailable, false},
		"internal_error_in_handshake": {nil, alert("\x50"), registry.ErrUnavailable, false},
		"refused_handshake":           {nil, alert("\x28"), registry.ErrProtocol, true},
	} {
		for _, times := range []int32{2, 100} {
			t.Run(fmt.Sprintf("%s_%d_times", name, times), func(t *testing.T) {
				n := newFakeNetwork(t)
				n.serve(t, "registry.example.com", registryAddress, serveManifest)
				var faults atomic.Int32
				faulty := ""
				if test.shake != nil {
					faulty = serveRaw(t, test.shake)
				}
				c := newClient(t, n.options, settings(n.trustedHosts("registry.example.com")), func(o *remote.Options) {
					o.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
						if test.name != nil && faults.Add(1) <= times {
							return nil, test.name
						}
						return n.resolve(ctx, host)
					}
					o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
						if faulty != "" && faults.Add(1) <= times {
							return (&net.Dialer{}).DialContext(ctx, network, faulty)
						}
						return n.dial(ctx, network, address)
					}
				})
				_, err := c.pull(t, "registry.example.com/app").GetManifest(c.context(t), "1")
				if want := times == 2 && !test.once; want && err != nil {
					t.Error(err)
				} else if !want {
					assertErrorKind(t, err, test.kind)
				}
				want := min(int(times)+1, 6)
				if test.once {
					want = 1
				}
				if sent, _ := c.sent(); sent != want {
					t.Errorf("attempts = %d, want %d: %v", sent, want, err)
				}
			})
		}
	}
}

// failingHandler returns a handler that always responds with status and records the time
// of each request.
func failingHandler(c *clock, status int, retryAfter string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		c.note()
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.WriteHeader(status)
	}
}

func TestRetry_Backoff(t *testing.T) {
	distinct := map[time.Duration]bool{}
	for range 3 {
		synctest.Test(t, func(t *testing.T) {
			clock := newClock()
			c := newClient(t, servePipes(t, failingHandler(clock, 503, "")).options)
			_, err := c.pull(t, pipeHost+"/app").GetManifest(t.Context(), "1")
			assertErrorKind(t, err, registry.ErrUnavailable)
			at := clock.times()
			if len(at) != 6 {
				t.Fatalf("requests = %d, want 6", len(at))
			}
			want := 250 * time.Millisecond
			for i := 1; i < len(at); i++ {
				if wait := at[i] - at[i-1]; wait < want/2 || wait > want*3/2 {
					t.Errorf("wait %d took %s, want about %s", i, wait, want)
				}
				distinct[at[i]-at[i-1]] = true
				want *= 2
			}
		})
	}
	if len(distinct) < 10 {
		t.Errorf("distinct waits = %d of 15, want at least 10", len(distinct))
	}
}

func TestRetry_RetryAfter(t *testing.T) {
	date := func(d time.Duration) func() string {
		return func() string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	}
	fixed := func(s string) func() string { return func() string { return s } }
	for name, test := range map[string]struct {
		retryAfter func() string
		least      time.Duration
		most       time.Duration
	}{
		"seconds":      {fixed("120"), 2 * time.Minute, 2*time.Minute + time.Second},
		"date":         {date(90 * time.Second), 89 * time.Second, 91 * time.Second},
		"zero":         {fixed("0"), 125 * time.Millisecond, 375 * time.Millisecond},
		"past_date":    {date(-time.Hour), 125 * time.Millisecond, 375 * time.Millisecond},
		"negative":     {fixed("-5"), 125 * time.Millisecond, 375 * time.Millisecond},
		"unit":         {fixed("120s"), 125 * time.Millisecond, 375 * time.Millisecond},
		"fraction":     {fixed("1.5"), 125 * time.Millisecond, 375 * time.Millisecond},
		"not_a_number": {fixed("soon"), 125 * time.Millisecond, 375 * time.Millisecond},
	} {
		for _, status := range []int{429, 503} {
			t.Run(fmt.Sprint(name, "_", status), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					clock := newClock()
					m := servePipes(t, func(w http.ResponseWriter, r *http.Request) { failingHandler(clock, status, test.retryAfter())(w, r) })
					c := newClient(t, m.options, func(o *remote.Options) { o.Attempts = 2 })
					_, err := c.pull(t, pipeHost+"/app").GetManifest(t.Context(), "1")
					if err == nil {
						t.Fatal("GetManifest() error = nil, want an error")
					}
					at := clock.times()
					if wait := at[1] - at[0]; wait < test.least || wait > test.most {
						t.Errorf("waited %s, want %s to %s", wait, test.least, test.most)
					}
				})
			})
		}
	}
}

func TestRetry_RetryAfterTooLong(t *testing.T) {
	for name, test := range map[string]struct {
		retryAfter string
		deadline   time.Duration // 0 means none
		quoted     string
	}{
		"after_deadline": {"61", time.Minute, "1m1s"},
		"above_maximum":  {"3600", 0, "1h0m0s"},
		"overflow":       {"99999999999999999999999", time.Hour, "24h0m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clock := newClock()
				c := newClient(t, servePipes(t, failingHandler(clock, 429, test.retryAfter)).options)
				ctx := t.Context()
				if test.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, test.deadline)
					defer cancel()
				}
				_, err := c.pull(t, pipeHost+"/app").GetManifest(ctx, "1")
				assertContains(t, assertErrorKind(t, err, registry.ErrRateLimited).Error(), "HTTP 429", "it asks to wait "+test.quoted)
				if clock.elapsed() != 0 || len(clock.times()) != 1 {
					t.Errorf("GetManifest() took %s and %d requests, want one request and no wait", clock.elapsed(), len(clock.times()))
				}
			})
		})
	}
}

func TestRetry_CanceledWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := newClock()
		c := newClient(t, servePipes(t, failingHandler(clock, 429, "60")).options)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Second, cancel)
		_, err := c.pull(t, pipeHost+"/app").GetManifest(ctx, "1")
		assertContains(t, assertErrorKind(t, err, registry.ErrRateLimited).Error(), "HTTP 429")
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error = %v, want context.Canceled", err)
		}
		if clock.elapsed() != 10*time.Second {
			t.Errorf("GetManifest() took %s, want 10s", clock.elapsed())
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err = newClient(t, servePipes(t, failingHandler(clock, 503, "")).options, func(o *remote.Options) { o.Backoff = time.Minute }).pull(t, pipeHost+"/app").GetManifest(ctx, "1")
		if e := assertErrorKind(t, err, registry.ErrUnavailable); !strings.HasSuffix(e.Error(), ": there was no time to try again") || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error at the deadline = %q", e)
		}
	})
}

func TestRetry_CanceledRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := newClock()
		ctx, cancel := context.WithCancel(t.Context())
		c := newClient(t, servePipes(t, func(w http.ResponseWriter, r *http.Request) {
			clock.note()
			cancel()
			<-r.Context().Done()
		}).options)
		_, err := c.pull(t, pipeHost+"/app").GetManifest(ctx, "1")
		assertErrorKind(t, err, registry.ErrUnavailable)
		if !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "try again") || len(clock.times()) != 1 || clock.elapsed() != 0 {
			t.Errorf("requests = %d in %s, error = %v", len(clock.times()), clock.elapsed(), err)
		}
	})
}

// Full storage stays full: it does not help to send the blob again.
func TestRetry_StorageFull(t *testing.T) {
	c := newClient(t)
	_, err := c.pull(t, address(serveFixed(t, http.StatusInsufficientStorage, "", string(registrytest.ErrorBody("UNKNOWN", "no space left on device"))))+"/app").GetManifest(c.context(t), "1")
	assertErrorKind(t, err, registry.ErrUnavailable)
	if sent, _ := c.sent(); sent != 1 {
		t.Errorf("requests = %d, want 1", sent)
	}
}

// A permanent refusal is not retried, and the error has the registry's own message.
func TestRetry_PermanentRefusal(t *testing.T) {
	const words = "no more than 10 GiB for the project"
	manifest := func(r registry.Repository) error {
		return r.PutManifest(t.Context(), "1", registry.Manifest{MediaType: registry.MediaTypeDockerManifest, Digest: descriptor("{}").Digest, Content: []byte("{}")})
	}
	blob := func(r registry.Repository) error {
		_, err := r.PutBlob(t.Context(), descriptor(small), newBody(t, small).get())
		return err
	}
	for step, s := range map[string]struct {
		method   string
		do       func(registry.Repository) error
		requests string
	}{
		"start_upload": {"POST", blob, "POST from app, POST"}, // a refused mount alone is not an error
		"upload":       {"PUT", blob, "POST from app, PUT, DELETE"},
		"put_manifest": {"PUT", manifest, "PUT"},
	} {
		for _, refusal := range []struct {
			status int
			code   string
		}{{403, "DENIED"}, {403, "QUOTA_EXCEEDED"}, {412, "PRECONDITION"}, {413, "SIZE_LIMIT"}, {400, "DENIED"}, {409, "CONFLICT"}, {422, "POLICY"}} {
			t.Run(fmt.Sprintf("%s/%d_%s", step, refusal.status, refusal.code), func(t *testing.T) {
				p := scripted(t, registrytest.Behaviour{})
				p.On(s.method, ".*").Reply(refusal.status, nil, string(registrytest.ErrorBody(refusal.code, words)))
				e := assertErrorKind(t, s.do(newClient(t).push(t, p.Ref("app", "1"))), registry.ErrDenied)
				if e.Status != refusal.status || e.Code != refusal.code || e.Message != words {
					t.Errorf("status = %d, code = %q, message = %q, want %d, %q, %q", e.Status, e.Code, e.Message, refusal.status, refusal.code, words)
				}
				if got := sentRequests(p); got != s.requests {
					t.Errorf("requests = %s, want %s", got, s.requests)
				}
			})
		}
	}
}
