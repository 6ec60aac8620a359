package copier_test

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// weight is the number of blobs of an image and their bytes.
func weight(pushed registrytest.Pushed) copier.Count {
	var c copier.Count
	for _, blob := range pushed.Tree.Blobs {
		c.Blobs++
		c.Bytes += blob.Size
	}
	return c
}

func TestReport(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	pushed := from.Push(t, "app", "1", registrytest.MultiArch("a"))
	e := newEngine(t, limited(100, from.Registry, to.Registry)) // nothing waits for a slot
	from.On("GET", "/v2/app/manifests/"+string(pushed.Digest)).Times(2).Reply(http.StatusServiceUnavailable, nil, "")
	report := e.copy(t, from.Ref("app", "1"), to.Ref("to", "1"))
	want := copier.Report{
		Digest: pushed.Digest, MediaType: pushed.MediaType, Copied: weight(pushed),
		Manifests: len(pushed.Tree.Manifests), Tagged: []string{"1"},
		Requests: len(from.Requests()) + len(to.Requests()), Retries: 2,
	}
	check := func(name string, got, want copier.Report) {
		t.Helper()
		if got.Duration <= 0 {
			t.Errorf("%s: it took %v", name, got.Duration)
		}
		if got.Digest != want.Digest || got.MediaType != want.MediaType || got.Copied != want.Copied || got.Mounted != want.Mounted || got.Present != want.Present ||
			got.Manifests != want.Manifests || !slices.Equal(got.Tagged, want.Tagged) || got.Requests != want.Requests || got.Retries != want.Retries {
			t.Errorf("%s: the report says %+v, want %+v", name, got, want)
		}
	}
	check("new", report, want)
	for _, p := range []*registrytest.Proxy{from, to} {
		if got, want := report.Hosts[p.Addr].Requests, kinds(p); !maps.Equal(got, want) || len(report.Hosts) != 2 {
			t.Errorf("of %d hosts, %s was asked %v, and the report says %v", len(report.Hosts), p.Addr, want, got)
		}
	}
	if report.WaitedFor != registry.WaitRetry || report.LongestWait <= 0 || report.LongestWait > report.Duration {
		t.Errorf("of %s it waited %s for %q", report.Duration, report.LongestWait, report.WaitedFor)
	}

	// Of what is read ahead and turns out not to be wanted, not all is sent.
	to.Push(t, "to", "2", registrytest.Image{Seed: "so that nothing is read ahead"})
	to.Forget()
	from.Forget()
	report = newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "2"))
	want.Copied, want.Present, want.Tagged, want.Retries = copier.Count{}, weight(pushed), []string{"2"}, 0
	want.Requests = len(from.Requests()) + len(to.Requests())
	check("to another tag", report, want)

	to.Forget()
	report = newEngine(t).copy(t, to.Ref("to", "1"), to.Ref("also", "1"))
	want.Present, want.Mounted, want.Tagged = copier.Count{}, weight(pushed), []string{"1"}
	want.Requests = len(to.Requests())
	check("within the registry", report, want)
}

// kinds counts what a registry was asked by kind, as it was seen by itself.
func kinds(p *registrytest.Proxy) map[string]int {
	counts := map[string]int{}
	for _, r := range p.Requests() {
		object := "blob"
		switch {
		case strings.Contains(r.Path, "/blobs/uploads/"):
			object = "upload"
		case strings.Contains(r.Path, "/manifests/"):
			object = "manifest"
		}
		counts[r.Method+" "+object]++
	}
	return counts
}

// The peak is of this copy alone, by host, and a request is under way until it
// was answered.
func TestReport_PeakRequests(t *testing.T) {
	t.Parallel()
	const limit = 5
	from, to := pair(t, registrytest.Behaviour{})
	from.Push(t, "app", "1", manyLayers("a"))
	from.Push(t, "other", "1", manyLayers("b"))
	gate := make(chan struct{})
	from.On("GET", "/v2/app/blobs/.*").Hold(gate)
	e := newEngine(t, limited(limit, from.Registry, to.Registry))
	first := e.start(t.Context(), e.job(t, from.Ref("app", "1"), to.Ref("to", "1")))
	from.Wait(t, func() bool { return from.Active() == limit-2 }) // the last slots are not for blobs that are read
	second := e.start(t.Context(), e.job(t, from.Ref("other", "1"), to.Ref("to", "2")))
	from.Wait(t, func() bool { return from.Count("GET", "/v2/other/manifests/.*") > 0 })
	if n := from.Peak(); n != limit-1 {
		t.Errorf("%d requests were under way at once, want %d", n, limit-1)
	}
	close(gate)
	for name, ended := range map[string]<-chan result{"first": first, "second": second} {
		r := await(t, ended)
		if r.err != nil {
			t.Fatal(r.err)
		}
		asked, sent := r.report.Hosts[from.Addr], r.report.Hosts[to.Addr]
		if asked.Peak < 1 || asked.Peak > limit || name == "first" && asked.Peak < limit-2 || sent.Peak < 1 || sent.Peak > limit {
			t.Errorf("the %s copy had up to %d and %d requests under way, of at most %d", name, asked.Peak, sent.Peak, limit)
		}
		if r.report.WaitedFor != registry.WaitSlot || r.report.LongestWait <= 0 {
			t.Errorf("the %s copy waited %s for %q", name, r.report.LongestWait, r.report.WaitedFor)
		}
	}
}

