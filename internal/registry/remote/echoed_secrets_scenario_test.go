package remote_test

import (
	"encoding/base64"
	"fmt"
	"html"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// password could appear in a host name, a media type or a digest without being invalid
// there.
const password = "5ca1ab1e0ddba11ca11ab1e5ca1ab1e0ddba11ca11ab1e5ca1ab1e0ddba11ca1"

// assertHidden fails the test if text contains one of secrets in any case.
func assertHidden(t *testing.T, what, text string, secrets ...string) {
	t.Helper()
	for _, secret := range secrets {
		if strings.Contains(strings.ToLower(text), strings.ToLower(secret)) {
			t.Errorf("the %s contains %q: %q", what, secret, text)
		}
	}
}

// requireAnyLogin wraps handler with Basic authentication that accepts any credentials.
func requireAnyLogin(handler http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, _, ok := r.BasicAuth(); !ok {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		handler(w, r)
	}
}

// login returns an option that sets a user's credentials for a host.
func login(host, user string, password auth.Secret) func(*remote.Options) {
	return credentials(map[string]auth.Credential{host: {Username: user, Password: password, Source: "the test"}})
}

// The media type and the digest of a tag are stored in the state, and a secret in them
// could not be removed from there.
func TestResolve_SecretInDescriptor(t *testing.T) {
	index := "application/vnd.oci.image.index.v1+json"
	pair := base64.RawURLEncoding.EncodeToString([]byte("ci:" + password))
	for name, test := range map[string]struct{ method, mediaType, digest string }{
		"password_in_head_media_type": {http.MethodHead, "application/vnd." + password + "+json", descriptor("x").Digest.String()},
		"password_in_get_media_type":  {http.MethodGet, "application/vnd." + strings.ToUpper(password) + "+json", ""},
		"login_in_head_media_type":    {http.MethodHead, "application/vnd." + pair, descriptor("x").Digest.String()},
		"password_in_head_digest":     {http.MethodHead, index, "sha256:" + password},
	} {
		t.Run(name, func(t *testing.T) {
			host := hostOf(t, servePlain(t, requireAnyLogin(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != test.method {
					w.WriteHeader(http.StatusMethodNotAllowed)
					return
				}
				w.Header().Set("Content-Type", test.mediaType)
				w.Header().Set("Docker-Content-Digest", test.digest)
				_, _ = io.WriteString(w, `{"schemaVersion":2,"manifests":[]}`)
			})).URL)
			c := newClient(t, singleAttempt, login(host, "ci", password))
			d, err := c.pull(t, host+"/app").Resolve(t.Context(), "1")
			e := assertErrorKind(t, err, registry.ErrProtocol)
			assertContains(t, e.Message, "has a secret in it")
			assertHidden(t, "error", e.Error()+e.Hint+fmt.Sprint(d), password, pair)
		})
	}
}

func TestResolve_OrdinaryWordPassword(t *testing.T) {
	for mediaType, word := range map[string]auth.Secret{
		registry.MediaTypeDockerManifest:     "docker",
		ocispec.MediaTypeImageManifest:       "manifest",
		ocispec.MediaTypeImageIndex:          "sha256",
		registry.MediaTypeDockerManifestList: "44136fa355b3", // the beginning of the digest
		"application/vnd.example.thing.v1":   "password",
	} {
		host := hostOf(t, servePlain(t, requireAnyLogin(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", mediaType)
			w.Header().Set("Docker-Content-Digest", descriptor("{}").Digest.String())
			w.Header().Set("Content-Length", "2")
			_, _ = io.WriteString(w, "{}")
		})).URL)
		repo := newClient(t, login(host, "ci", word)).pull(t, host+"/app")
		d, err := repo.Resolve(t.Context(), "1")
		if err != nil || d.MediaType != mediaType {
			t.Errorf("Resolve() of %s = %q, %v; want the same media type", mediaType, d.MediaType, err)
		}
		m, err := repo.GetManifest(t.Context(), "1")
		if err != nil || m.MediaType != mediaType {
			t.Errorf("GetManifest() of %s = %q, %v; want the same media type", mediaType, m.MediaType, err)
		}
	}
}

