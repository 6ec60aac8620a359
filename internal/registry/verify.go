package registry

import (
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
)

// Verify returns a reader that verifies content against d while it is read. It
// returns the last bytes only after digest and size have been verified, so that an
// upload that streams from it never commits wrong content. If they differ, Read
// returns an error that matches ErrMismatch and has the repository and both
// digests. Close closes content. d must have passed ValidateDescriptor.
func Verify(content io.ReadCloser, d Descriptor, repository string) io.ReadCloser {
	return &verifier{content: content, want: d, repository: repository, hash: d.Digest.Algorithm().Digester()}
}

type verifier struct {
	content    io.ReadCloser
	want       Descriptor
	repository string
	hash       digest.Digester
	read       int64
	err        error // returned by every further Read
}

func (v *verifier) Read(p []byte) (int, error) {
	if v.err != nil {
		return 0, v.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := v.content.Read(p)
	v.hash.Hash().Write(p[:n])
	v.read += int64(n)
	switch {
	case v.read > v.want.Size:
		v.err = v.mismatch(fmt.Sprintf("more than the %d bytes that its descriptor says", v.want.Size))
		return 0, v.err
	case v.read == v.want.Size:
		if v.err = v.finish(err); v.err != nil {
			return 0, v.err
		}
		v.err = io.EOF
		return n, nil
	case err == io.EOF:
		v.err = v.mismatch(fmt.Sprintf("it ended after %d of %d bytes", v.read, v.want.Size))
		return 0, v.err
	case err != nil:
		v.err = err
	}
	return n, v.err
}

// maxEmptyReads is how many reads of content may return neither bytes nor an error,
// as in package bufio.
const maxEmptyReads = 100

// finish is called after all expected bytes were read. It verifies that no bytes
// follow and that the digest matches.
func (v *verifier) finish(err error) error {
	for tries := 0; err == nil; tries++ {
		if tries == maxEmptyReads {
			return io.ErrNoProgress
		}
		var extra [1]byte
		var n int
		if n, err = v.content.Read(extra[:]); n > 0 {
			return v.mismatch(fmt.Sprintf("more than the %d bytes that its descriptor says", v.want.Size))
		}
	}
	if err != io.EOF {
		return err
	}
	if found := v.hash.Digest(); found != v.want.Digest {
		return v.mismatch("its bytes have the digest " + found.String())
	}
	return nil
}

func (v *verifier) Close() error { return v.content.Close() }

func (v *verifier) mismatch(why string) error {
	return &Error{Op: "read", Repository: v.repository, Reference: v.want.Digest.String(), Kind: ErrMismatch, Message: why,
		Hint: "What the registry holds under this digest is damaged, or something between it and this machine changes what passes. Nothing was committed. Push the image to the source again, or take the proxy out of the way."}
}
