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

// blob is content that takes several reads.
var blob = bytes.Repeat([]byte("0123456789abcdef"), 5000)

func blobDescriptor() registry.Descriptor {
	return registry.Descriptor{Digest: digest.FromBytes(blob), Size: int64(len(blob))}
}

// verify reads content to its end, and returns the bytes that Verify returned.
func verify(t *testing.T, content io.Reader, d registry.Descriptor) ([]byte, error) {
	t.Helper()
	v := registry.Verify(io.NopCloser(content), d, verifiedRepository)
	got, err := io.ReadAll(v)
	for range 3 {
		n, again := v.Read(make([]byte, 10))
		if want := sticky(err); n != 0 || again != want { //nolint:errorlint // it must be the very same error
			t.Errorf("Read() after the end = %d, %v; want 0 and the same error %v", n, again, want)
		}
	}
	return got, err
}

// sticky returns the error of the reader after which io.ReadAll returned err.
func sticky(err error) error {
	if err == nil {
		return io.EOF
	}
	return err
}

// readers wrap content so that it is read in different sizes.
var readers = map[string]func(io.Reader) io.Reader{
	"unchanged":         func(r io.Reader) io.Reader { return r },
	"one_byte":          iotest.OneByteReader,
	"half":              iotest.HalfReader,
	"data_with_eof":     iotest.DataErrReader,
	"one_byte_with_eof": func(r io.Reader) io.Reader { return iotest.DataErrReader(iotest.OneByteReader(r)) },
	"empty_reads":       func(r io.Reader) io.Reader { return &emptyReader{Reader: r} },
}

// emptyReader returns no bytes on every other read.
type emptyReader struct {
	io.Reader
	now bool
}

func (h *emptyReader) Read(p []byte) (int, error) {
	if h.now = !h.now; h.now {
		return 0, nil
	}
	return h.Reader.Read(p)
}

func TestVerify_Match(t *testing.T) {
	for name, wrap := range readers {
		for _, algorithm := range []digest.Algorithm{digest.SHA256, digest.SHA384, digest.SHA512} {
			t.Run(fmt.Sprintf("%s_%s", name, algorithm), func(t *testing.T) {
				d := registry.Descriptor{Digest: algorithm.FromBytes(blob), Size: int64(len(blob))}
				got, err := verify(t, wrap(bytes.NewReader(blob)), d)
				if err != nil || !bytes.Equal(got, blob) {
					t.Errorf("Verify() returned %d bytes, %v; want all %d", len(got), err, len(blob))
				}
			})
		}
	}
}

func TestVerify_ReaderContract(t *testing.T) {
	v := registry.Verify(io.NopCloser(bytes.NewReader(blob)), blobDescriptor(), verifiedRepository)
	if err := iotest.TestReader(v, blob); err != nil {
		t.Error(err)
	}
}

func TestVerify_EmptyBlob(t *testing.T) {
	empty := registry.Descriptor{Digest: digest.FromString(""), Size: 0}
	for name, wrap := range readers {
		t.Run(name, func(t *testing.T) {
			if got, err := verify(t, wrap(strings.NewReader("")), empty); len(got) != 0 || err != nil {
				t.Errorf("Verify() returned %d bytes, %v; want none", len(got), err)
			}
			got, err := verify(t, wrap(strings.NewReader("x")), empty)
			if len(got) != 0 {
				t.Errorf("Verify() returned %q, want nothing", got)
			}
			assertError(t, err, registry.ErrMismatch, "more than the 0 bytes")
		})
	}
}