// Storage services quote the request URL exactly as it was sent.
func TestRedact_URLSignature(t *testing.T) {
	handlers := map[string]func(http.ResponseWriter, *http.Request){
		"web_page": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = fmt.Fprintf(w, "<Error><RequestURI>%s</RequestURI></Error>", html.EscapeString(r.RequestURI))
		},
		"text": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, r.RequestURI)
		},
		"error_document": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write(registrytest.ErrorBody("AccessDenied", r.RequestURI))
		},
		"decoded_query": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			text, err := url.QueryUnescape(r.URL.RawQuery)
			if err != nil {
				text = r.URL.RawQuery
			}
			_, _ = io.WriteString(w, text)
		},
		"separate_parameters": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, strings.NewReplacer("&", "\n", ";", "\n").Replace(r.URL.RawQuery))
		},
		"content_type": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain; "+r.URL.RawQuery)
			_, _ = io.WriteString(w, "{}")
		},
		"content_encoding": func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Encoding", r.URL.RawQuery) },
	}
	for query, parts := range map[string][]string{
		"sig=ab%2Bcdefgh/ijklm%3D":          {"cdefgh", "ijklm"},
		"sig=abcdefg%2fhijk%2Blmn":          {"abcdefg", "hijk"},
		"sig=ABC%7Edef!ghi":                 {"def!", "~def", "ghi"},
		"sig=AAA;tok=SECRETSECRET":          {"SECRETSECRET", "AAA;"},
		"SECRETSIGNATURE":                   {"SECRETSIG"},
		"U0VDUkVUU0lHTkFUVVJF==":            {"U0VDUkVU"},
		"sig=a%zzSECRETSIG&n=5":             {"SECRETSIG", "a%zz"},
		"X-Amz-Signature=5e4f&X-Amz-Date=2": {"5e4f"},
	} {
		for name, handler := range handlers {
			t.Run(name+"/"+query, func(t *testing.T) {
				registry := servePlain(t, func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/signed" {
						handler(w, r)
						return
					}
					redirect("/signed?"+query)(w, r)
				})
				c := newClient(t, singleAttempt)
				_, err := c.pull(t, hostOf(t, registry.URL)+"/app").GetManifest(t.Context(), "1")
				text := registryError(t, err).Error()
				if !strings.Contains(text, "***") && !strings.Contains(text, "has a secret in it") {
					t.Errorf("error = %s, want a sign that it was redacted", text)
				}
				assertHidden(t, "error", text, parts...)
				assertHidden(t, "log", c.log.String(), parts...)
			})
		}
	}
}

func TestRedact_Warning(t *testing.T) {
	for name, header := range map[string]http.Header{
		"warning_text": {"Warning": {`299 - "renew ` + password + ` soon"`}},
		"digest":       {"Docker-Content-Digest": {"sha256:" + password + " " + base64.StdEncoding.EncodeToString([]byte("ci:"+password))}},
	} {
		t.Run(name, func(t *testing.T) {
			p := scripted(t, registrytest.Behaviour{}, registrytest.BasicAuth("ci", password))
			p.Push(t, "app", "1", registrytest.Image{Seed: "a"})
			p.On("GET", ".*").Do(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				next.ServeHTTP(&headerOverride{w, header}, r)
			})
			c := newClient(t, login(p.Addr, "ci", password))
			if _, err := c.pull(t, p.Addr+"/app").GetManifest(c.context(t), "1"); err != nil {
				t.Fatal(err)
			}
			warnings := c.Warnings()
			if len(warnings) != 1 || !strings.Contains(warnings[0], "***") {
				t.Errorf("warnings = %q, want one with a redacted secret", warnings)
			}
			assertHidden(t, "warning", fmt.Sprint(warnings), password, base64.RawStdEncoding.EncodeToString([]byte("ci:"+password)))
		})
	}
}

