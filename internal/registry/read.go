package registry

import (
	"fmt"
	"io"
	"slices"
)

// ReadLimited reads a body of at most limit bytes into memory. If the body is
// longer, it returns limit+1 bytes of it and an error that matches ErrLimit,
// whatever length was declared. All remote content that is read into memory is read
// by this function.
func ReadLimited(body io.Reader, limit int64) ([]byte, error) {
	content, err := readPieces(io.LimitReader(body, limit+1))
	if err == nil && int64(len(content)) > limit {
		err = &Error{Op: "read the answer", Kind: ErrLimit, Message: fmt.Sprintf("it is longer than %d bytes", limit)}
	}
	return content, err
}

// readPieces reads r to the end in pieces. A growing buffer would be copied
// repeatedly, and take several times as much memory as the content.
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
