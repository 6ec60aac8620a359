package remote_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// small is a blob that is too small for a separate existence check.
const small = "small"

// sentRequests returns the methods and mount sources of the requests so far, in order, and
// clears the record. A request to mount is "POST from REPOSITORY".
func sentRequests(p *registrytest.Proxy) string {
	var all []string
	for _, r := range p.Requests() {
		what := r.Method
		if from := r.Query.Get("from"); from != "" {
			what += " from " + from
		}
		all = append(all, what)
	}
	p.Forget()
	return strings.Join(all, ", ")
}

func TestMount_OwnRepository(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{})
	repo := newClient(t).push(t, p.Ref("app", "1"))
	content := newBody(t, small)
	for _, test := range []struct {
		want     registry.Outcome
		requests string
	}{
		{registry.Copied, "POST from app, PUT"},
		{registry.AlreadyExists, "POST from app"},
	} {
		outcome, err := repo.PutBlob(t.Context(), descriptor(small), content.get())
		if err != nil || outcome != test.want {
			t.Fatalf("PutBlob() = %q, %v; want %q", outcome, err, test.want)
		}
		if got := sentRequests(p); got != test.requests {
			t.Errorf("requests = %s, want %s", got, test.requests)
		}
	}
	if content.opens() != 1 {
		t.Errorf("content opened %d times, want 1", content.opens())
	}
}

func TestMount_SameHost(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{})
	p.PushBlob(t, "from", registrytest.Blob{Content: []byte(large)})
	p.Forget()
	content := newBody(t, large)
	content.from = p.Addr + "/from"
	outcome, err := newClient(t).push(t, p.Ref("to", "1")).PutBlob(t.Context(), descriptor(large), content.get())
	if err != nil || outcome != registry.Mounted || content.opens() != 0 {
		t.Errorf("PutBlob() = %q, %v with content opened %d times, want Mounted and 0", outcome, err, content.opens())
	}
	if got := sentRequests(p); got != "POST from from" {
		t.Errorf("requests = %s, want POST from from", got)
	}
	if !p.HasBlob(t, "to", descriptor(large).Digest) {
		t.Error("the blob does not exist after the mount")
	}
}

func TestMount_HeadOnUnknownHost(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{})
	p.PushBlob(t, "app", registrytest.Blob{Content: []byte(small)})
	p.Forget()
	repo := newClient(t).push(t, p.Ref("app", "1"))
	put := func(content string) registry.Outcome {
		t.Helper()
		outcome, err := repo.PutBlob(t.Context(), descriptor(content), newBody(t, content).get())
		if err != nil {
			t.Fatal(err)
		}
		return outcome
	}
	if outcome := put(large); outcome != registry.Copied || p.Count("HEAD", ".*") != 1 {
		t.Errorf("PutBlob() on an unknown host = %q with %d HEAD, want Copied with 1", outcome, p.Count("HEAD", ".*"))
	}
	p.Forget()
	if outcome := put(small); outcome != registry.AlreadyExists {
		t.Errorf("PutBlob() of an existing blob = %q, want AlreadyExists", outcome)
	}
	// The 201 showed that the host supports mounting: its 202 means that a blob does not
	// exist.
	if outcome := put(large + "!"); outcome != registry.Copied || p.Count("HEAD", ".*") != 0 {
		t.Errorf("PutBlob() on a host that mounts = %q with %d HEAD, want Copied with 0", outcome, p.Count("HEAD", ".*"))
	}
}

func TestMount_SupportProbe(t *testing.T) {
	mount := func(r *http.Request) bool { return r.URL.Query().Has("mount") }
	for name, c := range map[string]struct {
		behaviour    registrytest.Behaviour
		fails        int    // how many probes get a 503
		requests     string // requests for the small blob, after which mount support is known
		large, small int    // HEAD requests for later blobs
	}{
		"supported":   {registrytest.Behaviour{}, 0, "POST from to, PUT, POST from to", 0, 0},
		"ignored":     {registrytest.Behaviour{BlindMount: true}, 0, "POST from to, PUT, POST from to, DELETE", 1, 1},
		"probe_fails": {registrytest.Behaviour{}, 1, "POST from to, PUT, POST from to", 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			p := scripted(t, c.behaviour)
			repo := newClient(t).push(t, p.Ref("to", "1"))
			put := func(content string) (heads int) {
				t.Helper()
				if outcome, err := repo.PutBlob(t.Context(), descriptor(content), newBody(t, content).get()); err != nil || outcome != registry.Copied {
					t.Fatalf("PutBlob() of %d bytes = %q, %v; want Copied", len(content), outcome, err)
				}
				return p.Count("HEAD", ".*/"+string(descriptor(content).Digest))
			}
			put("before") // there is nothing to probe yet
			if got := sentRequests(p); got != "POST from to, PUT" {
				t.Errorf("requests before a large blob = %s", got)
			}
			put(large)
			p.Forget()
			p.On("POST", ".*").Where(mount).After(1).Times(c.fails).Reply(http.StatusServiceUnavailable, nil, "")
			put(small)
			if got := sentRequests(p); got != c.requests {
				t.Errorf("requests = %s, want %s", got, c.requests)
			}
			if heads := put("another"); heads != c.small {
				t.Errorf("HEAD requests for a small blob = %d, want %d", heads, c.small)
			}
			if posts := p.Count("POST", ".*"); posts != 1 {
				t.Errorf("POST requests for a small blob = %d, want 1", posts)
			}
			if heads := put(large + "!"); heads != c.large {
				t.Errorf("HEAD requests for a large blob = %d, want %d", heads, c.large)
			}
		})
	}
}

