package registrytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// What cosign calls what it writes.
const (
	SignatureType    = "application/vnd.dev.cosign.artifact.sig.v1+json"
	simpleSigning    = "application/vnd.dev.cosign.simplesigning.v1+json"
	signatureText    = "dev.cosignproject.cosign/signature"
	signaturePayload = "cosign container image signature"
)

// SigningKey signs images as cosign does with a key pair, and verifies that. Its
// reader is that of this package.
type SigningKey struct{ key *ecdsa.PrivateKey }

// NewSigningKey is a new key.
func NewSigningKey(t testing.TB) SigningKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return SigningKey{key}
}

// Signature is one signature of an image, in the two forms that cosign has for it.
type Signature struct {
	// Referrer refers to the image, and its configuration says what it is: see
	// Registry.Attach.
	Referrer Artifact
	// Tagged belongs under Tag, "sha256-<hex>.sig", and refers to nothing.
	Tagged Image
	Tag    string
}

// signed is what is signed: simple signing, as containers/image specifies it in
// its "Container signatures" (containers-signature(5)).
type signed struct {
	Critical struct {
		Identity struct {
			Reference string `json:"docker-reference"`
		} `json:"identity"`
		Image struct {
			Digest digest.Digest `json:"docker-manifest-digest"`
		} `json:"image"`
		Type string `json:"type"`
	} `json:"critical"`
	Optional map[string]any `json:"optional"`
}

// Sign makes a signature of content.
func (k SigningKey) Sign(t testing.TB, content Content) Signature {
	t.Helper()
	of := content.Build()
	var says signed
	says.Critical.Identity.Reference = "registry.example.com/app"
	says.Critical.Image.Digest = of.Digest
	says.Critical.Type = signaturePayload
	text, err := json.Marshal(says)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(text)
	signature, err := ecdsa.SignASN1(rand.Reader, k.key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	layers := []Blob{{
		Content: text, MediaType: simpleSigning,
		Annotations: map[string]string{signatureText: base64.StdEncoding.EncodeToString(signature)},
	}}
	return Signature{
		Referrer: Artifact{Type: SignatureType, TypeInConfig: true, Layers: layers, Subject: of},
		Tagged:   Image{Layers: layers},
		Tag:      of.Digest.Algorithm().String() + "-" + of.Digest.Encoded() + ".sig",
	}
}

// VerifyReferrer says what is wrong with the signatures of an image that are
// listed as its referrers: nil where one of the key is among them and right.
func (k SigningKey) VerifyReferrer(t testing.TB, r *Registry, repo string, image digest.Digest) error {
	t.Helper()
	wrong := []error{errors.New("no signature is listed")}
	for _, d := range r.Referrers(t, repo, image) {
		m, _ := r.manifest(t, repo, string(d))
		if subjectOf(t, []byte(m.Content)) != image {
			continue
		}
		err := k.verify(t, r, repo, m, image)
		if err == nil {
			return nil
		}
		wrong = append(wrong, err)
	}
	return errors.Join(wrong...)
}

// VerifyTag says what is wrong with the signature under an image's legacy tag:
// nil where it is there, of the key, and right.
func (k SigningKey) VerifyTag(t testing.TB, r *Registry, repo string, image digest.Digest) error {
	t.Helper()
	tag := image.Algorithm().String() + "-" + image.Encoded() + ".sig"
	if !r.HasManifest(t, repo, tag) {
		return fmt.Errorf("there is no tag %s", tag)
	}
	m, _ := r.manifest(t, repo, tag)
	return k.verify(t, r, repo, m, image)
}

// verify looks for a signature of an image among the layers of a manifest.
func (k SigningKey) verify(t testing.TB, r *Registry, repo string, m ReadManifest, image digest.Digest) error {
	t.Helper()
	var manifest ocispec.Manifest
	if err := json.Unmarshal([]byte(m.Content), &manifest); err != nil {
		return err
	}
	wrong := errors.New("no layer is a signature")
	for _, layer := range manifest.Layers {
		if layer.MediaType != simpleSigning {
			continue
		}
		if wrong = k.verifyLayer(t, r, repo, layer, image); wrong == nil {
			return nil
		}
	}
	return wrong
}

func (k SigningKey) verifyLayer(t testing.TB, r *Registry, repo string, layer ocispec.Descriptor, image digest.Digest) error {
	t.Helper()
	a := r.Get(t, repo, "/v2/"+repo+"/blobs/"+string(layer.Digest), nil)
	if a.Status != http.StatusOK {
		return fmt.Errorf("the payload: %s", a)
	}
	signature, err := base64.StdEncoding.DecodeString(layer.Annotations[signatureText])
	if err != nil {
		return fmt.Errorf("the signature: %w", err)
	}
	if sum := sha256.Sum256(a.Body); !ecdsa.VerifyASN1(&k.key.PublicKey, sum[:], signature) {
		return errors.New("the signature is not of this key and payload")
	}
	var says signed
	if err := json.Unmarshal(a.Body, &says); err != nil {
		return fmt.Errorf("the payload: %w", err)
	}
	if says.Critical.Type != signaturePayload || says.Critical.Image.Digest != image {
		return fmt.Errorf("the payload is a %q of %s, not of %s", says.Critical.Type, says.Critical.Image.Digest, image)
	}
	return nil
}
