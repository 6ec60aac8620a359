package registrytest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/docker/libtrust"
	"github.com/opencontainers/go-digest"
)

// Schema1Image is a signed Docker schema 1 image. Its digest is that of the payload. The
// signatures differ each time that it is built.
type Schema1Image struct {
	Seed string
	// Name and Tag are fields of the manifest. They default to "app" and "latest".
	Name, Tag string
	// Layers defaults to two small generated layers.
	Layers []Blob
}

// Build implements Content.
func (s Schema1Image) Build() Manifest {
	layers := s.Layers
	if layers == nil {
		layers = []Blob{Layer(s.Seed+" base", 3000), Layer(s.Seed+" app", 20_000)}
	}
	type fsLayer struct {
		BlobSum digest.Digest `json:"blobSum"`
	}
	type history struct {
		V1Compatibility string `json:"v1Compatibility"`
	}
	manifest := struct {
		SchemaVersion int       `json:"schemaVersion"`
		Name          string    `json:"name"`
		Tag           string    `json:"tag"`
		Architecture  string    `json:"architecture"`
		FSLayers      []fsLayer `json:"fsLayers"`
		History       []history `json:"history"`
	}{1, cmp.Or(s.Name, "app"), cmp.Or(s.Tag, "latest"), "amd64", nil, nil}
	for i, layer := range layers {
		d := layer.Descriptor().Digest
		manifest.FSLayers = append(manifest.FSLayers, fsLayer{d})
		manifest.History = append(manifest.History, history{fmt.Sprintf(`{"id":%q,"layer":%d}`, d.Encoded(), i)})
	}
	// libtrust signs only indented JSON. Docker indents by three spaces, so that a manifest
	// that was encoded again differs from this one.
	plain, err := json.MarshalIndent(manifest, "", "  ")
	if err != nil {
		panic(fmt.Sprintf("registrytest: %v", err))
	}
	return Manifest{
		MediaType: schema1Signed,
		Digest:    digest.FromBytes(plain),
		Bytes:     signSchema1(plain),
		Blobs:     layers,
	}
}

var schema1Key = sync.OnceValues(libtrust.GenerateECP256PrivateKey)

func signSchema1(plain []byte) []byte {
	key, err := schema1Key()
	if err != nil {
		panic(fmt.Sprintf("registrytest: %v", err))
	}
	signature, err := libtrust.NewJSONSignature(plain)
	if err == nil {
		err = signature.Sign(key)
	}
	if err != nil {
		panic(fmt.Sprintf("registrytest: %v", err))
	}
	signed, err := signature.PrettySignature("signatures")
	if err != nil {
		panic(fmt.Sprintf("registrytest: %v", err))
	}
	return signed
}

// payload returns a signed manifest without its signatures, or nil if it is not signed.
func payload(signed []byte) []byte {
	signature, err := libtrust.ParsePrettySignature(signed, "signatures")
	if err != nil {
		return nil
	}
	content, _ := signature.Payload()
	return content
}