func TestReport_RedirectedHost(t *testing.T) {
	t.Parallel()
	store := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{}))
	from := registrytest.Scripted(t, registrytest.Behaviour{BlobsElsewhere: "http://" + store.Addr + "/v2/app/blobs/"})
	to := registrytest.Scripted(t, registrytest.Behaviour{})
	pushed := from.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	store.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	report := newEngine(t).copy(t, pushed.Ref, to.Ref("to", "1"))
	blobs := len(pushed.Tree.Blobs)
	for _, host := range []string{from.Addr, store.Addr} {
		if n := report.Hosts[host].Requests["GET blob"]; n != blobs {
			t.Errorf("the report has %d reads of %d blobs from %s", n, blobs, host)
		}
	}
}

func TestReport_FailedCopy(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	pushed := from.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	to.On("PUT", tagPath).Reply(http.StatusForbidden, nil, "")
	e := newEngine(t)
	report, err := e.copier.Copy(t.Context(), e.job(t, from.Ref("app", "1"), to.Ref("to", "1")))
	failure(t, err, registry.Destination, registry.ErrDenied)
	if report.Digest != pushed.Digest || report.MediaType != pushed.MediaType || report.Copied != weight(pushed) || report.Manifests != 0 || len(report.Tagged) != 0 {
		t.Errorf("the report says %+v", report)
	}
}

func TestReport_Warnings(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	from.Push(t, "app", "1", registrytest.MultiArch("a"))
	from.On(".*", ".*").Alter(func(res *http.Response) { res.Header.Set("Warning", `299 - "this registry moves in May"`) })
	report := newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"))
	if len(report.Warnings) != 1 || !strings.Contains(report.Warnings[0], "this registry moves in May") {
		t.Errorf("the report warns of %q", report.Warnings)
	}
}

func TestCopy_Log(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	pushed := from.Push(t, "app", "1", registrytest.Nested("a"))
	tell := func(e engine, message string, want int, parts ...string) {
		t.Helper()
		lines := e.log.lines(message)
		if len(lines) != want {
			t.Errorf("%d lines say %q, want %d", len(lines), message, want)
		}
		for _, line := range lines {
			mentions(t, line, append(parts, "level=DEBUG", "took=", "destination="+to.Addr)...)
		}
	}
	blobs, manifests := len(pushed.Tree.Blobs), len(pushed.Tree.Manifests)
	e := newEngine(t)
	e.copy(t, from.Ref("app", "1"), to.Ref("to", "1"))
	tell(e, "blob copied", blobs, "digest=sha256:", "size=", "media_type=application/")
	tell(e, "manifest pushed", manifests, "digest=sha256:", "size=", "media_type=application/", "as=")
	tell(e, "image copied", 1, "source="+from.Addr+"/app", "digest="+string(pushed.Digest), "tags=[1]", "requests=", "retries=0",
		fmt.Sprint("bytes_copied=", weight(pushed).Bytes), "bytes_mounted=0", "bytes_already_there=0", "longest_wait=", "longest_wait_for=",
		fmt.Sprintf("%s: %d GET blob, ", from.Addr, blobs), " at a time; ", fmt.Sprintf(" %d PUT manifest, ", manifests))
	e.copy(t, from.Ref("app", "1"), to.Ref("to", "1"))
	tell(e, "image already exists", 1)

	e = newEngine(t)
	e.copy(t, from.Ref("app", "1"), to.Ref("to", "2"))
	tell(e, "blob already there", blobs)
	e = newEngine(t)
	e.copy(t, to.Ref("to", "1"), to.Ref("also", "2"))
	tell(e, "blob mounted", blobs)
	to.On("PUT", ".*").Reply(http.StatusForbidden, nil, "")
	e.refused(t, from.Ref("app", "1"), to.Ref("denied", "1"), registry.Destination, registry.ErrDenied)
	tell(e, "image copy failed", 1, "error=", "HTTP 403")
}

