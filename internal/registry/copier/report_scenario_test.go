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

// blobCount returns the number of blobs of an image and their total size.
func blobCount(pushed registrytest.Pushed) copier.Count {
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
	e := newEngine(t, withMaxRequests(100, from.Registry, to.Registry)) // nothing waits for a slot
	from.On("GET", "/v2/app/manifests/"+string(pushed.Digest)).Times(2).Reply(http.StatusServiceUnavailable, nil, "")
	report := e.copy(t, from.Ref("app", "1"), to.Ref("to", "1"))
	want := copier.Report{
		Digest: pushed.Digest, MediaType: pushed.MediaType, Copied: blobCount(pushed),
		Manifests: len(pushed.Tree.Manifests), Tagged: []string{"1"},
		Requests: len(from.Requests()) + len(to.Requests()), Retries: 2,
	}
	assertReport := func(name string, got, want copier.Report) {
		t.Helper()
		if got.Duration <= 0 {
			t.Errorf("%s: Copy() duration = %v, want more than 0", name, got.Duration)
		}
		if got.Digest != want.Digest || got.MediaType != want.MediaType || got.Copied != want.Copied || got.Mounted != want.Mounted || got.Present != want.Present ||
			got.Manifests != want.Manifests || !slices.Equal(got.Tagged, want.Tagged) || got.Requests != want.Requests || got.Retries != want.Retries {
			t.Errorf("%s: Copy() report = %+v, want %+v", name, got, want)
		}
	}
	assertReport("new", report, want)
	for _, p := range []*registrytest.Proxy{from, to} {
		if got, want := report.Hosts[p.Addr].Requests, requestKinds(p); !maps.Equal(got, want) || len(report.Hosts) != 2 {
			t.Errorf("Copy() report has %d hosts and requests of %s = %v, want 2 hosts and %v", len(report.Hosts), p.Addr, got, want)
		}
	}
	if report.WaitedFor != registry.WaitRetry || report.LongestWait <= 0 || report.LongestWait > report.Duration {
		t.Errorf("Copy() longest wait = %s for %q, want at most %s for a retry", report.LongestWait, report.WaitedFor, report.Duration)
	}

	// Without an existing tag, prefetched blobs would make the number of requests vary.
	to.Push(t, "to", "2", registrytest.Image{Seed: "prevents prefetching"})
	to.Forget()
	from.Forget()
	report = newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "2"))
	want.Copied, want.Present, want.Tagged, want.Retries = copier.Count{}, blobCount(pushed), []string{"2"}, 0
	want.Requests = len(from.Requests()) + len(to.Requests())
	assertReport("to another tag", report, want)

	to.Forget()
	report = newEngine(t).copy(t, to.Ref("to", "1"), to.Ref("also", "1"))
	want.Present, want.Mounted, want.Tagged = copier.Count{}, blobCount(pushed), []string{"1"}
	want.Requests = len(to.Requests())
	assertReport("within the registry", report, want)
}