// headerOverride is a ResponseWriter that replaces some headers of the response.
type headerOverride struct {
	http.ResponseWriter
	header http.Header
}

func (o *headerOverride) WriteHeader(status int) {
	maps.Copy(o.Header(), o.header)
	o.ResponseWriter.WriteHeader(status)
}

// A server can use a secret that it received in the name of a host.
func TestRedact_HostName(t *testing.T) {
	n := newFakeNetwork(t)
	issues := func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{"token":"issued-4711"}`) }
	bearer := func(r *http.Request) bool { return r.Header.Get("Authorization") == "Bearer issued-4711" }
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		hosts   []string
	}{
		"blob_redirect": {requireAnyLogin(redirect("https://" + password + ".example.net/b")), []string{"***.example.net", "registry.example.com"}},
		"blob_redirect_with_plain_query": {
			requireAnyLogin(redirect("https://cdn.example.net/b?region=cdn.example&x=net")), []string{"cdn.example.net", "registry.example.com"},
		},
		"plain_http_redirect": {requireAnyLogin(redirect("http://" + strings.ToUpper(password) + ".example.net/b")), []string{"registry.example.com"}},
		"realm_host": {func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == "/token":
				issues(w)
			case bearer(r):
				bearerChallenge("https://issued-4711.registry.example.com/token")(w, r)
			default:
				bearerChallenge("https://registry.example.com/token")(w, r)
			}
		}, []string{"***.registry.example.com", "registry.example.com"}},
		"realm_path": {func(w http.ResponseWriter, r *http.Request) {
			switch {
			case strings.HasSuffix(r.URL.Path, "/token"):
				issues(w)
			case bearer(r):
				bearerChallenge("https://registry.example.com/issued-4711/token")(w, r)
			default:
				bearerChallenge("https://registry.example.com/token")(w, r)
			}
		}, []string{"registry.example.com"}},
		"denied_by_redirect_target": {requireAnyLogin(func(w http.ResponseWriter, r *http.Request) {
			if r.Host == "registry.example.com" {
				redirect("https://known-"+password[:40]+".example.net/b")(w, r)
			}
		}), []string{"known-***.example.net", "registry.example.com"}},
	} {
		t.Run(name, func(t *testing.T) {
			secret := password
			if strings.HasPrefix(name, "denied_by_redirect_target") {
				secret = password[:40] // a label has at most 63 characters
				n.serve(t, "known-"+secret+".example.net", otherAddress, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
			}
			n.serve(t, "registry.example.com", registryAddress, test.handler)
			c := newClient(t, singleAttempt, n.options, login("registry.example.com", "ci", auth.Secret(secret)), settings(n.trustedHosts("registry.example.com", "known-"+secret+".example.net")))
			_, err := c.pull(t, "registry.example.com/app").GetBlob(c.context(t), descriptor("x"))
			e := registryError(t, err)
			assertHidden(t, "error", e.Error()+e.Hint, secret, "issued-4711")
			assertHidden(t, "log", c.log.String(), secret, "issued-4711")
			var hosts []string
			for _, q := range c.requests {
				hosts = append(hosts, q.Host)
			}
			slices.Sort(hosts)
			if hosts = slices.Compact(hosts); !slices.Equal(hosts, test.hosts) {
				t.Errorf("hosts in the trace = %q, want %q", hosts, test.hosts)
			}
		})
	}
}

// A proxy may be used for the token server only, and its URL may have a user name without
// a password.
func TestRedact_TokenProxyLogin(t *testing.T) {
	for name, user := range map[string]*url.Userinfo{"password": url.UserPassword("deploy", canary), "user_name": url.User(canary)} {
		for kind, respond := range map[string]func(conn net.Conn, login, text string){
			"http_response": func(conn net.Conn, login, text string) {
				body := fmt.Sprintf(`{"errors":[{"code":"DENIED","message":"%s %s"}]}`, login, text)
				_, _ = fmt.Fprintf(conn, "HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body)
			},
			"malformed_response": func(conn net.Conn, _, text string) { _, _ = fmt.Fprintf(conn, "HTTP/1.1 %s x\r\n\r\n", text) },
		} {
			t.Run(name+"_in_"+kind, func(t *testing.T) {
				proxy := serveRaw(t, func(conn net.Conn, request string) {
					_, rest, _ := strings.Cut(request, "Proxy-Authorization: Basic ")
					login, _, _ := strings.Cut(rest, "\r\n")
					text, err := base64.StdEncoding.DecodeString(login)
					if err != nil || login == "" {
						t.Errorf("the proxy received %q, want a login", request)
					}
					respond(conn, login, string(text))
				})
				registry := servePlain(t, func(w http.ResponseWriter, r *http.Request) { bearerChallenge("http://"+r.Host+"/token")(w, r) })
				c := newClient(t, singleAttempt, func(o *remote.Options) {
					o.Proxy = func(r *http.Request) (*url.URL, error) {
						if r.URL.Path != "/token" {
							return nil, nil
						}
						return &url.URL{Scheme: "http", User: user, Host: proxy}, nil
					}
				})
				_, err := c.pull(t, hostOf(t, registry.URL)+"/app").GetManifest(t.Context(), "1")
				e := registryError(t, err)
				assertNoSecret(t, "error", e.Error()+e.Hint)
				assertContains(t, e.Error(), "***")
			})
		}
	}
}

// For some registries the user name is the token, and there is no password.
func TestRedact_UserNameToken(t *testing.T) {
	host := hostOf(t, servePlain(t, requireAnyLogin(func(w http.ResponseWriter, r *http.Request) {
		user, _, _ := r.BasicAuth()
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write(registrytest.ErrorBody("DENIED", "the token "+user+" has expired"))
	})).URL)
	c := newClient(t, singleAttempt, login(host, canary, ""))
	_, err := c.pull(t, host+"/app").GetManifest(t.Context(), "1")
	assertContains(t, assertErrorKind(t, err, registry.ErrDenied).Error(), "the token *** has expired")
}

// A server that received a secret in an earlier run, or for another repository, can echo
// it in a response to an anonymous request.
func TestRedact_UnsentCredential(t *testing.T) {
	host := hostOf(t, servePlain(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write(registrytest.ErrorBody("DENIED", "remember "+canary+"?"))
	}).URL)
	for name, known := range map[string]func(*remote.Options){
		"registries":                 login(host, "ci", canary),
		"registries_other_namespace": login(host+"/other", "ci", canary),
		"docker_config": withDockerConfig(fmt.Sprintf(`{"auths":{"http://%s/v2/":{"auth":%q}}}`, host,
			base64.StdEncoding.EncodeToString([]byte("ci:"+canary)))),
	} {
		_, err := newClient(t, singleAttempt, known).pull(t, host+"/app").GetManifest(t.Context(), "1")
		if text := assertErrorKind(t, err, registry.ErrDenied).Error(); !strings.HasSuffix(text, "DENIED: remember ***?") {
			t.Errorf("%s: error = %s, want the secret redacted", name, text)
		}
	}
}

// A server that received a credential can echo it in any part of its response that becomes
// part of an error or of the log.
func TestRedact_CredentialInHeader(t *testing.T) {
	encoded := base64.StdEncoding.EncodeToString([]byte("ci:" + canary))
	for name, header := range map[string]http.Header{
		"location_path":          {"Location": {"ftp://h/" + canary}},
		"location_host":          {"Location": {"ftp://" + canary + ".example/"}},
		"location_authorization": {"Location": {"ftp://h/" + encoded}},
		"location_relative":      {"Location": {"/" + canary}},
		"content_encoding":       {"Content-Encoding": {canary}},
		"content_type":           {"Content-Type": {"text/plain; x=" + canary}},
	} {
		t.Run(name, func(t *testing.T) {
			p := scripted(t, registrytest.Behaviour{}, registrytest.BasicAuth("ci", canary))
			p.Push(t, "app", "1", registrytest.Image{Seed: "a"})
			status := http.StatusOK
			if header.Get("Location") != "" {
				status = http.StatusTemporaryRedirect
			}
			p.On("GET", ".*").Where(func(r *http.Request) bool { return r.Header.Get("Authorization") != "" }).Reply(status, header, "{}")
			c := newClient(t, singleAttempt, credentials(map[string]auth.Credential{p.Addr: {Username: "ci", Password: canary, Source: "the test"}}))
			_, err := c.pull(t, p.Addr+"/app").GetManifest(t.Context(), "1")
			e := registryError(t, err)
			assertNoSecret(t, "error", e.Error()+e.Hint)
		})
	}
}

// The token was issued during the operation and is not in the options.
func TestRedact_TokenInHeader(t *testing.T) {
	tokens := registrytest.NewTokenServer(t)
	tokens.Answer = func(w http.ResponseWriter, _ registrytest.TokenRequest, _ string) {
		_, _ = w.Write([]byte(`{"token":"` + canary + `-issued"}`))
	}
	p := scripted(t, registrytest.Behaviour{}, registrytest.TokenAuth(tokens))
	p.On("GET", ".*").Where(func(r *http.Request) bool { return r.Header.Get("Authorization") != "" }).
		Reply(http.StatusTemporaryRedirect, http.Header{"Location": {"ftp://h/" + canary + "-issued"}}, "")
	_, err := newClient(t, singleAttempt).pull(t, p.Addr+"/app").GetManifest(t.Context(), "1")
	assertNoSecret(t, "error", registryError(t, err).Error())
}

// The proxy received a login of its own.
func TestRedact_ProxyLogin(t *testing.T) {
	proxy := servePlain(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusProxyAuthRequired)
		_, _ = fmt.Fprint(w, r.Header.Get("Proxy-Authorization"), " ", canary)
	})
	plain := true
	c := newClient(t, settings(map[string]remote.HostOptions{"registry.example.com": {PlainHTTP: &plain}}), func(o *remote.Options) {
		o.Proxy = func(*http.Request) (*url.URL, error) {
			return &url.URL{Scheme: "http", User: url.UserPassword("deploy", canary), Host: address(proxy)}, nil
		}
	})
	_, err := c.pull(t, "registry.example.com/app").GetManifest(t.Context(), "1")
	assertContains(t, assertErrorKind(t, err, registry.ErrDenied).Error(), "says \"Basic *** ***\"")
}

func TestRedact_ErrorDocument(t *testing.T) {
	const secret = canary + `"&<x>`
	server := servePlain(t, func(w http.ResponseWriter, r *http.Request) {
		sent := r.Header.Get("Authorization")
		if sent == "" {
			w.Header().Set("WWW-Authenticate", "Basic realm=x")
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Warning", `299 - "you sent `+sent+`"`)
		w.WriteHeader(http.StatusForbidden)
		switch r.URL.Path {
		case "/v2/app/manifests/words":
			_, _ = w.Write(registrytest.ErrorBody("DENIED", "you sent "+sent+" which is "+secret))
		case "/v2/app/manifests/detail":
			_, _ = io.WriteString(w, `{"errors":[{"code":"QUOTA","detail":{"a":"Canary\/Secret+\"\u0026\u003cx\u003e","b":"Canary/Secret+\"\u0026\u003cx\u003e"}}]}`)
		default:
			_, _ = io.WriteString(w, "<p>"+sent+" "+url.QueryEscape(secret)+" "+secret)
		}
	})
	c := newClient(t, credentials(map[string]auth.Credential{address(server): {Username: "ci", Password: secret}}))
	for tag, want := range map[string]string{"words": "you sent Basic *** which is ***", "detail": `{"a":"***","b":"***"}`, "page": "Basic *** *** ***"} {
		_, err := c.pull(t, address(server)+"/app").GetManifest(c.context(t), tag)
		assertContains(t, assertErrorKind(t, err, registry.ErrDenied).Message, want)
	}
	if w := c.Warnings(); len(w) != 1 {
		t.Errorf("warnings = %q, want one", w)
	}
}
