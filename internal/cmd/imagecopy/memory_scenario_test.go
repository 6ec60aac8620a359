package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// The memory of the program is limited, whatever a registry responds.
func TestMemory_HostileResponse(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the peak of a process's memory is read from /proc, which only Linux has")
	}
	program := build(t)
	for name, c := range map[string]struct {
		setUp    func(t *testing.T, from, to *registrytest.Proxy)
		wantText string // "" if the copy succeeds
	}{
		"endless_manifest": {func(_ *testing.T, from, _ *registrytest.Proxy) { respondEndlessly(from, "GET", "manifests/.*", 200) }, "larger than the 4 MiB that are read"},
		"endless_blob":     {func(_ *testing.T, from, _ *registrytest.Proxy) { respondEndlessly(from, "GET", "blobs/.*", 200) }, "bytes that its descriptor says"},
		"endless_error": {func(_ *testing.T, from, _ *registrytest.Proxy) {
			respondEndlessly(from, "GET|HEAD", "manifests/.*", 403)
		}, "HTTP 403"},
		"endless_upload_error":            {func(_ *testing.T, _, to *registrytest.Proxy) { respondEndlessly(to, "PUT", "blobs/.*", 403) }, "HTTP 403"},
		"endless_tag_error":               {func(_ *testing.T, _, to *registrytest.Proxy) { respondEndlessly(to, "PUT", "manifests/1", 400) }, "HTTP 400"},
		"endless_token":                   {endlessToken, "its answer is larger than 65536 bytes"},
		"large_token_per_blob":            {rejectFirstTokens, ""},
		"endless_unread_body":             {endlessUnreadBody, ""},
		"million_index_entries":           {withIndex(`{"manifests":[` + strings.Repeat("{},", 999_999) + "{}]}"), "a list of more than 10000 entries"},
		"million_json_levels":             {withIndex(`{"x":` + strings.Repeat("[", 1_000_000)), "exceeded max depth"},
		"doubling_graph":                  {withDoublingGraph, ""},
		"large_manifests":                 {withLargeManifests(ocispec.MediaTypeImageIndex, 4<<20), "its manifests together are larger than"},
		"large_manifests_of_unknown_type": {withLargeManifests("application/vnd.example", 4<<20), "its manifests together are larger than"},
		"large_manifests_declared_small":  {withLargeManifests(ocispec.MediaTypeImageIndex, 1<<10), "the index says"},
		"endless_referrers_list":          {endlessReferrers, "it is longer than 4194304 bytes"},
		"large_referrers":                 {withLargeReferrers(30, 4<<20), "are together larger than 10 MiB"},
		"large_referrers_declared_small":  {withLargeReferrers(30, 1<<10), "and is listed with"},
		"100000_referrers":                {withReferrerPages(100_000), "more than 10000 manifests are listed"},
		"index_with_annotations":          {withAnnotations(1), ""},
		"graph_with_annotations":          {withAnnotations(10), ""},
		"every_range_cut":                 {cutEveryRange, ""},
	} {
		t.Run(name, func(t *testing.T) {
			from := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{Unchecked: true}))
			to := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{Unchecked: true}))
			from.Push(t, "hostile", "1", registrytest.Image{Seed: "a"})
			c.setUp(t, from, to)
			assertMemoryLimit(t, program, from, to, 1, c.wantText)
		})
	}
}

// If several images are copied concurrently, only one at a time may have manifests that need
// much memory.
func TestMemory_ManyLargeManifests(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the peak of a process's memory is read from /proc, which only Linux has")
	}
	const images, children, size = 16, 2, 4 << 20
	from := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{Unchecked: true}))
	to := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{Unchecked: true}))
	for i := range images {
		var entries []string
		for j := range children {
			child := fmt.Sprintf(`{"annotations":{"says":"%d.%d"},"manifests":[]}`, i, j)
			child += strings.Repeat(" ", size-len(child))
			serveIndex(from, string(digest.FromString(child)), child)
			entries = append(entries, entry(digest.FromString(child), size))
		}
		index := `{"manifests":[` + strings.Join(entries, ",") + "]}"
		serveIndex(from, strconv.Itoa(i+1), index)
		serveIndex(from, string(digest.FromString(index)), index)
	}
	assertMemoryLimit(t, build(t), from, to, images, "")
}