// An upload that streams from Verify must not be committed with wrong content, so
// Verify returns fewer bytes than the size of the blob.
func TestVerify_Mismatch(t *testing.T) {
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
		"wrong_first_byte":   {func() io.Reader { return bytes.NewReader(changed(0)) }, wrong(changed(0))},
		"wrong_last_byte":    {func() io.Reader { return bytes.NewReader(changed(len(blob) - 1)) }, wrong(changed(len(blob) - 1))},
		"empty":              {func() io.Reader { return strings.NewReader("") }, ended(0)},
		"truncated":          {func() io.Reader { return bytes.NewReader(blob[:len(blob)/2]) }, ended(len(blob) / 2)},
		"last_byte_missing":  {func() io.Reader { return bytes.NewReader(blob[:len(blob)-1]) }, ended(len(blob) - 1)},
		"extra_byte":         {func() io.Reader { return io.MultiReader(bytes.NewReader(blob), strings.NewReader("x")) }, more},
		"repeated":           {func() io.Reader { return io.MultiReader(bytes.NewReader(blob), bytes.NewReader(blob)) }, more},
		"endless_after_blob": {func() io.Reader { return io.MultiReader(bytes.NewReader(blob), endless{}) }, more},
		"endless":            {func() io.Reader { return endless{} }, more},
	} {
		for name, wrap := range readers {
			t.Run(content+"_"+name, func(t *testing.T) {
				d := blobDescriptor()
				got, err := verify(t, wrap(test.make()), d)
				if int64(len(got)) >= d.Size {
					t.Errorf("Verify() returned %d bytes of a blob of %d bytes, want fewer", len(got), d.Size)
				}
				assertError(t, err, registry.ErrMismatch, verifiedRepository, d.Digest.String(), test.why)
			})
		}
	}
}

// endless is a reader of endless zeros.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestVerify_DigestAlgorithm(t *testing.T) {
	d := registry.Descriptor{Digest: digest.SHA512.FromString("other"), Size: int64(len(blob))}
	_, err := verify(t, bytes.NewReader(blob), d)
	assertError(t, err, registry.ErrMismatch, d.Digest.String(), digest.SHA512.FromBytes(blob).String())
}

func TestVerify_ReadError(t *testing.T) {
	broken := errors.New("connection reset")
	for _, at := range []int{0, 1, len(blob) / 2, len(blob) - 1, len(blob)} {
		for name, wrap := range readers {
			t.Run(fmt.Sprintf("after_%d_bytes_%s", at, name), func(t *testing.T) {
				got, err := verify(t, wrap(io.MultiReader(bytes.NewReader(blob[:at]), iotest.ErrReader(broken))), blobDescriptor())
				if !errors.Is(err, broken) || errors.Is(err, registry.ErrMismatch) {
					t.Errorf("Verify() error = %v, want %v", err, broken)
				}
				if len(got) > at || len(got) >= len(blob) || !bytes.Equal(got, blob[:len(got)]) {
					t.Errorf("Verify() returned %d of %d bytes", len(got), at)
				}
			})
		}
	}
}

func TestVerify_NoProgress(t *testing.T) {
	stalled := io.MultiReader(bytes.NewReader(blob), idle{})
	got, err := verify(t, stalled, blobDescriptor())
	if !errors.Is(err, io.ErrNoProgress) || len(got) >= len(blob) {
		t.Errorf("Verify() of stalled content returned %d bytes, %v; want io.ErrNoProgress", len(got), err)
	}
}

// idle is a reader that returns neither bytes nor an error.
type idle struct{}

func (idle) Read([]byte) (int, error) { return 0, nil }

func TestVerify_EmptyBuffer(t *testing.T) {
	v := registry.Verify(io.NopCloser(iotest.ErrReader(errors.New("was read"))), blobDescriptor(), verifiedRepository)
	if n, err := v.Read(nil); n != 0 || err != nil {
		t.Errorf("Read(nil) = %d, %v; want 0, nil", n, err)
	}
}

func TestVerify_Close(t *testing.T) {
	closed := errors.New("closed")
	v := registry.Verify(&closer{err: closed}, blobDescriptor(), verifiedRepository)
	if err := v.Close(); !errors.Is(err, closed) {
		t.Errorf("Close() = %v, want %v", err, closed)
	}
}

type closer struct {
	io.Reader
	err error
}

func (c *closer) Close() error { return c.err }

func TestVerify_Memory(t *testing.T) {
	const size = 64 << 20
	d := registry.Descriptor{Digest: sum256, Size: size}
	var err error
	if n := allocated(func() {
		_, err = io.Copy(io.Discard, registry.Verify(io.NopCloser(io.LimitReader(endless{}, size)), d, verifiedRepository))
	}); n > 1<<20 {
		t.Errorf("Verify() of %d bytes allocated %d bytes", size, n)
	}
	assertError(t, err, registry.ErrMismatch)
}
