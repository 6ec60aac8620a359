package provider_test

import (
	"archive/zip"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// canary is the prefix of every secret in these tests, so that a truncated secret is found too.
const canary = "C4nary/Secret+"

// secrets maps names to the secrets that a test gives to the provider. All of them except the
// key start with canary.
type secrets map[string]string

func newSecrets(t *testing.T) secrets {
	t.Helper()
	s := secrets{}
	for _, name := range []string{"password", "identity_token", "registry_token"} {
		s[name] = canary + name + "/+"
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	s["client_certificate"] = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}))
	s["client_key"] = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}))
	return s
}

// variable provides the secrets to the configuration of a workspace as var.secret. The variable
// is ephemeral, because Terraform itself shows the values of other variables in its plans.
func (s secrets) variable(w *workspace) string {
	w.t.Helper()
	values, err := json.Marshal(s)
	if err != nil {
		w.t.Fatal(err)
	}
	w.env = append(w.env, "TF_VAR_secret="+string(values))
	return "variable \"secret\" {\n  type = map(string)\n  ephemeral = true\n}"
}

// encodings returns all forms in which a secret may appear.
func (s secrets) encodings() []string {
	forms := encodingsOf(canary)
	for line := range strings.Lines(s["client_key"] + s["other_key"]) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "-----") {
			forms = append(forms, line, url.QueryEscape(line))
		}
	}
	return forms
}

// encodingsOf returns text unchanged, quoted, URL-encoded, and at each offset within base64
// text, in both alphabets.
func encodingsOf(text string) []string {
	query := url.QueryEscape(text)
	forms := []string{text, strings.ReplaceAll(text, "/", `\/`), query, url.PathEscape(text), strings.NewReplacer("%2F", "%2f", "%2B", "%2b").Replace(query)}
	for shift := range 3 {
		for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
			whole := encoding.EncodeToString([]byte(strings.Repeat("-", shift) + text))
			inner := whole[4 : len(whole)-4] // the first and last characters depend on the surrounding text
			forms = append(forms, inner, url.QueryEscape(inner))
		}
	}
	slices.Sort(forms)
	return slices.Compact(forms)
}

// assertNoSecret checks that no secret appears in texts or in the workspace: the log, plans,
// the state and its backup, including private state.
func (s secrets) assertNoSecret(w *workspace, texts ...string) {
	w.t.Helper()
	contents := map[string]string{"output": strings.Join(texts, "\n")}
	files, err := os.ReadDir(w.dir)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, file := range files {
		if file.IsDir() {
			continue
		}
		content, err := os.ReadFile(filepath.Join(w.dir, file.Name()))
		if err != nil {
			w.t.Fatal(err)
		}
		contents[file.Name()] = string(content)
		if strings.HasPrefix(file.Name(), "terraform.tfstate") {
			contents["private of "+file.Name()] = decodePrivateState(w.t, content)
		}
		for name, entry := range unzip(w.t, content) {
			contents[file.Name()+": "+name] = entry
		}
	}
	forms := s.encodings()
	for what, text := range contents {
		for _, form := range forms {
			if i := strings.Index(text, form); i >= 0 {
				w.t.Errorf("%s shows a secret as %q: %q", what, form, text[max(0, i-300):min(len(text), i+300)])
				break
			}
		}
	}
}

// unzip returns the files of a plan, or nil if content is not a zip archive.
func unzip(t *testing.T, content []byte) map[string]string {
	t.Helper()
	entries := map[string]string{}
	archive, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		return nil
	}
	for _, file := range archive.File {
		r, err := file.Open()
		if err != nil {
			t.Fatal(err)
		}
		entry, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		entries[file.Name] = string(entry)
	}
	return entries
}

// decodePrivateState returns the decoded private state of all resources.
func decodePrivateState(t *testing.T, state []byte) string {
	t.Helper()
	var parsed struct {
		Resources []struct {
			Instances []struct {
				Private []byte `json:"private"`
			} `json:"instances"`
		} `json:"resources"`
	}
	if err := json.Unmarshal(state, &parsed); err != nil {
		t.Fatal(err)
	}
	all := ""
	for _, r := range parsed.Resources {
		for _, i := range r.Instances {
			if len(i.Private) == 0 { // data sources have no private state
				continue
			}
			var values map[string][]byte
			if err := json.Unmarshal(i.Private, &values); err != nil {
				t.Fatal(err)
			}
			for _, value := range values {
				all += string(value)
			}
		}
	}
	return all
}
