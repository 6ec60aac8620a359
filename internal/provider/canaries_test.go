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

// canary is the beginning of every secret of these tests, so that also a part of
// one is found.
const canary = "C4nary/Secret+"

// secrets are what the provider of a test is given, by name. The canary is the
// beginning of all of them but the key.
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

// variable gives the secrets to the configurations of a workspace, as var.secret.
// It is ephemeral, because Terraform itself shows others in its plans.
func (s secrets) variable(w *workspace) string {
	w.t.Helper()
	values, err := json.Marshal(s)
	if err != nil {
		w.t.Fatal(err)
	}
	w.env = append(w.env, "TF_VAR_secret="+string(values))
	return "variable \"secret\" {\n  type = map(string)\n  ephemeral = true\n}"
}

// forms are all in which a secret may show.
func (s secrets) encodings() []string {
	forms := encodingsOf(canary)
	for line := range strings.Lines(s["client_key"] + s["other_key"]) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "-----") {
			forms = append(forms, line, url.QueryEscape(line))
		}
	}
	return forms
}

// formsOf is a text as it is, quoted, URL-encoded, and wherever it may stand in
// something that was made base64, in both alphabets.
func encodingsOf(text string) []string {
	query := url.QueryEscape(text)
	forms := []string{text, strings.ReplaceAll(text, "/", `\/`), query, url.PathEscape(text), strings.NewReplacer("%2F", "%2f", "%2B", "%2b").Replace(query)}
	for shift := range 3 {
		for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
			whole := encoding.EncodeToString([]byte(strings.Repeat("-", shift) + text))
			inner := whole[4 : len(whole)-4] // what is around decides about the rest
			forms = append(forms, inner, url.QueryEscape(inner))
		}
	}
	slices.Sort(forms)
	return slices.Compact(forms)
}

// wantNoSecret wants none of the secrets in what was said, nor in anything that
// there is in the workspace: the log, plans, the state and its backup, with what
// is private to the provider.
func (s secrets) assertNoSecret(w *workspace, said ...string) {
	w.t.Helper()
	texts := map[string]string{"what was said": strings.Join(said, "\n")}
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
		texts[file.Name()] = string(content)
		if strings.HasPrefix(file.Name(), "terraform.tfstate") {
			texts["private of "+file.Name()] = decodePrivateState(w.t, content)
		}
		for name, entry := range unzip(w.t, content) {
			texts[file.Name()+": "+name] = entry
		}
	}
	forms := s.encodings()
	for what, text := range texts {
		for _, form := range forms {
			if i := strings.Index(text, form); i >= 0 {
				w.t.Errorf("%s shows a secret as %q: %q", what, form, text[max(0, i-300):min(len(text), i+300)])
				break
			}
		}
	}
}

// unzipped is what is in a plan; nothing where content is none.
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

// private is the private state of every resource, decoded.
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
			if len(i.Private) == 0 { // a data source's
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
