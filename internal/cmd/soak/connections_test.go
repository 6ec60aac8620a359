package main

import (
	"net"
	"net/http"
	"testing"
	"testing/synctest"
)

func TestConnTracker_Settle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, returned := newConnTracker(), false
		engine, server := net.Pipe()
		w.open[engine.LocalAddr().String()] = &trackedConn{ended: make(chan struct{})}
		w.settle() // no connection was closed
		_ = (&clientConn{engine, w}).Close()
		go func() {
			w.settle()
			returned = true
		}()
		if synctest.Wait(); returned {
			t.Error("settle() did not wait")
		}
		w.connState(server, http.StateActive)
		w.connState(server, http.StateClosed)
		if synctest.Wait(); !returned {
			t.Error("settle() did not return")
		}
	})
}
