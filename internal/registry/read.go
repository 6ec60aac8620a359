package registry

import (
	"fmt"
	"io"
	"slices"
)

// ReadLimited reads a body into memory, of which it takes no more than limit
// bytes. A longer one is an error that matches ErrLimit, whatever length was
// declared; what was read of it comes along. This is the one place where what
// comes from elsewhere is read into memory.
func ReadLimited(body io.Reader, limit int64) ([]byte, error) {
	content, err := readPieces(io.LimitReader(body, limit+1))
	if err == nil && int64(len(content)) > limit {
		err = &Error{Op: "read the answer", Kind: ErrLimit, Message: fmt.Sprintf("it is longer than %d bytes", limit)}
	}
	return content, err
}

// readPieces reads to the end. A buffer that grows would be copied again and
// again, and take several times as much memory as what is read.
func readPieces(r io.Reader) ([]byte, error) {
	var pieces [][]byte
	for size := 2 << 10; ; size = min(8*size, 256<<10) {
		piece, n := make([]byte, size), 0
		var err error
		for n < size && err == nil {
			var m int
			m, err = r.Read(piece[n:])
			n += m
		}
		pieces = append(pieces, piece[:n])
		if err == nil {
			continue
		}
		if err == io.EOF {
			err = nil
		}
		if len(pieces) == 1 {
			return pieces[0], err
		}
		return slices.Concat(pieces...), err
	}
}