func TestMount_HeadIfIgnored(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{BlindMount: true})
	for _, content := range []string{large, small} {
		p.PushBlob(t, "app", registrytest.Blob{Content: []byte(content)})
	}
	p.Forget()
	repo := newClient(t).push(t, p.Ref("app", "1"))
	for _, content := range []string{large, small} {
		body := newBody(t, content)
		outcome, err := repo.PutBlob(t.Context(), descriptor(content), body.get())
		if err != nil || outcome != registry.AlreadyExists || body.opens() != 0 {
			t.Errorf("PutBlob() of %d bytes = %q, %v; want AlreadyExists", len(content), outcome, err)
		}
		// The client cancels the unneeded upload.
		if heads, deletes := p.Count("HEAD", ".*"), p.Count("DELETE", ".*"); heads != 1 || deletes != 1 {
			t.Errorf("%d bytes: HEAD requests = %d, DELETE requests = %d, want 1 and 1", len(content), heads, deletes)
		}
		p.Forget()
	}
	if outcome, err := repo.PutBlob(t.Context(), descriptor("new"), newBody(t, "new").get()); err != nil || outcome != registry.Copied {
		t.Errorf("PutBlob() of a new blob = %q, %v; want Copied", outcome, err)
	}
	if got := p.Count("POST", ".*"); got != 1 || p.Count("HEAD", ".*") != 1 {
		t.Errorf("requests for a new blob = %s", sentRequests(p))
	}
}

func TestMount_Refused(t *testing.T) {
	for _, status := range []int{400, 401, 403, 404, 405, 500, 503} {
		p := scripted(t, registrytest.Behaviour{})
		refusals := p.On("POST", ".*").Where(func(r *http.Request) bool { return r.URL.Query().Has("mount") })
		refusals.Reply(status, nil, string(registrytest.ErrorBody("DENIED", "no mounting here")))
		repo := newClient(t).push(t, p.Ref("app", "1"))
		for i, content := range []string{"one", "two", "three", "four"} {
			outcome, err := repo.PutBlob(t.Context(), descriptor(content), newBody(t, content).get())
			if err != nil || outcome != registry.Copied {
				t.Fatalf("HTTP %d: PutBlob() = %q, %v; want Copied", status, outcome, err)
			}
			// The client stops after two refusals.
			if want := min(i+1, 2); refusals.Taken() != want {
				t.Errorf("HTTP %d: mount requests = %d after %d blobs, want %d", status, refusals.Taken(), i+1, want)
			}
		}
	}
}

func TestMount_RefusalLimit(t *testing.T) {
	for name, fault := range map[string]func(*registrytest.Rule){
		"refused": func(r *registrytest.Rule) { r.Reply(http.StatusForbidden, nil, "") },
		"upload_instead": func(r *registrytest.Rule) {
			r.Do(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				r.URL.RawQuery = ""
				next.ServeHTTP(w, r)
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := scripted(t, registrytest.Behaviour{})
			refusals := p.On("POST", "/v2/to/.*").Where(func(r *http.Request) bool { return r.URL.Query().Get("from") == "secret" })
			fault(refusals)
			c := newClient(t)
			put := func(to, from, content string) registry.Outcome {
				t.Helper()
				body := newBody(t, content)
				body.from = p.Addr + "/" + from
				outcome, err := c.push(t, p.Ref(to, "1")).PutBlob(t.Context(), descriptor(content), body.get())
				if err != nil {
					t.Fatal(err)
				}
				return outcome
			}
			for _, content := range []string{"one", "two", "three"} {
				p.PushBlob(t, "secret", registrytest.Blob{Content: []byte(content)})
				p.PushBlob(t, "open", registrytest.Blob{Content: []byte(content + "!")})
				if outcome := put("to", "secret", content); outcome != registry.Copied {
					t.Errorf("PutBlob(%s) = %q, want Copied", content, outcome)
				}
			}
			if refusals.Taken() != 2 {
				t.Errorf("mount requests = %d, want 2", refusals.Taken())
			}
			// The client still tries to mount for other pairs of repositories.
			if outcome := put("to", "open", "one!"); outcome != registry.Mounted {
				t.Errorf("PutBlob() from another repository = %q, want Mounted", outcome)
			}
			if outcome := put("other", "secret", "one"); outcome != registry.Mounted {
				t.Errorf("PutBlob() to another repository = %q, want Mounted", outcome)
			}
		})
	}
}

