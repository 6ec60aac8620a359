package registrytest

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// claims are the claims of a token for a registry.
type claims struct {
	Issuer    string   `json:"iss"`
	Subject   string   `json:"sub"`
	Audience  string   `json:"aud"`
	Expires   int64    `json:"exp"`
	NotBefore int64    `json:"nbf"`
	IssuedAt  int64    `json:"iat"`
	ID        string   `json:"jti"`
	Access    []access `json:"access"`
}

// token returns a JSON Web Token (RFC 7519), signed with ES256 (RFC 7518, section 3.4) and with
// the signing certificate in its header. If s.Opaque is set, it returns a random token instead.
func (s *TokenServer) token(user string, granted []access, lifetime time.Duration) string {
	now := time.Now()
	head := map[string]any{"typ": "JWT", "alg": "ES256", "x5c": []string{base64.StdEncoding.EncodeToString(s.der)}}
	body := claims{
		Issuer: s.issuer, Subject: user, Audience: s.Service, ID: rand.Text(), Access: granted,
		Expires: now.Add(lifetime).Unix(), NotBefore: now.Add(-time.Hour).Unix(), IssuedAt: now.Unix(),
	}
	if s.Opaque {
		opaque := rand.Text()
		s.verified.Store(opaque, body)
		return opaque
	}
	signed := segment(head) + "." + segment(body)
	sum := sha256.Sum256([]byte(signed))
	r, v, err := ecdsa.Sign(rand.Reader, s.key, sum[:])
	if err != nil {
		panic(fmt.Sprintf("registrytest: %v", err))
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	v.FillBytes(signature[32:])
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func segment(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("registrytest: %v", err))
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// verify returns the claims of a token and whether this server issued it. It caches results,
// because verification is slow and clients send each token with many requests.
func (s *TokenServer) verify(token string) (claims, bool) {
	if known, ok := s.verified.Load(token); ok {
		return known.(claims), true
	}
	c, ok := s.parseToken(token)
	if ok {
		s.verified.Store(token, c)
	}
	return c, ok
}

func (s *TokenServer) parseToken(token string) (claims, bool) {
	var c claims
	cut := strings.LastIndex(token, ".")
	if cut < 0 {
		return c, false
	}
	signature, err := base64.RawURLEncoding.DecodeString(token[cut+1:])
	if err != nil || len(signature) != 64 {
		return c, false
	}
	sum := sha256.Sum256([]byte(token[:cut]))
	r, v := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	if !ecdsa.Verify(&s.key.PublicKey, sum[:], r, v) {
		return c, false
	}
	_, body, _ := strings.Cut(token[:cut], ".")
	text, err := base64.RawURLEncoding.DecodeString(body)
	return c, err == nil && json.Unmarshal(text, &c) == nil
}
