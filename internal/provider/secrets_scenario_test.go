package provider_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

func TestSecrets_NotExposed(t *testing.T) {
	t.Parallel()
	s := newSecrets(t)
	src, dst := registrytest.V3(t, registrytest.BasicAuth(user, s["password"])), registrytest.V2(t, registrytest.BasicAuth(user, s["password"]))
	pushed := src.Push(t, "app", "1", registrytest.MultiArch("app"))
	ws, log := newInstalledWorkspace(t)
	ws.env = append(ws.env, "TF_LOG=TRACE")
	ws.configure(s.variable(ws), providerBlock(map[string]string{src.Addr: basicLogin.hcl, dst.Addr: basicLogin.hcl}), imageCopy("app", pushed.Ref, dst.Ref("app", "1")))
	plan := ws.plan()
	texts := []string{plan.text, ws.shown(plan.file), ws.apply(plan).text}
	registrytest.Same(t, pushed.Tree, dst.Read(t, "app", "1"))

	s["password"] += "-wrong"
	s.variable(ws)
	failed := ws.planFails()
	failed.wantError("401", fmt.Sprintf("the user %q", user), fmt.Sprintf("registries[%q]", dst.Addr))
	s.assertNoSecret(ws, append(texts, failed.text)...)
	assertLogLine(t, log(), "request", dst.Addr) // the log includes that of the provider
}

// providerBlock returns a provider block with entries of registries as HCL.
func providerBlock(registries map[string]string, arguments ...string) string {
	block := "provider \"registry\" {\n  " + strings.Join(arguments, "\n  ") + "\n  registries = {\n"
	for host, settings := range registries {
		block += fmt.Sprintf("    %q = { %s }\n", host, settings)
	}
	return block + "  }\n}"
}

// shown returns the JSON that Terraform shows for a plan, or for the state if file is "".
func (w *workspace) shown(file string) string {
	w.t.Helper()
	var shown json.RawMessage
	w.show(&shown, file)
	return string(shown)
}

