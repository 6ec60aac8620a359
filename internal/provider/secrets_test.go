package provider_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

func TestSecretsAreNowhere(t *testing.T) {
	t.Parallel()
	s := newSecrets(t)
	src, dst := registrytest.V3(t, registrytest.BasicAuth(user, s["password"])), registrytest.V2(t, registrytest.BasicAuth(user, s["password"]))
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	ws, log := installed(t)
	ws.env = append(ws.env, "TF_LOG=TRACE")
	ws.configure(s.variable(ws), providerBlock(map[string]string{src.Addr: basic.hcl, dst.Addr: basic.hcl}), imageCopy("app", pushed.Ref, dst.Ref("app", "1")))
	plan := ws.plan()
	said := []string{plan.text, ws.shown(plan.file), ws.apply(plan).text}
	registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "1"))

	s["password"] += "-wrong"
	s.variable(ws)
	failed := ws.planFails()
	failed.wantError("401", fmt.Sprintf("the user %q", user), fmt.Sprintf("registries[%q]", dst.Addr))
	s.wantNoSecret(ws, append(said, failed.text)...)
	wantLine(t, log(), "request", dst.Addr) // it is the provider's log
}

// providerBlock is the provider's configuration with entries of registries as HCL.
func providerBlock(registries map[string]string, arguments ...string) string {
	block := "provider \"registry\" {\n  " + strings.Join(arguments, "\n  ") + "\n  registries = {\n"
	for host, settings := range registries {
		block += fmt.Sprintf("    %q = { %s }\n", host, settings)
	}
	return block + "  }\n}"
}

// shown is what Terraform shows of a plan, or of the state where file is "".
func (w *workspace) shown(file string) string {
	w.t.Helper()
	var shown json.RawMessage
	w.show(&shown, file)
	return string(shown)
}

func TestNoFailureShowsASecret(t *testing.T) {
	t.Parallel()
	signedFTP := "ftp://bucket.example.com/?" + signature
	astray := "ftp://" + user + ":" + url.QueryEscape(canary) + "@elsewhere.example.com/token"
	s := newSiege(t)
	s.among([]hostility{
		{"401", basic, anywhere, document(401)},
		{"403", exchange, anywhere, document(403)},
		{"404", docker, anywhere, page(404)},
		{"429", identity, anywhere, document(429)},
		{"500", basic, anywhere, page(500)},
		{"503 in its code", ready, anywhere, code(503)},
		{"401 in its headers", exchange, anywhere, headers(401)},
		{"403 in its headers", basic, anywhere, headers(403)},
		{"200 in its headers", docker, anywhere, headers(200)},
		{"200, packed", exchange, anywhere, packed},
		{"403 in its reason", basic, anywhere, raw(t, "HTTP/1.1 403 %s\r\nContent-Length: 0\r\n\r\n")},
		{"a header that is none", identity, anywhere, raw(t, "HTTP/1.1 200 OK\r\n%s\r\n\r\n")},
		{"a status that is none", ready, anywhere, raw(t, "HTTP/1.1 %s\r\n\r\n")},
		{"no answer", basic, data, closes},
		{"403 over TLS", secured, anywhere, document(403)},
		{"closed over TLS", secured, data, closes},

		{"tokens refused", exchange, tokens, document(401)},
		{"tokens refused by OAuth", identity, tokens, oauth(400)},
		{"tokens forbidden", docker, tokens, code(403)},
		{"tokens in headers", exchange, tokens, headers(200)},
		{"tokens not available", identity, tokens, page(503)},
		{"tokens limited", exchange, tokens, oauth(429)},
		{"tokens down", docker, dataTokens, closes},
		{"tokens elsewhere", exchange, tokens, leads("%s/token")},
		{"tokens by FTP", exchange, tokens, leads(astray)},
		{"half a token", exchange, tokens, body("application/json", `{"token":"%s`)},
		{"two tokens", identity, tokens, body("application/json", `{"token":"%s","token":"%s"}`)},
		{"a token of two lines", exchange, tokens, body("application/json", `{"token":"`+bearer+`\r\nX: y"}`)},
		{"the attacker's realm", exchange, anywhere, realm("%s/token")},
		{"a realm by FTP", basic, anywhere, realm(astray)},

		{"to the attacker", basic, anywhere, leads("%s/there")},
		{"to FTP", exchange, anywhere, leads(signedFTP)},
		{"blobs at the attacker", exchange, pointing, leads("%s/blob")},
		{"blobs by FTP", basic, pointing, leads(signedFTP)},
		{"blobs at no URL", basic, pointing, leads("http://[::1/?" + signature)},
		{"a signature refused", exchange, downloads, page(403)},
		{"a signature in headers", basic, downloads, headers(403)},
		{"a bucket down", identity, downloads, closes},
		{"a bucket without HTTP", ready, downloads, raw(t, "HTTP/1.1 200 OK\r\n%s\r\n\r\n")},
		{"another blob", exchange, downloads, body("text/plain", "%s")},

		{"uploads at the attacker", exchange, opening, leads("%s/upload")},
		{"uploads by FTP", basic, opening, leads(signedFTP)},
		{"uploads at no URL", basic, opening, leads("http://[::1/?" + signature)},
		{"an upload's signature refused", exchange, uploads, page(403)},
		{"an upload's signature in headers", basic, uploads, headers(400)},
		{"an upload that is not available", docker, uploads, document(503)},
		{"an upload that is cut", identity, uploads, closes},

		{"a manifest of a secret", basic, manifests, body("application/vnd.oci.image.manifest.v1+json", `{"schemaVersion":2,"mediaType":"%s","config":{"mediaType":"%s","digest":"%s","size":1, false},"layers":[]}`)},
		{"half a manifest", exchange, manifests, body("application/vnd.oci.image.index.v1+json", `{"schemaVersion":2,"manifests":[{"digest":"%s`)},
		{"a manifest that is a page", basic, manifests, body("text/html; secret=%s", "<html>%s</html>")},
		{"a media type of a secret", basic, anywhere, typed},
		{"a deep manifest", ready, manifests, body("application/vnd.oci.image.manifest.v1+json", strings.Repeat(`{"%s":`, 10_000))},
	})
	s.behindProxy(true, map[string]answer{
		"407.example.com": page(407), "502.example.com": document(502), "headers.example.com": headers(403), "raw.example.com": raw(t, "HTTP/1.1 200 OK\r\n%s\r\n\r\n"),
	})
	s.behindProxy(false, map[string]answer{
		"tunnel407.example.com": page(407), "tunnel403.example.com": headers(403), "reason.example.com": raw(t, "HTTP/1.1 502 %s\r\n\r\n"),
	})
	s.beside(registrytest.Scripted(t, registrytest.Behaviour{}, registrytest.TLS()).Addr, secured.hcl) // whose certificate nobody trusts
	s.beside(registrytest.Scripted(t, registrytest.Behaviour{}).Addr, basic.hcl+", plain_http = false")
	s.secrets["two_lines"] = bearer + "\n" + bearer
	s.beside(registrytest.Scripted(t, registrytest.Behaviour{}, registrytest.TokenAuth(registrytest.NewTokenServer(t))).Addr, `registry_token = var.secret["two_lines"]`)

	s.configured("first", "")
	s.outcomes = append(s.outcomes, s.run("apply", "-json", "-input=false", "-auto-approve").ok())
	s.shows("")
	s.turn(true)
	s.refreshes()
	s.applies()
	s.shows("")
	s.during("destroy", "-json", "-input=false", "-auto-approve", "-refresh=false")
	s.wantNoSecret()
}

