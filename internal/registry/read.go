package registry

import (
	"fmt"
	"io"
)

// ReadCapped reads a body into memory, of which it takes no more than limit
// bytes. A longer one is an error that matches ErrLimit, whatever length was
// declared; what was read of it comes along. This is the one place where what
// comes from elsewhere is read into memory.
func ReadCapped(body io.Reader, limit int64) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err == nil && int64(len(content)) > limit {
		err = &Error{Op: "read the answer", Kind: ErrLimit, Message: fmt.Sprintf("it is longer than %d bytes", limit)}
	}
	return content, err
}