func TestMount_OccasionalRefusal(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{})
	repo := newClient(t).push(t, p.Ref("to", "1"))
	refusals := p.On("POST", "/v2/to/.*").Where(func(r *http.Request) bool { return r.URL.Query().Get("from") == "from" }).Times(0)
	for i, content := range []string{"one", "two", "three", "four", "five"} {
		p.PushBlob(t, "from", registrytest.Blob{Content: []byte(content)})
		want := registry.Mounted
		if i%2 == 0 { // the first, third and fifth blob
			refusals.Times(1).Reply(http.StatusNotFound, nil, "")
			want = registry.Copied
		}
		body := newBody(t, content)
		body.from = p.Addr + "/from"
		if outcome, err := repo.PutBlob(t.Context(), descriptor(content), body.get()); err != nil || outcome != want {
			t.Errorf("PutBlob(%s) = %q, %v; want %q", content, outcome, err, want)
		}
	}
	if refusals.Taken() != 3 {
		t.Errorf("refused mounts = %d, want 3", refusals.Taken())
	}
}

func TestMount_BlobAlreadyExists(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{})
	p.On("POST", ".*").Where(func(r *http.Request) bool { return r.URL.Query().Get("from") == "from" }).
		Do(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			r.URL.RawQuery = ""
			next.ServeHTTP(w, r)
		})
	p.PushBlob(t, "to", registrytest.Blob{Content: []byte(large)})
	p.Forget()
	content := newBody(t, large)
	content.from = p.Addr + "/from"
	outcome, err := newClient(t).push(t, p.Ref("to", "1")).PutBlob(t.Context(), descriptor(large), content.get())
	if err != nil || outcome != registry.AlreadyExists || content.opens() != 0 {
		t.Errorf("PutBlob() = %q, %v; want AlreadyExists", outcome, err)
	}
	if got := sentRequests(p); got != "POST from from, HEAD, DELETE" {
		t.Errorf("requests = %s, want POST from from, HEAD, DELETE", got)
	}
}

func TestMount_WrongDigest(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{})
	p.On("POST", ".*").Times(1).Reply(http.StatusCreated, http.Header{"Docker-Content-Digest": {string(descriptor("other").Digest)}}, "")
	outcome, err := newClient(t).push(t, p.Ref("app", "1")).PutBlob(t.Context(), descriptor(small), newBody(t, small).get())
	if err != nil || outcome != registry.Copied || !p.HasBlob(t, "app", descriptor(small).Digest) {
		t.Errorf("PutBlob() = %q, %v; want Copied", outcome, err)
	}
}

func TestPutBlob_Force(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{})
	p.PushBlob(t, "app", registrytest.Blob{Content: []byte(small)})
	p.PushBlob(t, "from", registrytest.Blob{Content: []byte(small)})
	p.Forget()
	content := newBody(t, small)
	content.from = p.Addr + "/from"
	distrusted := content.get()
	distrusted.Force = true
	outcome, err := newClient(t).push(t, p.Ref("app", "1")).PutBlob(t.Context(), descriptor(small), distrusted)
	if err != nil || outcome != registry.Copied || content.opens() != 1 {
		t.Errorf("PutBlob() = %q, %v; want Copied", outcome, err)
	}
	if got := sentRequests(p); got != "POST, PUT" {
		t.Errorf("requests = %s, want POST, PUT", got)
	}
}

func TestMount_Throttled(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{})
	p.PushBlob(t, "from", registrytest.Blob{Content: []byte(small)})
	p.On("POST", ".*").Times(3).Reply(http.StatusTooManyRequests, nil, "")
	content := newBody(t, small)
	content.from = p.Addr + "/from"
	c := newClient(t)
	outcome, err := c.push(t, p.Ref("to", "1")).PutBlob(c.context(t), descriptor(small), content.get())
	if err != nil || outcome != registry.Mounted {
		t.Errorf("PutBlob() = %q, %v; want Mounted", outcome, err)
	}
	if requests, retries := c.sent(); requests != 4 || retries != 3 {
		t.Errorf("trace = %d requests and %d retries, want 4 and 3", requests, retries)
	}
}

func TestMount_UnauthorizedSource(t *testing.T) {
	tokens := registrytest.NewTokenServer(t)
	tokens.Allow = func(_, repo, _ string) bool { return repo == "to" }
	p := scripted(t, registrytest.Behaviour{}, registrytest.TokenAuth(tokens))
	p.PushBlob(t, "from", registrytest.Blob{Content: []byte("content")})
	content := newBody(t, "content")
	content.from = p.Addr + "/from"
	c := newClient(t)
	outcome, err := c.push(t, p.Ref("to", "1")).PutBlob(t.Context(), descriptor("content"), content.get())
	if err != nil || outcome != registry.Copied {
		t.Fatalf("PutBlob() = %q, %v; want Copied", outcome, err)
	}
	if !p.HasBlob(t, "to", descriptor("content").Digest) {
		t.Error("the blob does not exist after PutBlob()")
	}
}
