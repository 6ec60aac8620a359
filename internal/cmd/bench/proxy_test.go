package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// arrivals is a writer that records when content is written to it.
type arrivals struct {
	began time.Time
	bytes bytes.Buffer
	after []time.Duration
}

func (a *arrivals) Write(p []byte) (int, error) {
	a.after = append(a.after, time.Since(a.began))
	return a.bytes.Write(p)
}

// sendAt writes each text at its time and then closes w.
func sendAt(w *io.PipeWriter, began time.Time, sends map[time.Duration]string, order ...time.Duration) {
	for _, at := range order {
		<-time.After(time.Until(began.Add(at)))
		_, _ = io.WriteString(w, sends[at])
	}
	_ = w.Close()
}

func TestForward_Delay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ms = time.Millisecond
		r, w := io.Pipe()
		to := &arrivals{began: time.Now()}
		go sendAt(w, to.began, map[time.Duration]string{0: "one ", 5 * ms: "two ", 50 * ms: "three ", 51 * ms: "four"}, 0, 5*ms, 50*ms, 51*ms)
		n, err := line{rtt: 20 * ms}.forward(t.Context(), to, r, to.began)
		if got := to.bytes.String(); err != nil || got != "one two three four" || n != int64(len(got)) {
			t.Errorf("forward() wrote %q, %d bytes, %v", got, n, err)
		}
		// The connection is established after 20 ms. Content sent later is delayed by 10 ms.
		want := []time.Duration{30 * ms, 30 * ms, 60 * ms, 61 * ms}
		if len(to.after) != len(want) {
			t.Fatalf("arrival times = %v, want %v", to.after, want)
		}
		for i := range want {
			if to.after[i] != want[i] {
				t.Errorf("arrival times = %v, want %v", to.after, want)
			}
		}
	})
}

func TestForward_Cap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		content := bytes.Repeat([]byte("x"), 3*chunkSize)
		to := &arrivals{began: time.Now()}
		n, err := line{cap: chunkSize}.forward(t.Context(), to, bytes.NewReader(content), to.began)
		if err != nil || n != int64(len(content)) || !bytes.Equal(to.bytes.Bytes(), content) {
			t.Fatalf("forward() wrote %d bytes, %v", n, err)
		}
		if elapsed := to.after[len(to.after)-1]; elapsed != 3*time.Second {
			t.Errorf("forward() took %v, want 3s", elapsed)
		}
	})
}

func TestForward_Error(t *testing.T) {
	broken := errors.New("broken")
	for _, l := range []line{{}, {rtt: time.Millisecond}} {
		synctest.Test(t, func(t *testing.T) {
			if _, err := l.forward(t.Context(), io.Discard, iotest.ErrReader(broken), time.Now()); !errors.Is(err, broken) {
				t.Errorf("forward() with a read error = %v, want %v", err, broken)
			}
			r, w := io.Pipe()
			_ = r.CloseWithError(broken)
			if _, err := l.forward(t.Context(), w, bytes.NewReader(make([]byte, 1000*chunkSize)), time.Now()); !errors.Is(err, broken) {
				t.Errorf("forward() with a write error = %v, want %v", err, broken)
			}
		})
	}
}

func TestProxy_Counts(t *testing.T) {
	backend, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer backend.Close()
	go func() { // echo server
		for {
			conn, err := backend.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	for _, l := range []line{{}, {rtt: time.Millisecond, cap: 1e9}} {
		p, err := listen(t.Context(), backend.Addr().String(), l)
		if err != nil {
			t.Fatal(err)
		}
		sent := bytes.Repeat([]byte("0123456789"), 20_000)
		for range 3 {
			conn, err := net.Dial("tcp", p.address)
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				_, _ = conn.Write(sent)
				_ = conn.(*net.TCPConn).CloseWrite()
			}()
			if got, err := io.ReadAll(conn); err != nil || !bytes.Equal(got, sent) {
				t.Errorf("echo = %d bytes, %v, want %d", len(got), err, len(sent))
			}
			conn.Close()
		}
		p.close()
		if p.connections.Load() != 3 || p.bytes.Load() != 6*int64(len(sent)) {
			t.Errorf("%+v: proxy counted %d connections and %d bytes", l, p.connections.Load(), p.bytes.Load())
		}
		if conn, err := net.Dial("tcp", p.address); err == nil {
			conn.Close()
			t.Error("the proxy still listens after close()")
		}
	}
}
