package remote_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
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
			t.Errorf("HTTP %d: %d attempts, want 6", status, n)
		}
	}
	for _, status := range []int{400, 401, 403, 404, 405, 409, 412, 413, 416, 422, 501, 505, 530} {
		if n := attemptsFor(t, status, ""); n != 1 {
			t.Errorf("HTTP %d: %d attempts, want 1", status, n)
		}
	}
	// What is said of each is that a quota was exceeded.
	for code, status := range map[string]int{
		"NAME_UNKNOWN": 404, "MANIFEST_UNKNOWN": 404, "DENIED": 403, "UNSUPPORTED": 405, "MANIFEST_INVALID": 400, "UNAUTHORIZED": 401, "QUOTA": 413,
	} {
		if n := attemptsFor(t, status, code); n != 1 {
			t.Errorf("%s: %d attempts, want 1", code, n)
		}
	}
	if n := attemptsFor(t, http.StatusForbidden, "TOOMANYREQUESTS"); n != 6 {
		t.Errorf("TOOMANYREQUESTS: %d attempts, want 6", n)
	}
}

// attemptsFor counts how often a manifest is asked for when the answer is always
// the same, and compares with the trace.
func attemptsFor(t *testing.T, status int, code string) int {
	t.Helper()
	var asked atomic.Int32
	server := servePlain(t, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(status)
		if code != "" {
			_, _ = w.Write(registrytest.ErrorBody(code, "quota exceeded"))
		}
	})
	c := newClient(t)
	if _, err := c.pull(t, address(server)+"/app").GetManifest(c.context(t), "1"); err == nil {
		t.Errorf("HTTP %d is no error", status)
	}
	if requests, retries := c.sent(); requests != int(asked.Load()) || retries != requests-1 {
		t.Errorf("HTTP %d: the trace has %d requests and %d retries, the server had %d", status, requests, retries, asked.Load())
	}
	return int(asked.Load())
}

func TestRetry_BrokenConnection(t *testing.T) {
	for name, fault := range map[string]func(*registrytest.Rule){
		"reset before the answer": func(r *registrytest.Rule) { r.Reset() },
		"cut in mid answer":       func(r *registrytest.Rule) { r.Cut(10) },
	} {
		t.Run(name, func(t *testing.T) {
			p := scripted(t, registrytest.Behaviour{})
			pushed := p.Push(t, "app", "1", registrytest.Image{Seed: "a"})
			fault(p.On("GET", ".*").Times(2))
			c := newClient(t)
			m, err := c.pull(t, p.Ref("app", "1")).GetManifest(c.context(t), "1")
			if err != nil || m.Digest != pushed.Digest {
				t.Fatalf("read %s, %v", m.Digest, err)
			}
			if requests, retries := c.sent(); requests != 3 || retries != 2 {
				t.Errorf("the trace has %d requests and %d retries, want 3 and 2", requests, retries)
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
		name  error                  // of looking the name up
		shake func(net.Conn, string) // instead of a handshake
		kind  error                  // where it stays like that; ErrProtocol and what is not found are not tried again
		once  bool
	}{
		"the name server fails":                    {&net.DNSError{Err: "server misbehaving", IsTemporary: true}, nil, registry.ErrUnavailable, false},
		"the name server does not answer":          {&net.DNSError{Err: "i/o timeout", IsTimeout: true}, nil, registry.ErrUnavailable, false},
		"the name is not known":                    {notFound, nil, registry.ErrUnavailable, true},
		"the connection closes in the handshake":   {nil, func(net.Conn, string) {}, registry.ErrUnavailable, false},
		"the connection is reset in the handshake": {nil, func(conn net.Conn, _ string) { _ = conn.(*net.TCPConn).SetLinger(0) }, registry.ErrUnavailable, false},
		"the handshake meets an internal error":    {nil, alert("\x50"), registry.ErrUnavailable, false},
		"the handshake is refused":                 {nil, alert("\x28"), registry.ErrProtocol, true},
	} {
		for _, times := range []int32{2, 100} {
			t.Run(fmt.Sprintf("%s, %d times", name, times), func(t *testing.T) {
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
					t.Errorf("%d attempts, want %d: %v", sent, want, err)
				}
			})
		}
	}
}

// HTTP/2 would be offered by the server. Where it is not spoken, no GOAWAY ends
// the requests of many.
func TestTransport_HTTP2Disabled(t *testing.T) {
	n := newFakeNetwork(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 1 {
			t.Errorf("it is asked in %s", r.Proto)
		}
		serveManifest(w, r)
	}))
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{Certificates: []tls.Certificate{n.authority.issue(t, "registry.example.com")}, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(server.Close)
	n.name("registry.example.com", registryAddress)
	n.at(registryAddress+":443", address(server))
	proxied := []string{}
	for _, proxy := range []*url.URL{nil, n.proxy(t, &proxied)} {
		c := newClient(t, n.options, withProxy(proxy), settings(n.trustedHosts("registry.example.com")))
		if _, err := c.pull(t, "registry.example.com/app").GetManifest(t.Context(), "1"); err != nil {
			t.Error(err)
		}
	}
}

// unwell is a registry that is never well, and notes when it is asked.
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
			asked := newClock()
			c := newClient(t, servePipes(t, failingHandler(asked, 503, "")).options)
			_, err := c.pull(t, pipeHost+"/app").GetManifest(t.Context(), "1")
			assertErrorKind(t, err, registry.ErrUnavailable)
			at := asked.times()
			if len(at) != 6 {
				t.Fatalf("asked %d times", len(at))
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
		t.Errorf("of 15 waits only %d differ", len(distinct))
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
		"seconds":         {fixed("120"), 2 * time.Minute, 2*time.Minute + time.Second},
		"a date":          {date(90 * time.Second), 89 * time.Second, 91 * time.Second},
		"now":             {fixed("0"), 125 * time.Millisecond, 375 * time.Millisecond},
		"a date past":     {date(-time.Hour), 125 * time.Millisecond, 375 * time.Millisecond},
		"a negative time": {fixed("-5"), 125 * time.Millisecond, 375 * time.Millisecond},
		"with a unit":     {fixed("120s"), 125 * time.Millisecond, 375 * time.Millisecond},
		"a fraction":      {fixed("1.5"), 125 * time.Millisecond, 375 * time.Millisecond},
		"no time at all":  {fixed("soon"), 125 * time.Millisecond, 375 * time.Millisecond},
	} {
		for _, status := range []int{429, 503} {
			t.Run(fmt.Sprint(name, status), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					asked := newClock()
					m := servePipes(t, func(w http.ResponseWriter, r *http.Request) { failingHandler(asked, status, test.retryAfter())(w, r) })
					c := newClient(t, m.options, func(o *remote.Options) { o.Attempts = 2 })
					_, err := c.pull(t, pipeHost+"/app").GetManifest(t.Context(), "1")
					if err == nil {
						t.Fatal("there is no error")
					}
					at := asked.times()
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
		deadline   time.Duration // 0: none
		quoted     string
	}{
		"than its deadline":   {"61", time.Minute, "1m1s"},
		"than anybody waits":  {"3600", 0, "1h0m0s"},
		"than can be written": {"99999999999999999999999", time.Hour, "24h0m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := newClock()
				c := newClient(t, servePipes(t, failingHandler(asked, 429, test.retryAfter)).options)
				ctx := t.Context()
				if test.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, test.deadline)
					defer cancel()
				}
				_, err := c.pull(t, pipeHost+"/app").GetManifest(ctx, "1")
				assertContains(t, assertErrorKind(t, err, registry.ErrRateLimited).Error(), "HTTP 429", "it asks to wait "+test.quoted)
				if asked.elapsed() != 0 || len(asked.times()) != 1 {
					t.Errorf("it took %s and %d requests", asked.elapsed(), len(asked.times()))
				}
			})
		})
	}
}

