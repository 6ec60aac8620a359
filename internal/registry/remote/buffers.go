package remote

import "sync"

// buffers bounds how many buffers of one size are in use. Idle buffers are reused until the
// next garbage collection.
type buffers struct {
	free chan struct{} // one element per available buffer
	idle *sync.Pool
}

func newBuffers(n int) buffers {
	b := buffers{free: make(chan struct{}, n), idle: &sync.Pool{}}
	for range n {
		b.free <- struct{}{}
	}
	return b
}

// take returns a buffer of the given size, or nil if all are in use. All calls must use the
// same size.
func (b buffers) take(size int64) []byte {
	select {
	case <-b.free:
		if buffer, ok := b.idle.Get().(*[]byte); ok && int64(len(*buffer)) == size {
			return *buffer
		}
		return make([]byte, size)
	default:
		return nil
	}
}

// giveBack returns a buffer for reuse.
func (b buffers) giveBack(buffer []byte) {
	b.idle.Put(&buffer)
	b.free <- struct{}{}
}