// assertMemoryLimit copies the image hostile:1 and, if images is larger, the following tags.
// The copies must fail with wantText, or succeed if it is "". To keep the process alive while
// its memory is measured, the list includes another copy, which is delayed and does not use the
// source.
func assertMemoryLimit(t *testing.T, program string, from, to *registrytest.Proxy, images int, wantText string) {
	t.Helper()
	const allowed = 64 << 20
	measured := make(chan struct{})
	to.On("PUT", "/v2/waiting/manifests/1").Hold(measured)
	to.Push(t, "waiting", "0", registrytest.Image{Seed: "waiting"})
	lines := to.Ref("waiting", "0") + " " + to.Ref("waiting", "1") + "\n"
	for i := range images {
		lines += from.Ref("hostile", strconv.Itoa(i+1)) + " " + to.Ref("hostile", strconv.Itoa(i+1)) + "\n"
	}
	list := writeFile(t, "list", lines)
	outcome, want := `msg="image copy failed" source=`+from.Addr+"/hostile ", failed
	if wantText == "" {
		outcome, want = `msg="image copied" source=`+from.Addr+"/hostile ", succeeded
	}

	stderr, write := io.Pipe()
	t.Cleanup(func() { _ = stderr.Close() })
	cmd := start(t, write, program, "-q", "-v", "-referrers", "-list", list)
	go func() {
		_ = cmd.Wait() // the exit status is checked below
		_ = write.Close()
	}()
	log := bufio.NewReader(stderr)
	for ended := 0; ended < images; {
		line, err := log.ReadString('\n')
		if err != nil {
			t.Fatalf("output ended early: %s %v", line, err)
		}
		if strings.Contains(line, ` msg="image `) {
			if ended++; !strings.Contains(line, outcome) {
				t.Errorf("log = %s, want %s", line, outcome)
			}
		}
	}
	peak := peakMemory(t, cmd.Process.Pid)
	close(measured)
	rest, err := io.ReadAll(log)
	if status := cmd.ProcessState.ExitCode(); err != nil || status != want || !strings.Contains(string(rest), wantText) {
		t.Errorf("status %d, want %d and %q in\n%s%v", status, want, wantText, rest, err)
	}
	t.Logf("%s: peak memory: %s", t.Name(), formatBytes(peak))
	if peak >= allowed {
		t.Errorf("peak memory: %s, want less than %s", formatBytes(peak), formatBytes(allowed))
	}
}

// respondEndlessly makes a registry respond to some requests for "hostile" with a status and
// spaces until the client disconnects.
func respondEndlessly(p *registrytest.Proxy, method, path string, status int) {
	p.On(method, "/v2/hostile/"+path).Do(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
		w.WriteHeader(status)
		if r.Method != http.MethodHead {
			_, _ = io.Copy(w, blanks{})
		}
	})
}

// blanks is an endless reader of spaces.
type blanks struct{}

func (blanks) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func endlessToken(_ *testing.T, from, _ *registrytest.Proxy) {
	realm := fmt.Sprintf("Bearer realm=%q", "http://"+from.Addr+"/v2/hostile/token")
	respondEndlessly(from, "GET", "token", 200)
	from.On("GET|HEAD", "/v2/hostile/.*").Reply(http.StatusUnauthorized, http.Header{"WWW-Authenticate": {realm}}, "")
}

// rejectFirstTokens rejects the first token sent for each of many blobs, with a long body, and
// issues long tokens.
func rejectFirstTokens(t *testing.T, from, _ *registrytest.Proxy) {
	t.Helper()
	var layers []registrytest.Blob
	for i := range 1000 {
		layers = append(layers, registrytest.Blob{Content: fmt.Append(nil, i)})
	}
	from.Push(t, "hostile", "1", registrytest.Image{Seed: "b", Layers: layers})
	var issued atomic.Int32
	from.On("GET", "/token").Do(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		n := strconv.Itoa(int(issued.Add(1)))
		_, _ = fmt.Fprintf(w, `{"token":"%s%s"}`, n, strings.Repeat("x", 15<<10))
	})
	realm := fmt.Sprintf("Bearer realm=%q", "http://"+from.Addr+"/token")
	var seen sync.Map
	from.On("GET|HEAD", "/v2/hostile/.*").Do(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if token := r.Header.Get("Authorization"); token != "" {
			if _, again := seen.LoadOrStore(r.URL.Path, true); again {
				next.ServeHTTP(w, r)
				return
			}
		}
		w.Header().Set("WWW-Authenticate", realm)
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, strings.Repeat("refused ", 1000))
	})
}

