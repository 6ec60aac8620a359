package registry_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

const verifiedRepository = "ghcr.io/acme/app"

// blob is long enough for several reads.
var blob = bytes.Repeat([]byte("0123456789abcdef"), 5000)

func blobDescriptor() registry.Descriptor {
	return registry.Descriptor{Digest: digest.FromBytes(blob), Size: int64(len(blob))}
}

// verify reads content to its end and returns what was handed out.
func verify(t *testing.T, content io.Reader, d registry.Descriptor) ([]byte, error) {
	t.Helper()
	v := registry.Verify(io.NopCloser(content), d, verifiedRepository)
	got, err := io.ReadAll(v)
	for range 3 {
		n, again := v.Read(make([]byte, 10))
		if want := sticky(err); n != 0 || again != want { //nolint:errorlint // it must be the very same error
			t.Errorf("after the end it gives %d bytes and %v, want the same error as before, %v", n, again, want)
		}
	}
	return got, err
}

// sticky is the error that io.ReadAll met when it returned err.
func sticky(err error) error {
	if err == nil {
		return io.EOF
	}
	return err
}

// readers are ways in which the same content may arrive.
var readers = map[string]func(io.Reader) io.Reader{
	"as it comes":             func(r io.Reader) io.Reader { return r },
	"byte by byte":            iotest.OneByteReader,
	"half of what is wanted":  iotest.HalfReader,
	"the end with the data":   iotest.DataErrReader,
	"byte by byte and an end": func(r io.Reader) io.Reader { return iotest.DataErrReader(iotest.OneByteReader(r)) },
	"with empty reads":        func(r io.Reader) io.Reader { return &hesitant{Reader: r} },
}

// hesitant gives nothing on every other read.
type hesitant struct {
	io.Reader
	now bool
}

func (h *hesitant) Read(p []byte) (int, error) {
	if h.now = !h.now; h.now {
		return 0, nil
	}
	return h.Reader.Read(p)
}

func TestVerifyHandsOutWhatIsRight(t *testing.T) {
	for name, arrives := range readers {
		for _, algorithm := range []digest.Algorithm{digest.SHA256, digest.SHA384, digest.SHA512} {
			t.Run(fmt.Sprintf("%s, %s", name, algorithm), func(t *testing.T) {
				d := registry.Descriptor{Digest: algorithm.FromBytes(blob), Size: int64(len(blob))}
				got, err := verify(t, arrives(bytes.NewReader(blob)), d)
				if err != nil || !bytes.Equal(got, blob) {
					t.Errorf("it gave %d bytes and %v", len(got), err)
				}
			})
		}
	}
}

func TestVerifyReadsAsAReaderMust(t *testing.T) {
	v := registry.Verify(io.NopCloser(bytes.NewReader(blob)), blobDescriptor(), verifiedRepository)
	if err := iotest.TestReader(v, blob); err != nil {
		t.Error(err)
	}
}

func TestVerifyOfNothing(t *testing.T) {
	nothing := registry.Descriptor{Digest: digest.FromString(""), Size: 0}
	for name, arrives := range readers {
		t.Run(name, func(t *testing.T) {
			if got, err := verify(t, arrives(strings.NewReader("")), nothing); len(got) != 0 || err != nil {
				t.Errorf("it gave %d bytes and %v", len(got), err)
			}
			got, err := verify(t, arrives(strings.NewReader("x")), nothing)
			if len(got) != 0 {
				t.Errorf("it gave %q", got)
			}
			refused(t, err, registry.ErrMismatch, "more than the 0 bytes")
		})
	}
}