// requestKinds counts the requests that a registry received by kind.
func requestKinds(p *registrytest.Proxy) map[string]int {
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

// TestReport_PeakRequests verifies that the peak counts the requests of one copy to one host,
// each until its response was read.
func TestReport_PeakRequests(t *testing.T) {
	t.Parallel()
	const limit = 5
	from, to := pair(t, registrytest.Behaviour{})
	from.Push(t, "app", "1", manyLayers("a"))
	from.Push(t, "other", "1", manyLayers("b"))
	gate := make(chan struct{})
	from.On("GET", "/v2/app/blobs/.*").Hold(gate)
	e := newEngine(t, withMaxRequests(limit, from.Registry, to.Registry))
	first := e.start(t.Context(), e.job(t, from.Ref("app", "1"), to.Ref("to", "1")))
	from.Wait(t, func() bool { return from.Active() == limit-2 }) // reads of blobs do not use the last slots
	second := e.start(t.Context(), e.job(t, from.Ref("other", "1"), to.Ref("to", "2")))
	from.Wait(t, func() bool { return from.Count("GET", "/v2/other/manifests/.*") > 0 })
	if n := from.Peak(); n != limit-1 {
		t.Errorf("peak of concurrent requests = %d, want %d", n, limit-1)
	}
	close(gate)
	for name, done := range map[string]<-chan result{"first": first, "second": second} {
		r := await(t, done)
		if r.err != nil {
			t.Fatal(r.err)
		}
		fromStats, toStats := r.report.Hosts[from.Addr], r.report.Hosts[to.Addr]
		if fromStats.Peak < 1 || fromStats.Peak > limit || name == "first" && fromStats.Peak < limit-2 || toStats.Peak < 1 || toStats.Peak > limit {
			t.Errorf("peak requests of the %s copy = %d and %d, want at most %d", name, fromStats.Peak, toStats.Peak, limit)
		}
		if r.report.WaitedFor != registry.WaitSlot || r.report.LongestWait <= 0 {
			t.Errorf("longest wait of the %s copy = %s for %q, want a wait for a slot", name, r.report.LongestWait, r.report.WaitedFor)
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
			t.Errorf("Copy() report has %d GET requests for blobs to %s, want %d", n, host, blobs)
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
	assertError(t, err, registry.Destination, registry.ErrDenied)
	if report.Digest != pushed.Digest || report.MediaType != pushed.MediaType || report.Copied != blobCount(pushed) || report.Manifests != 0 || len(report.Tagged) != 0 {
		t.Errorf("Copy() report = %+v, want all blobs copied and no manifests", report)
	}
}

func TestReport_Warnings(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	from.Push(t, "app", "1", registrytest.MultiArch("a"))
	from.On(".*", ".*").Alter(func(res *http.Response) { res.Header.Set("Warning", `299 - "this registry moves in May"`) })
	report := newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"))
	if len(report.Warnings) != 1 || !strings.Contains(report.Warnings[0], "this registry moves in May") {
		t.Errorf("Copy() warnings = %q, want 1", report.Warnings)
	}
}

func TestCopy_Log(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	pushed := from.Push(t, "app", "1", registrytest.Nested("a"))
	expectLines := func(e engine, message string, want int, parts ...string) {
		t.Helper()
		lines := e.log.lines(message)
		if len(lines) != want {
			t.Errorf("log has %d lines with message %q, want %d", len(lines), message, want)
		}
		for _, line := range lines {
			assertContains(t, line, append(parts, "level=DEBUG", "took=", "destination="+to.Addr)...)
		}
	}
	blobs, manifests := len(pushed.Tree.Blobs), len(pushed.Tree.Manifests)
	e := newEngine(t)
	e.copy(t, from.Ref("app", "1"), to.Ref("to", "1"))
	expectLines(e, "blob copied", blobs, "digest=sha256:", "size=", "media_type=application/")
	expectLines(e, "manifest pushed", manifests, "digest=sha256:", "size=", "media_type=application/", "as=")
	expectLines(e, "image copied", 1, "source="+from.Addr+"/app", "digest="+string(pushed.Digest), "tags=[1]", "requests=", "retries=0",
		fmt.Sprint("bytes_copied=", blobCount(pushed).Bytes), "bytes_mounted=0", "bytes_already_there=0", "longest_wait=", "longest_wait_for=",
		fmt.Sprintf("%s: %d GET blob, ", from.Addr, blobs), " at a time; ", fmt.Sprintf(" %d PUT manifest, ", manifests))
	e.copy(t, from.Ref("app", "1"), to.Ref("to", "1"))
	expectLines(e, "image already exists", 1)

	e = newEngine(t)
	e.copy(t, from.Ref("app", "1"), to.Ref("to", "2"))
	expectLines(e, "blob already there", blobs)
	e = newEngine(t)
	e.copy(t, to.Ref("to", "1"), to.Ref("also", "2"))
	expectLines(e, "blob mounted", blobs)
	to.On("PUT", ".*").Reply(http.StatusForbidden, nil, "")
	e.copyError(t, from.Ref("app", "1"), to.Ref("denied", "1"), registry.Destination, registry.ErrDenied)
	expectLines(e, "image copy failed", 1, "error=", "HTTP 403")
}

func TestRedact_CredentialsAndSignatures(t *testing.T) {
	t.Parallel()
	const password, signature = "canary-p4ssw0rd", "canary-s1gnature"
	// The registry redirects requests for blobs to a signed URL of another host.
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

	// An error response that echoes the credential is redacted too.
	to.On("PUT", "/v2/to/manifests/2").Do(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write(registrytest.ErrorBody("DENIED", "not with "+r.Header.Get("Authorization")))
	})
	err := e.copyError(t, pushed.Ref, to.Ref("to", "2"), registry.Destination, registry.ErrDenied)
	output := e.log.text.String() + err.Error() + err.Hint
	if !strings.Contains(output, store.Addr) {
		t.Error("log does not contain the host of the redirect")
	}
	for _, secret := range []string{password, signature, url.QueryEscape(password), base64.StdEncoding.EncodeToString([]byte("ci:" + password)), "canary"} {
		if strings.Contains(output, secret) {
			t.Errorf("log and error contain the secret %q: %s", secret, output)
		}
	}
}

// TestRedact_SecretInManifest verifies that errors and logs do not contain a credential that a
// registry has received and written into a manifest.
func TestRedact_SecretInManifest(t *testing.T) {
	t.Parallel()
	const password = "canary-p4ssw0rd"
	from := registrytest.Scripted(t, registrytest.Behaviour{Unchecked: true}, registrytest.BasicAuth("ci", password))
	to := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{}))
	e := newEngine(t, func(o *remote.Options) {
		o.Credentials.Registries = map[string]auth.Credential{from.Addr: {Username: "ci", Password: password}}
	})
	layer := registrytest.Blob{Seed: "layer", Size: 10, MediaType: "application/x-" + password}
	for name, c := range map[string]struct{ content, wantText string }{
		"media_type":     {`{"mediaType":"` + password + `"}`, `it says it is "***"`},
		"key":            {`{"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"` + password + `":1,"Size":1}}`, `the key "Size"`},
		"digest":         {`{"config":{"digest":"sha256:` + password + `","size":1}}`, `config ("sha256:***")`},
		"encoded_digest": {`{"config":{"digest":"` + base64.StdEncoding.EncodeToString([]byte("ci:"+password)) + `","size":1}}`, `***"): its digest is refused`},
	} {
		pushed := from.Push(t, "app", "1", registrytest.Raw{MediaType: "application/vnd.oci.image.manifest.v1+json", Bytes: []byte(c.content)})
		err := e.copyError(t, pushed.Ref, to.Ref("to", "1"), registry.Source, registry.ErrInvalidManifest)
		assertContains(t, err.Error(), c.wantText)
		if text := err.Error() + err.Hint; strings.Contains(text, "canary") {
			t.Errorf("%s: Copy() error contains the secret: %s", name, text)
		}
	}
	pushed := from.Push(t, "app", "2", registrytest.Image{Seed: "a", Layers: []registrytest.Blob{layer}})
	e.copy(t, pushed.Ref, to.Ref("to", "2"))
	assertContains(t, e.log.text.String(), "media_type=application/x-***")
	if strings.Contains(e.log.text.String(), "canary") {
		t.Errorf("log contains the secret: %s", e.log.text.String())
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	pushed := from.Push(t, "app", "1", singleBlobManifest(t, "a"))
	all := blobCount(pushed).Bytes
	e := newEngine(t)
	expect := func(when string, known, done int64) {
		t.Helper()
		if p := e.copier.Progress(); p.Known != known || p.Done != done {
			t.Errorf("Progress() %s = %+v, want %d of %d", when, p, done, known)
		}
	}
	// The first upload fails after it was sent, and is retried.
	to.On("PUT", "/v2/to/blobs/.*").Times(1).Reply(http.StatusServiceUnavailable, nil, "")
	first, second := make(chan struct{}), make(chan struct{})
	from.On("GET", "/v2/app/blobs/.*").Times(1).Hold(first)
	from.On("GET", "/v2/app/blobs/.*").Times(1).Hold(second)
	done := e.start(t.Context(), e.job(t, from.Ref("app", "1"), to.Ref("to", "1")))
	from.Wait(t, func() bool { return from.Count("GET", "/v2/app/blobs/.*") == 1 })
	expect("before the first read", all, 0)
	close(first)
	from.Wait(t, func() bool { return from.Count("GET", "/v2/app/blobs/.*") == 2 })
	expect("before the second read", all, 0)
	close(second)
	if r := await(t, done); r.err != nil {
		t.Fatal(r.err)
	}
	expect("after the copy", all, all)
	e.copy(t, from.Ref("app", "1"), to.Ref("to", "2"))
	expect("after a copy of existing blobs", 2*all, 2*all)

	// Known does not include blobs that a failed copy did not complete.
	from.Push(t, "other", "1", registrytest.Image{Seed: "other"})
	from.On("GET", "/v2/other/blobs/.*").Reply(http.StatusForbidden, nil, "")
	e.copyError(t, from.Ref("other", "1"), to.Ref("to", "3"), registry.Source, registry.ErrDenied)
	expect("after the failure", 2*all, 2*all)
}