func TestRedact_CredentialsAndSignatures(t *testing.T) {
	t.Parallel()
	const password, signature = "canary-p4ssw0rd", "canary-s1gnature"
	// The blobs are at a place of their own that a signed URL gives.
	store := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{}))
	store.On("GET", "/signed").Do(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		r.URL.Path = "/v2/app/blobs/" + r.URL.Query().Get("d")
		next.ServeHTTP(w, r)
	})
	from := registrytest.Scripted(t, registrytest.Behaviour{BlobsElsewhere: "http://" + store.Addr + "/signed?X-Amz-Signature=" + signature + "&d="}, registrytest.BasicAuth("ci", password))
	to := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{}, registrytest.BasicAuth("ci", password)))
	pushed := from.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	store.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	e := newEngine(t, func(o *remote.Options) {
		login := auth.Credential{Username: "ci", Password: password}
		o.Credentials.Registries = map[string]auth.Credential{from.Addr: login, to.Addr: login}
	})
	e.copy(t, pushed.Ref, to.Ref("to", "1"))
	registrytest.Same(t, pushed.Tree, to.Read(t, "to", "1"))

	// An error that quotes what it was sent gives nothing away either.
	to.On("PUT", "/v2/to/manifests/2").Do(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write(registrytest.ErrorBody("DENIED", "not with "+r.Header.Get("Authorization")))
	})
	err := e.refused(t, pushed.Ref, to.Ref("to", "2"), registry.Destination, registry.ErrDenied)
	said := e.log.text.String() + err.Error() + err.Hint
	if !strings.Contains(said, store.Addr) {
		t.Error("the log does not tell of the redirect at all")
	}
	for _, secret := range []string{password, signature, url.QueryEscape(password), base64.StdEncoding.EncodeToString([]byte("ci:" + password)), "canary"} {
		if strings.Contains(said, secret) {
			t.Errorf("%q is told in: %s", secret, said)
		}
	}
}

// A registry that was sent a credential can write it into what it holds.
func TestRedact_SecretInManifest(t *testing.T) {
	t.Parallel()
	const password = "canary-p4ssw0rd"
	from := registrytest.Scripted(t, registrytest.Behaviour{Unchecked: true}, registrytest.BasicAuth("ci", password))
	to := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{}))
	e := newEngine(t, func(o *remote.Options) {
		o.Credentials.Registries = map[string]auth.Credential{from.Addr: {Username: "ci", Password: password}}
	})
	layer := registrytest.Blob{Seed: "layer", Size: 10, MediaType: "application/x-" + password}
	for name, c := range map[string]struct{ content, says string }{
		"its media type":    {`{"mediaType":"` + password + `"}`, `it says it is "***"`},
		"a key":             {`{"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"` + password + `":1,"Size":1}}`, `the key "Size"`},
		"a digest":          {`{"config":{"digest":"sha256:` + password + `","size":1}}`, `config ("sha256:***")`},
		"an encoded digest": {`{"config":{"digest":"` + base64.StdEncoding.EncodeToString([]byte("ci:"+password)) + `","size":1}}`, `***"): its digest is refused`},
	} {
		pushed := from.Push(t, "app", "1", registrytest.Raw{MediaType: "application/vnd.oci.image.manifest.v1+json", Bytes: []byte(c.content)})
		err := e.refused(t, pushed.Ref, to.Ref("to", "1"), registry.Source, registry.ErrInvalidManifest)
		mentions(t, err.Error(), c.says)
		if said := err.Error() + err.Hint; strings.Contains(said, "canary") {
			t.Errorf("%s: the secret is told: %s", name, said)
		}
	}
	pushed := from.Push(t, "app", "2", registrytest.Image{Seed: "a", Layers: []registrytest.Blob{layer}})
	e.copy(t, pushed.Ref, to.Ref("to", "2"))
	mentions(t, e.log.text.String(), "media_type=application/x-***")
	if strings.Contains(e.log.text.String(), "canary") {
		t.Errorf("the secret is logged: %s", e.log.text.String())
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	pushed := from.Push(t, "app", "1", single(t, "a"))
	all := weight(pushed).Bytes
	e := newEngine(t)
	expect := func(when string, known, done int64) {
		t.Helper()
		if p := e.copier.Progress(); p.Known != known || p.Done != done {
			t.Errorf("%s the progress is %+v, want %d of %d", when, p, done, known)
		}
	}
	// The upload is refused once it was sent, and then sent again.
	to.On("PUT", "/v2/to/blobs/.*").Times(1).Reply(http.StatusServiceUnavailable, nil, "")
	first, second := make(chan struct{}), make(chan struct{})
	from.On("GET", "/v2/app/blobs/.*").Times(1).Hold(first)
	from.On("GET", "/v2/app/blobs/.*").Times(1).Hold(second)
	ended := e.start(t.Context(), e.job(t, from.Ref("app", "1"), to.Ref("to", "1")))
	from.Wait(t, func() bool { return from.Count("GET", "/v2/app/blobs/.*") == 1 })
	expect("before a byte came", all, 0)
	close(first)
	from.Wait(t, func() bool { return from.Count("GET", "/v2/app/blobs/.*") == 2 })
	expect("before a byte came again", all, 0)
	close(second)
	if r := await(t, ended); r.err != nil {
		t.Fatal(r.err)
	}
	expect("after the copy", all, all)
	e.copy(t, from.Ref("app", "1"), to.Ref("to", "2"))
	expect("after what was there already", 2*all, 2*all)

	// What a failed copy did not bring is not waited for.
	from.Push(t, "other", "1", registrytest.Image{Seed: "other"})
	from.On("GET", "/v2/other/blobs/.*").Reply(http.StatusForbidden, nil, "")
	e.refused(t, from.Ref("other", "1"), to.Ref("to", "3"), registry.Source, registry.ErrDenied)
	expect("after the failure", 2*all, 2*all)
}