func TestRetry_CanceledWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := newClock()
		c := newClient(t, servePipes(t, failingHandler(asked, 429, "60")).options)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Second, cancel)
		_, err := c.pull(t, pipeHost+"/app").GetManifest(ctx, "1")
		assertContains(t, assertErrorKind(t, err, registry.ErrRateLimited).Error(), "HTTP 429")
		if !errors.Is(err, context.Canceled) {
			t.Errorf("it does not say that it was cancelled: %v", err)
		}
		if asked.elapsed() != 10*time.Second {
			t.Errorf("it took %s, want 10s", asked.elapsed())
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err = newClient(t, servePipes(t, failingHandler(asked, 503, "")).options, func(o *remote.Options) { o.Backoff = time.Minute }).pull(t, pipeHost+"/app").GetManifest(ctx, "1")
		if e := assertErrorKind(t, err, registry.ErrUnavailable); !strings.HasSuffix(e.Error(), ": there was no time to try again") || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("at its deadline it says %q", e)
		}
	})
}

func TestRetry_CanceledRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := newClock()
		ctx, cancel := context.WithCancel(t.Context())
		c := newClient(t, servePipes(t, func(w http.ResponseWriter, r *http.Request) {
			asked.note()
			cancel()
			<-r.Context().Done()
		}).options)
		_, err := c.pull(t, pipeHost+"/app").GetManifest(ctx, "1")
		assertErrorKind(t, err, registry.ErrUnavailable)
		if !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "try again") || len(asked.times()) != 1 || asked.elapsed() != 0 {
			t.Errorf("%d requests in %s: %v", len(asked.times()), asked.elapsed(), err)
		}
	})
}

func TestPutManifest_HeadBeforeRetry(t *testing.T) {
	m := registrytest.Image{Seed: "a"}.Build()
	manifest := registry.Manifest{MediaType: m.MediaType, Digest: m.Digest, Content: m.Bytes}
	for name, test := range map[string]struct {
		answer func(http.ResponseWriter)
		want   string
	}{
		"the connection breaks": {func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, "PUT HEAD"},
		"a gateway times out":   {func(w http.ResponseWriter) { w.WriteHeader(http.StatusGatewayTimeout) }, "PUT HEAD"},
		"it was not taken":      {func(w http.ResponseWriter) { w.WriteHeader(http.StatusTooManyRequests) }, "PUT PUT"},
	} {
		t.Run(name, func(t *testing.T) {
			// Tags of this registry are written once, so that a second PUT fails.
			p := scripted(t, registrytest.Behaviour{ImmutableTags: true, Unchecked: true})
			p.On("PUT", ".*").Times(1).Do(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if name != "it was not taken" {
					p.PutManifest(t, "app", "1", m)
				}
				test.answer(w)
			})
			if err := newClient(t).push(t, p.Ref("app", "1")).PutManifest(t.Context(), "1", manifest); err != nil {
				t.Fatal(err)
			}
			var asked []string
			for _, r := range p.Requests() {
				asked = append(asked, r.Method)
			}
			if got := strings.Join(asked, " "); got != test.want {
				t.Errorf("asked %s, want %s", got, test.want)
			}
		})
	}
}