// Whoever streams into a commit must not come to the end of it with wrong
// bytes: fewer are handed out than the commit needs.
func TestVerifyNeverHandsOutAllOfWhatIsWrong(t *testing.T) {
	changed := func(at int) []byte {
		b := bytes.Clone(blob)
		b[at] ^= 1
		return b
	}
	wrong := func(content []byte) string { return "its bytes have the digest " + digest.FromBytes(content).String() }
	ended := func(n int) string { return fmt.Sprintf("it ended after %d of %d bytes", n, len(blob)) }
	more := fmt.Sprintf("more than the %d bytes that its descriptor says", len(blob))
	for content, test := range map[string]struct {
		make func() io.Reader
		why  string
	}{
		"another first byte": {func() io.Reader { return bytes.NewReader(changed(0)) }, wrong(changed(0))},
		"another last byte":  {func() io.Reader { return bytes.NewReader(changed(len(blob) - 1)) }, wrong(changed(len(blob) - 1))},
		"nothing":            {func() io.Reader { return strings.NewReader("") }, ended(0)},
		"half of it":         {func() io.Reader { return bytes.NewReader(blob[:len(blob)/2]) }, ended(len(blob) / 2)},
		"all but a byte":     {func() io.Reader { return bytes.NewReader(blob[:len(blob)-1]) }, ended(len(blob) - 1)},
		"a byte too many":    {func() io.Reader { return io.MultiReader(bytes.NewReader(blob), strings.NewReader("x")) }, more},
		"it twice":           {func() io.Reader { return io.MultiReader(bytes.NewReader(blob), bytes.NewReader(blob)) }, more},
		"no end":             {func() io.Reader { return io.MultiReader(bytes.NewReader(blob), endless{}) }, more},
		"endless zeros":      {func() io.Reader { return endless{} }, more},
	} {
		for name, arrives := range readers {
			t.Run(content+", "+name, func(t *testing.T) {
				d := blobDescriptor()
				got, err := verify(t, arrives(test.make()), d)
				if int64(len(got)) >= d.Size {
					t.Errorf("of a blob of %d bytes it handed out %d", d.Size, len(got))
				}
				refused(t, err, registry.ErrMismatch, verifiedRepository, d.Digest.String(), test.why)
			})
		}
	}
}

// endless is zeros without end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestVerifyComparesWithinTheDigestsOwnAlgorithm(t *testing.T) {
	d := registry.Descriptor{Digest: digest.SHA512.FromString("other"), Size: int64(len(blob))}
	_, err := verify(t, bytes.NewReader(blob), d)
	refused(t, err, registry.ErrMismatch, d.Digest.String(), digest.SHA512.FromBytes(blob).String())
}

func TestVerifyKeepsTheErrorOfWhatItReads(t *testing.T) {
	broken := errors.New("connection reset")
	for _, at := range []int{0, 1, len(blob) / 2, len(blob) - 1, len(blob)} {
		for name, arrives := range readers {
			t.Run(fmt.Sprintf("after %d bytes, %s", at, name), func(t *testing.T) {
				got, err := verify(t, arrives(io.MultiReader(bytes.NewReader(blob[:at]), iotest.ErrReader(broken))), blobDescriptor())
				if !errors.Is(err, broken) || errors.Is(err, registry.ErrMismatch) {
					t.Errorf("the error is %v, want %v", err, broken)
				}
				if len(got) > at || len(got) >= len(blob) || !bytes.Equal(got, blob[:len(got)]) {
					t.Errorf("it handed out %d of the %d bytes that came", len(got), at)
				}
			})
		}
	}
}

func TestVerifyWaitsForAnEndOnlySoLong(t *testing.T) {
	forever := io.MultiReader(bytes.NewReader(blob), idle{})
	got, err := verify(t, forever, blobDescriptor())
	if !errors.Is(err, io.ErrNoProgress) || len(got) >= len(blob) {
		t.Errorf("of content that never ends it handed out %d bytes and gave %v", len(got), err)
	}
}

// idle never gives anything and never ends.
type idle struct{}

func (idle) Read([]byte) (int, error) { return 0, nil }

func TestVerifyIntoAnEmptyBufferReadsNothing(t *testing.T) {
	v := registry.Verify(io.NopCloser(iotest.ErrReader(errors.New("was read"))), blobDescriptor(), verifiedRepository)
	if n, err := v.Read(nil); n != 0 || err != nil {
		t.Errorf("it gave %d bytes and %v", n, err)
	}
}

func TestClosingVerifiedContentClosesTheContent(t *testing.T) {
	closed := errors.New("closed")
	v := registry.Verify(&closer{err: closed}, blobDescriptor(), verifiedRepository)
	if err := v.Close(); !errors.Is(err, closed) {
		t.Errorf("closing it gave %v, want the content's own error", err)
	}
}

type closer struct {
	io.Reader
	err error
}

func (c *closer) Close() error { return c.err }

func TestVerifyNeedsNoMemoryForABlob(t *testing.T) {
	const size = 64 << 20
	d := registry.Descriptor{Digest: sum256, Size: size}
	var err error
	if n := allocated(func() {
		_, err = io.Copy(io.Discard, registry.Verify(io.NopCloser(io.LimitReader(endless{}, size)), d, verifiedRepository))
	}); n > 1<<20 {
		t.Errorf("%d bytes were allocated for %d", n, size)
	}
	refused(t, err, registry.ErrMismatch)
}
