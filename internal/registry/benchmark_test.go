package registry_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

func BenchmarkVerify(b *testing.B) {
	for _, size := range []int64{32 << 10, 32 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			content := make([]byte, size)
			d := registry.Descriptor{Digest: digest.FromBytes(content), Size: size}
			// Hide io.ReaderFrom, so that the buffer is used like in an upload.
			buffer := make([]byte, 64<<10)
			sink := struct{ io.Writer }{io.Discard}
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				verified := registry.Verify(io.NopCloser(bytes.NewReader(content)), d, verifiedRepository)
				if n, err := io.CopyBuffer(sink, verified, buffer); n != size || err != nil {
					b.Fatal(n, err)
				}
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	layers := func(n int) string {
		var all []string
		for i := range n {
			all = append(all, descriptorJSON("application/vnd.oci.image.layer.v1.tar+gzip", fmt.Sprint("layer ", i)))
		}
		return strings.Join(all, ",")
	}
	for _, n := range []int{10, 1000} {
		b.Run(fmt.Sprintf("%dLayers", n), func(b *testing.B) {
			content := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s]}`, ociImage, config, layers(n))
			b.SetBytes(int64(len(content)))
			b.ReportAllocs()
			for b.Loop() {
				m, err := registry.NewManifest(ociImage, content, "")
				if err != nil {
					b.Fatal(err)
				}
				if contents, err := m.Parse(); err != nil || len(contents.Layers) != n {
					b.Fatal(len(contents.Layers), err)
				}
			}
		})
	}
}
