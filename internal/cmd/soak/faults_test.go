package main

import (
	"io"
	"math"
	"math/rand/v2"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

func TestFaultyConn(t *testing.T) {
	for name, test := range map[string]struct {
		in, out, over  bool // failing direction, or no faults anymore
		stall          bool
		received, sent int // of 10 bytes in each direction
	}{
		"in":         {in: true, received: 4, sent: 0},
		"out":        {out: true, received: 10, sent: 4},
		"stall":      {in: true, stall: true, received: 4, sent: 0},
		"over":       {in: true, out: true, over: true, received: 10, sent: 10},
		"no_failure": {received: 10, sent: 10},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, conn := net.Pipe()
				var f faults
				f.over.Store(test.over)
				server := f.wrap(conn)
				server.stall = test.stall
				for d, fails := range map[*direction]bool{&server.in: test.in, &server.out: test.out} {
					d.random, d.left = rand.New(rand.NewPCG(1, 1)), math.MaxInt64 // no delay among the first values
					if fails {
						d.left = 4
					}
				}
				began := time.Now()
				go func() { _, _ = client.Write([]byte("0123456789")) }()
				received, err := io.ReadFull(server, make([]byte, 10))
				if received != test.received || err == nil != (received == 10) {
					t.Errorf("received %d bytes, %v, want %d", received, err, test.received)
				}
				go func() {
					_, _ = server.Write([]byte("0123456789"))
					_ = server.Close()
				}()
				if sent, _ := io.Copy(io.Discard, client); int(sent) != test.sent {
					t.Errorf("sent %d bytes, want %d", sent, test.sent)
				}
				if stalled := time.Since(began) >= stallDuration; stalled != test.stall {
					t.Errorf("transfer took %s", time.Since(began))
				}
				cut := test.received+test.sent < 20
				if f.cuts.Load() == 1 != cut || f.stalls.Load() == 1 != test.stall {
					t.Errorf("count = %d cuts and %d stalls", f.cuts.Load(), f.stalls.Load())
				}
			})
		})
	}
}
