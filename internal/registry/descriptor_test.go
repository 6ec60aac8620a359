package registry_test

import (
	"math"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

func TestManifestMediaTypes(t *testing.T) {
	kinds := map[string]struct{ index, schema1 bool }{
		ociIndex: {index: true}, dockerList: {index: true}, ociImage: {}, ociArtifact: {}, dockerImage: {},
		dockerSchema1: {schema1: true}, dockerSchema1JWS: {schema1: true},
	}
	accepted := registry.ManifestMediaTypes()
	if len(accepted) != len(kinds) {
		t.Errorf("len(ManifestMediaTypes()) = %d, want %d: %q", len(accepted), len(kinds), accepted)
	}
	for _, mediaType := range accepted {
		kind, known := kinds[mediaType]
		if !known || !registry.IsManifest(mediaType) {
			t.Errorf("IsManifest(%s) = false, want true", mediaType)
		}
		if registry.IsIndex(mediaType) != kind.index || registry.IsSchema1(mediaType) != kind.schema1 {
			t.Errorf("%s: IsIndex() = %t, IsSchema1() = %t", mediaType, registry.IsIndex(mediaType), registry.IsSchema1(mediaType))
		}
	}
	accepted[0] = "changed by a caller"
	if registry.ManifestMediaTypes()[0] != ociIndex {
		t.Error("ManifestMediaTypes() returns a shared slice")
	}
	for _, mediaType := range []string{"", "*/*", "application/json", "application/octet-stream", "application/vnd.oci.image.config.v1+json"} {
		if registry.IsManifest(mediaType) || registry.IsIndex(mediaType) || registry.IsSchema1(mediaType) {
			t.Errorf("%q is classified as a manifest", mediaType)
		}
	}
}

func TestMediaType(t *testing.T) {
	for contentType, want := range map[string]string{
		ociIndex:                                    ociIndex,
		ociIndex + "; charset=utf-8":                ociIndex,
		ociIndex + ";charset":                       ociIndex,
		ociIndex + " ; a=\"b;c\"; a=d":              ociIndex,
		ociIndex + ";":                              ociIndex,
		" Application/VND.oci.image.index.v1+JSON ": ociIndex,
		"text/html; charset=UTF-8":                  "text/html",
		"":                                          "",
		";":                                         "",
		"; charset=utf-8":                           "",
		"json":                                      "",
		"application/":                              "",
		"/json":                                     "",
		"application/json, text/html":               "",
		"application / json":                        "",
		"application/json\r\nX: y":                  "",
		"\x00":                                      "",
	} {
		if got := registry.MediaType(contentType); got != want {
			t.Errorf("MediaType(%q) = %q, want %q", contentType, got, want)
		}
	}
}

func TestValidateDescriptor_Valid(t *testing.T) {
	for name, d := range map[string]registry.Descriptor{
		"sha256":               {Digest: sum256, Size: 8},
		"sha512":               {Digest: sum512, Size: 8},
		"empty_blob":           {Digest: digest.SHA256.FromString(""), Size: 0},
		"empty_blob_in_sha384": {Digest: digest.SHA384.FromString(""), Size: 0},
		"empty_blob_in_sha512": {Digest: digest.SHA512.FromString(""), Size: 0},
		"empty_blob_inline":    {Digest: digest.SHA256.FromString(""), Size: 0, Data: []byte{}},
		"empty_configuration":  {Digest: "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a", Size: 2, Data: []byte("{}")},
		"inline_data":          {Digest: sum256, Size: 8, Data: []byte("an image")},
		"inline_data_sha512":   {Digest: sum512, Size: 8, Data: []byte("an image")},
		"4_tib_layer":          {Digest: sum256, Size: 1 << 42},
	} {
		t.Run(name, func(t *testing.T) {
			if err := registry.ValidateDescriptor(d); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestValidateDescriptor_Invalid(t *testing.T) {
	found := digest.FromString("an umage").String()
	for name, test := range map[string]struct {
		d    registry.Descriptor
		kind error
		why  string
	}{
		"no_digest":                {registry.Descriptor{Size: 8}, registry.ErrInvalidManifest, "digest is refused: it is empty"},
		"md5":                      {registry.Descriptor{Digest: "md5:d41d8cd98f00b204e9800998ecf8427e", Size: 8}, registry.ErrInvalidManifest, `"md5" is not supported`},
		"path":                     {registry.Descriptor{Digest: "sha256:../../x", Size: 8}, registry.ErrInvalidManifest, "here there are 7"},
		"negative_size":            {registry.Descriptor{Digest: sum256, Size: -1}, registry.ErrInvalidManifest, "negative (-1)"},
		"most_negative_size":       {registry.Descriptor{Digest: sum256, Size: math.MinInt64}, registry.ErrInvalidManifest, "negative (-9223372036854775808)"},
		"no_size":                  {registry.Descriptor{Digest: sum256}, registry.ErrInvalidManifest, "a size of 0 does not go with its digest " + sum256.String()},
		"empty_blob_with_size":     {registry.Descriptor{Digest: digest.FromString(""), Size: 1}, registry.ErrInvalidManifest, "a size of 1 does not go"},
		"largest_size":             {registry.Descriptor{Digest: sum256, Size: math.MaxInt64}, registry.ErrLimit, "9223372036854775807 bytes is larger"},
		"more_than_16_tib":         {registry.Descriptor{Digest: sum256, Size: 1<<44 + 1}, registry.ErrLimit, "17592186044417 bytes is larger"},
		"inline_data_other_bytes":  {registry.Descriptor{Digest: sum256, Size: 8, Data: []byte("an umage")}, registry.ErrMismatch, found},
		"inline_data_too_short":    {registry.Descriptor{Digest: sum256, Size: 8, Data: []byte("an imag")}, registry.ErrMismatch, "has 7 bytes, and it says 8"},
		"inline_data_another_size": {registry.Descriptor{Digest: sum256, Size: 9, Data: []byte("an image")}, registry.ErrMismatch, "has 8 bytes, and it says 9"},
		"inline_data_empty":        {registry.Descriptor{Digest: sum256, Size: 8, Data: []byte{}}, registry.ErrMismatch, "has 0 bytes, and it says 8"},
		"inline_data_wrong_sha512": {registry.Descriptor{Digest: sum512, Size: 8, Data: []byte("an umage")}, registry.ErrMismatch, sum512.String()},
		"control_characters":       {registry.Descriptor{Digest: "\x1b[2J\n::error::", Size: 8}, registry.ErrInvalidManifest, "not supported"},
	} {
		t.Run(name, func(t *testing.T) {
			assertError(t, registry.ValidateDescriptor(test.d), test.kind, "cannot read the descriptor of", test.why)
		})
	}
}

func TestIsNonDistributable(t *testing.T) {
	urls := []string{"https://layers.example.com/1"}
	for _, test := range []struct {
		mediaType string
		urls      []string
		want      bool
	}{
		{"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", urls, true},
		{"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", urls, true},
		{"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", nil, false},
		{"application/vnd.oci.image.layer.v1.tar+gzip", urls, false},
		{"application/vnd.oci.image.layer.v1.tar+gzip", nil, false},
	} {
		if got := registry.IsNonDistributable(registry.Descriptor{MediaType: test.mediaType, URLs: test.urls}); got != test.want {
			t.Errorf("IsNonDistributable(%s, %q) = %t, want %t", test.mediaType, test.urls, got, test.want)
		}
	}
}