func endlessUnreadBody(_ *testing.T, _, to *registrytest.Proxy) {
	to.On("POST|PUT", "/v2/hostile/.*").Alter(func(response *http.Response) {
		response.Body, response.ContentLength = io.NopCloser(blanks{}), -1
		response.Header.Del("Content-Length")
	})
}

// serveIndex makes a registry serve an index that it does not store, by its digest or as a tag
// of "hostile".
func serveIndex(p *registrytest.Proxy, name, content string) {
	serveManifest(p, ocispec.MediaTypeImageIndex, name, content)
}

// serveManifest is like serveIndex, with another media type.
func serveManifest(p *registrytest.Proxy, mediaType, name, content string) {
	p.On("GET|HEAD", "/v2/hostile/manifests/"+name).Do(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", mediaType)
		w.Header().Set("Docker-Content-Digest", string(digest.FromString(content)))
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		_, _ = io.WriteString(w, content)
	})
}

func withIndex(content string) func(*testing.T, *registrytest.Proxy, *registrytest.Proxy) {
	return func(_ *testing.T, from, _ *registrytest.Proxy) {
		serveIndex(from, "1", content)
		serveIndex(from, string(digest.FromString(content)), content)
	}
}

// entry returns an index entry for another index.
func entry(d digest.Digest, size int) string { return entryAs(ocispec.MediaTypeImageIndex, d, size) }

func entryAs(mediaType string, d digest.Digest, size int) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, mediaType, d, size)
}

func withDoublingGraph(t *testing.T, from, _ *registrytest.Proxy) {
	t.Helper()
	content := registrytest.Index{}.Build()
	for range 30 {
		next := entry(content.Digest, len(content.Bytes))
		content = registrytest.Raw{MediaType: ocispec.MediaTypeImageIndex, Manifests: []registrytest.Content{content},
			Bytes: []byte(`{"schemaVersion":2,"manifests":[` + next + "," + next + "]}")}.Build()
	}
	from.Push(t, "hostile", "1", content)
}

// withLargeManifests serves an index of indexes of the maximum size, with the given media type
// and declared size.
func withLargeManifests(mediaType string, declaredSize int) func(*testing.T, *registrytest.Proxy, *registrytest.Proxy) {
	return func(t *testing.T, from, to *registrytest.Proxy) {
		t.Helper()
		const size = 4 << 20
		var entries []string
		for i := range 20 {
			child := fmt.Sprintf(`{"annotations":{"says":"%d"},"manifests":[]}`, i)
			child += strings.Repeat(" ", size-len(child))
			serveManifest(from, mediaType, string(digest.FromString(child)), child)
			entries = append(entries, entryAs(mediaType, digest.FromString(child), declaredSize))
		}
		withIndex(`{"manifests":[`+strings.Join(entries, ",")+"]}")(t, from, to)
	}
}

// withLargeReferrers serves n referrers of an image. Each has the maximum size and is listed
// with the declared size.
func withLargeReferrers(n, declaredSize int) func(*testing.T, *registrytest.Proxy, *registrytest.Proxy) {
	return func(t *testing.T, from, _ *registrytest.Proxy) {
		t.Helper()
		const size = 4 << 20
		image := from.Digest(t, "hostile", "1")
		var entries []string
		for i := range n {
			one := fmt.Sprintf(`{"annotations":{"says":"%d"},"manifests":[],"subject":%s}`, i, entryAs(ocispec.MediaTypeImageManifest, image, 9))
			one += strings.Repeat(" ", size-len(one))
			serveIndex(from, string(digest.FromString(one)), one)
			entries = append(entries, entry(digest.FromString(one), declaredSize))
		}
		serveReferrers(from, image, entries)
	}
}