func TestSecrets_HostileRegistries(t *testing.T) {
	t.Parallel()
	signedFTP := "ftp://bucket.example.com/?" + signature
	astray := "ftp://" + user + ":" + url.QueryEscape(canary) + "@elsewhere.example.com/token"
	s := newHostileSuite(t)
	s.addHostile([]attack{
		{"401", basicLogin, anyRequest, registryError(401)},
		{"403", tokenExchange, anyRequest, registryError(403)},
		{"404", dockerConfig, anyRequest, htmlPage(404)},
		{"429", identityToken, anyRequest, registryError(429)},
		{"500", basicLogin, anyRequest, htmlPage(500)},
		{"503_error_code", registryToken, anyRequest, errorCode(503)},
		{"401_headers", tokenExchange, anyRequest, leakInHeaders(401)},
		{"403_headers", basicLogin, anyRequest, leakInHeaders(403)},
		{"200_headers", dockerConfig, anyRequest, leakInHeaders(200)},
		{"200_content_encoding", tokenExchange, anyRequest, leakInContentEncoding},
		{"403_reason", basicLogin, anyRequest, rawResponse(t, "HTTP/1.1 403 %s\r\nContent-Length: 0\r\n\r\n")},
		{"invalid_header", identityToken, anyRequest, rawResponse(t, "HTTP/1.1 200 OK\r\n%s\r\n\r\n")},
		{"invalid_status", registryToken, anyRequest, rawResponse(t, "HTTP/1.1 %s\r\n\r\n")},
		{"no_response", basicLogin, dataRequests, abortConnection},
		{"403_tls", clientCertificate, anyRequest, registryError(403)},
		{"closed_tls", clientCertificate, dataRequests, abortConnection},

		{"token_401", tokenExchange, tokenRequests, registryError(401)},
		{"token_oauth_400", identityToken, tokenRequests, oauthError(400)},
		{"token_403", dockerConfig, tokenRequests, errorCode(403)},
		{"token_headers", tokenExchange, tokenRequests, leakInHeaders(200)},
		{"token_503", identityToken, tokenRequests, htmlPage(503)},
		{"token_429", tokenExchange, tokenRequests, oauthError(429)},
		{"token_closed", dockerConfig, dataTokens, abortConnection},
		{"token_redirect", tokenExchange, tokenRequests, redirectTo("%s/token")},
		{"token_redirect_ftp", tokenExchange, tokenRequests, redirectTo(astray)},
		{"token_truncated", tokenExchange, tokenRequests, respondBody("application/json", `{"token":"%s`)},
		{"token_duplicate", identityToken, tokenRequests, respondBody("application/json", `{"token":"%s","token":"%s"}`)},
		{"token_two_lines", tokenExchange, tokenRequests, respondBody("application/json", `{"token":"`+bearer+`\r\nX: y"}`)},
		{"realm_attacker", tokenExchange, anyRequest, tokenRealm("%s/token")},
		{"realm_ftp", basicLogin, anyRequest, tokenRealm(astray)},

		{"redirect_attacker", basicLogin, anyRequest, redirectTo("%s/there")},
		{"redirect_ftp", tokenExchange, anyRequest, redirectTo(signedFTP)},
		{"blob_redirect_attacker", tokenExchange, blobRequests, redirectTo("%s/blob")},
		{"blob_redirect_ftp", basicLogin, blobRequests, redirectTo(signedFTP)},
		{"blob_redirect_invalid", basicLogin, blobRequests, redirectTo("http://[::1/?" + signature)},
		{"bucket_403", tokenExchange, bucketDownloads, htmlPage(403)},
		{"bucket_headers", basicLogin, bucketDownloads, leakInHeaders(403)},
		{"bucket_closed", identityToken, bucketDownloads, abortConnection},
		{"bucket_not_http", registryToken, bucketDownloads, rawResponse(t, "HTTP/1.1 200 OK\r\n%s\r\n\r\n")},
		{"bucket_other_blob", tokenExchange, bucketDownloads, respondBody("text/plain", "%s")},

		{"upload_attacker", tokenExchange, uploadStarts, redirectTo("%s/upload")},
		{"upload_ftp", basicLogin, uploadStarts, redirectTo(signedFTP)},
		{"upload_invalid_url", basicLogin, uploadStarts, redirectTo("http://[::1/?" + signature)},
		{"upload_403", tokenExchange, bucketUploads, htmlPage(403)},
		{"upload_headers", basicLogin, bucketUploads, leakInHeaders(400)},
		{"upload_503", dockerConfig, bucketUploads, registryError(503)},
		{"upload_closed", identityToken, bucketUploads, abortConnection},

		{"manifest_invalid", basicLogin, manifestRequests, respondBody("application/vnd.oci.image.manifest.v1+json", `{"schemaVersion":2,"mediaType":"%s","config":{"mediaType":"%s","digest":"%s","size":1, false},"layers":[]}`)},
		{"manifest_truncated", tokenExchange, manifestRequests, respondBody("application/vnd.oci.image.index.v1+json", `{"schemaVersion":2,"manifests":[{"digest":"%s`)},
		{"manifest_page", basicLogin, manifestRequests, respondBody("text/html; secret=%s", "<html>%s</html>")},
		{"manifest_media_type", basicLogin, anyRequest, leakInMediaType},
		{"manifest_deep", registryToken, manifestRequests, respondBody("application/vnd.oci.image.manifest.v1+json", strings.Repeat(`{"%s":`, 10_000))},
	})
	s.addBehindProxy(true, map[string]responder{
		"407.example.com": htmlPage(407), "502.example.com": registryError(502), "headers.example.com": leakInHeaders(403), "raw.example.com": rawResponse(t, "HTTP/1.1 200 OK\r\n%s\r\n\r\n"),
	})
	s.addBehindProxy(false, map[string]responder{
		"tunnel407.example.com": htmlPage(407), "tunnel403.example.com": leakInHeaders(403), "reason.example.com": rawResponse(t, "HTTP/1.1 502 %s\r\n\r\n"),
	})
	s.addUnreachable(registrytest.Scripted(t, registrytest.Behaviour{}, registrytest.TLS()).Addr, clientCertificate.hcl) // its certificate is not trusted
	s.addUnreachable(registrytest.Scripted(t, registrytest.Behaviour{}).Addr, basicLogin.hcl+", plain_http = false")
	s.secrets["two_lines"] = bearer + "\n" + bearer
	s.addUnreachable(registrytest.Scripted(t, registrytest.Behaviour{}, registrytest.TokenAuth(registrytest.NewTokenServer(t))).Addr, `registry_token = var.secret["two_lines"]`)

	s.configureCopies("first", "")
	s.outcomes = append(s.outcomes, s.run("apply", "-json", "-input=false", "-auto-approve").mustSucceed())
	s.recordShown("")
	s.setHostile(true)
	s.planWhileHostile()
	s.applyWhileHostile()
	s.recordShown("")
	s.runFailing("destroy", "-json", "-input=false", "-auto-approve", "-refresh=false")
	s.assertNoSecret()
}

func TestSecrets_InvalidConfiguration(t *testing.T) {
	t.Parallel()
	const host = "127.0.0.1:1"
	s := newSecrets(t)
	s["other_key"] = newSecrets(t)["client_key"]
	s["no_json"] = `{"auths":{"` + host + `":{"auth":"` + canary + `"`
	s["odd_json"] = `{"auths":{"` + host + `":{"auth":["` + canary + `"]}}}`
	ws, log := newInstalledWorkspace(t)
	ws.env = append(ws.env, "TF_LOG=TRACE")
	entry := func(settings string) string { return fmt.Sprintf("registries = { %q = { %s } }", host, settings) }
	// Invalid configurations that are tested together, by the expected text.
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
		result := ws.planFails()
		for contains := range refused {
			result.wantError(contains)
		}
		s.assertNoSecret(ws, result.text)
	}
	assertLogLine(t, log(), "provider.terraform-provider-registry", "ValidateProviderConfig") // the log includes that of the provider
}