func TestAConfigurationThatIsRefusedShowsNoSecret(t *testing.T) {
	t.Parallel()
	const host = "127.0.0.1:1"
	s := newSecrets(t)
	s["other_key"] = newSecrets(t)["client_key"]
	s["no_json"] = `{"auths":{"` + host + `":{"auth":"` + canary + `"`
	s["odd_json"] = `{"auths":{"` + host + `":{"auth":["` + canary + `"]}}}`
	ws, log := installed(t)
	ws.env = append(ws.env, "TF_LOG=TRACE")
	entry := func(settings string) string { return fmt.Sprintf("registries = { %q = { %s } }", host, settings) }
	// What is refused together, by what is said.
	for _, refused := range []map[string]string{
		{
			"a password proves a user name":                     entry(`password = var.secret["password"]`),
			"an entry has one of password":                      entry(`identity_token = var.secret["identity_token"], registry_token = var.secret["registry_token"]`),
			"client_certificate and client_key belong together": entry(`client_key = var.secret["client_key"]`),
		},
		{
			"private key does not match public key": entry(`client_certificate = var.secret["client_certificate"], client_key = var.secret["other_key"]`),
			"failed to find any PEM data":           entry(`client_certificate = var.secret["client_certificate"], client_key = var.secret["password"]`),
			"ca_certificate holds no certificate":   entry(`ca_certificate = var.secret["client_key"]`),
			"it is not JSON":                        `docker_config_json = var.secret["no_json"]`,
			"not a docker configuration":            `docker_config_json = var.secret["odd_json"]`,
		},
	} {
		blocks := []string{s.variable(ws)}
		for _, settings := range refused {
			name := fmt.Sprint("p", len(blocks))
			blocks = append(blocks, fmt.Sprintf("provider \"registry\" {\n  alias = %q\n  %s\n}", name, settings),
				fmt.Sprintf("data \"registry_manifest\" %q {\n  provider  = registry.%s\n  reference = \"%s/app:1\"\n}", name, name, host))
		}
		ws.configure(blocks...)
		said := ws.planFails()
		for says := range refused {
			said.wantError(says)
		}
		s.wantNoSecret(ws, said.text)
	}
	wantLine(t, log(), "provider.terraform-provider-registry", "ValidateProviderConfig") // it is the provider's log
}
