package registry

import (
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
)

// Verify returns content that checks itself against d while it is read: once,
// over the bytes as they pass. The last bytes are handed out only after digest
// and size were found right, so that whoever streams into a commit never
// completes it with wrong ones; otherwise Read returns an error that matches
// ErrMismatch and names repository, the digest expected and the digest found.
// Closing it closes content. d must have passed ValidateDescriptor.
func Verify(content io.ReadCloser, d Descriptor, repository string) io.ReadCloser {
	return &verifier{content: content, want: d, repository: repository, hash: d.Digest.Algorithm().Digester()}
}

type verifier struct {
	content    io.ReadCloser
	want       Descriptor
	repository string
	hash       digest.Digester
	read       int64
	err        error // sticky: what every further Read returns
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

// maxEmptyReads is how often content may say neither that it ended nor anything
// else, as in package bufio.
const maxEmptyReads = 100

// finish is called with all expected bytes read: it makes sure that nothing
// follows them and compares the digest.
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