// withReferrerPages lists n referrers of an image in pages.
func withReferrerPages(n int) func(*testing.T, *registrytest.Proxy, *registrytest.Proxy) {
	return func(t *testing.T, from, _ *registrytest.Proxy) {
		t.Helper()
		const page = 1000
		image := from.Digest(t, "hostile", "1")
		from.On("GET", "/v2/hostile/referrers/"+string(image)).Do(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			at, _ := strconv.Atoi(r.URL.Query().Get("last")) // 0 for the first page
			var entries []string
			for i := range page {
				entries = append(entries, entry(digest.FromString(strconv.Itoa(at+i)), 100))
			}
			if at+page < n {
				w.Header().Set("Link", fmt.Sprintf(`<%s?last=%d>; rel="next"`, r.URL.Path, at+page))
			}
			w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
			_, _ = io.WriteString(w, `{"manifests":[`+strings.Join(entries, ",")+"]}")
		})
	}
}

// endlessReferrers lists one referrer, followed by spaces until the client disconnects.
func endlessReferrers(t *testing.T, from, _ *registrytest.Proxy) {
	t.Helper()
	from.On("GET", "/v2/hostile/referrers/.*").Do(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
		_, _ = io.WriteString(w, `{"manifests":[`+entry(digest.FromString("a"), 100)+"]}")
		_, _ = io.Copy(w, blanks{})
	})
}

// serveReferrers makes a registry list referrers of an image.
func serveReferrers(p *registrytest.Proxy, image digest.Digest, entries []string) {
	p.On("GET", "/v2/hostile/referrers/"+string(image)).Reply(http.StatusOK, http.Header{"Content-Type": {ocispec.MediaTypeImageIndex}},
		`{"manifests":[`+strings.Join(entries, ",")+"]}")
}

// withAnnotations serves an index of indexes. Each has nine children, with nearly the maximum
// number of annotations.
func withAnnotations(indexes int) func(*testing.T, *registrytest.Proxy, *registrytest.Proxy) {
	return func(t *testing.T, from, to *registrytest.Proxy) {
		t.Helper()
		var annotations strings.Builder
		for i := range 9_990 {
			fmt.Fprintf(&annotations, `"%d":"",`, i)
		}
		var entries []string
		for i := range indexes {
			var named []string
			for j := range 9 {
				core := fmt.Sprintf(`{"annotations":{"says":"%d.%d"},"manifests":[]}`, i, j)
				serveIndex(from, string(digest.FromString(core)), core)
				named = append(named, strings.TrimSuffix(entry(digest.FromString(core), len(core)), "}")+`,"annotations":{`+annotations.String()+`"last":""}}`)
			}
			child := `{"manifests":[` + strings.Join(named, ",") + "]}"
			serveIndex(from, string(digest.FromString(child)), child)
			entries = append(entries, entry(digest.FromString(child), len(child)))
		}
		withIndex(`{"manifests":[`+strings.Join(entries, ",")+"]}")(t, from, to)
	}
}

// cutEveryRange cuts the response with a large blob after 12 MiB, and each response with the
// rest or a range after 70 kB.
func cutEveryRange(t *testing.T, from, _ *registrytest.Proxy) {
	t.Helper()
	const size = 80 << 20
	layer := newEndless(t)
	large, err := digest.FromReader(io.NewSectionReader(layer, 0, size))
	if err != nil {
		t.Fatal(err)
	}
	from.Push(t, "hostile", "1", imageOf(t, large, size))
	from.On("GET", "/v2/hostile/blobs/"+string(large)).Do(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		cut := &cutter{ResponseWriter: w, left: 70_000}
		if r.Header.Get("Range") == "" {
			cut.left = 12 << 20
		}
		http.ServeContent(cut, r, "", time.Time{}, io.NewSectionReader(layer, 0, size))
	})
}

// cutter forwards a limited number of bytes of a response and then aborts it.
type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p[:min(len(p), c.left)])
	if c.left -= n; n < len(p) {
		_ = http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, err
}
