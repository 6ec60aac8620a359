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

// Media types and names that cosign uses.
const (
	SignatureType    = "application/vnd.dev.cosign.artifact.sig.v1+json"
	simpleSigning    = "application/vnd.dev.cosign.simplesigning.v1+json"
	signatureText    = "dev.cosignproject.cosign/signature"
	signaturePayload = "cosign container image signature"
)

// SigningKey signs images as cosign does with a key pair, and verifies such signatures. It
// reads them with this package.
type SigningKey struct{ key *ecdsa.PrivateKey }

// NewSigningKey returns a new key.
func NewSigningKey(t testing.TB) SigningKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return SigningKey{key}
}

// Signature is a signature of an image, in both forms that cosign supports.
type Signature struct {
	// Referrer has the image as its subject. See Registry.Attach.
	Referrer Artifact
	// Tagged has no subject. It must be pushed under Tag, "sha256-<hex>.sig".
	Tagged Image
	Tag    string
}

// signedPayload is the payload of a signature in the simple signing format, which
// containers/image specifies in "Container signatures" (containers-signature(5)).
type signedPayload struct {
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

// Sign returns a signature of content.
func (k SigningKey) Sign(t testing.TB, content Content) Signature {
	t.Helper()
	of := content.Build()
	var claims signedPayload
	claims.Critical.Identity.Reference = "registry.example.com/app"
	claims.Critical.Image.Digest = of.Digest
	claims.Critical.Type = signaturePayload
	text, err := json.Marshal(claims)
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

// VerifyReferrer returns nil if one of the image's referrers is a valid signature by k.
// Otherwise its error describes why each signature is invalid.
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

// VerifyTag returns an error unless the image has a signature tag with a valid signature by k.
func (k SigningKey) VerifyTag(t testing.TB, r *Registry, repo string, image digest.Digest) error {
	t.Helper()
	tag := image.Algorithm().String() + "-" + image.Encoded() + ".sig"
	if !r.HasManifest(t, repo, tag) {
		return fmt.Errorf("there is no tag %s", tag)
	}
	m, _ := r.manifest(t, repo, tag)
	return k.verify(t, r, repo, m, image)
}

// verify returns an error unless one of the layers of a manifest is a valid signature of an
// image.
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
	var claims signedPayload
	if err := json.Unmarshal(a.Body, &claims); err != nil {
		return fmt.Errorf("the payload: %w", err)
	}
	if claims.Critical.Type != signaturePayload || claims.Critical.Image.Digest != image {
		return fmt.Errorf("the payload is a %q of %s, not of %s", claims.Critical.Type, claims.Critical.Image.Digest, image)
	}
	return nil
}
