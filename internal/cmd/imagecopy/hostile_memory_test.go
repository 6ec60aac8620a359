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

// Whatever a registry answers, the program's memory stays flat.
func TestNoAnswerTakesMuchMemory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the peak of a process's memory is read from /proc, which only Linux has")
	}
	program := build(t)
	for name, c := range map[string]struct {
		hinder func(t *testing.T, from, to *registrytest.Proxy)
		says   string // "" where it is copied all the same
	}{
		"a manifest without end":                    {func(_ *testing.T, from, _ *registrytest.Proxy) { endsNever(from, "GET", "manifests/.*", 200) }, "larger than the 4 MiB that are read"},
		"a blob without end":                        {func(_ *testing.T, from, _ *registrytest.Proxy) { endsNever(from, "GET", "blobs/.*", 200) }, "bytes that its descriptor says"},
		"a refusal without end":                     {func(_ *testing.T, from, _ *registrytest.Proxy) { endsNever(from, "GET|HEAD", "manifests/.*", 403) }, "HTTP 403"},
		"a refused upload without end":              {func(_ *testing.T, _, to *registrytest.Proxy) { endsNever(to, "PUT", "blobs/.*", 403) }, "HTTP 403"},
		"a refused tag without end":                 {func(_ *testing.T, _, to *registrytest.Proxy) { endsNever(to, "PUT", "manifests/1", 400) }, "HTTP 400"},
		"a token without end":                       {wantsEndlessToken, "its answer is larger than 65536 bytes"},
		"a large new token for each blob":           {wantsEverNewTokens, ""},
		"words without end that nobody reads":       {saysMoreThanAnybodyReads, ""},
		"an index of a million entries":             {givesIndex(`{"manifests":[` + strings.Repeat("{},", 999_999) + "{}]}"), "a list of more than 10000 entries"},
		"a million levels":                          {givesIndex(`{"x":` + strings.Repeat("[", 1_000_000)), "exceeded max depth"},
		"30 levels that each name the next twice":   {namesTheNextTwice, ""},
		"a graph of large manifests":                {hasLargeManifests(ocispec.MediaTypeImageIndex, 4<<20), "its manifests together are larger than"},
		"large manifests of a type nobody knows":    {hasLargeManifests("application/vnd.example", 4<<20), "its manifests together are larger than"},
		"large manifests that are said to be small": {hasLargeManifests(ocispec.MediaTypeImageIndex, 1<<10), "the index says"},
		"a list of referrers without end":           {listsWithoutEnd, "it is longer than 4194304 bytes"},
		"large referrers":                           {isReferredTo(30, 4<<20), "are together larger than 10 MiB"},
		"large referrers that are said to be small": {isReferredTo(30, 1<<10), "and is listed with"},
		"100,000 referrers":                         {listsReferrers(100_000), "more than 10000 manifests are listed"},
		"an index of many annotations":              {hasAnnotations(1), ""},
		"a graph of many annotations":               {hasAnnotations(10), ""},
		"a large blob whose every part is cut":      {cutsEveryPart, ""},
	} {
		t.Run(name, func(t *testing.T) {
			from := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{Unchecked: true}))
			to := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{Unchecked: true}))
			from.Push(t, "hostile", "1", registrytest.Image{Seed: "a"})
			c.hinder(t, from, to)
			takesFlatMemory(t, program, from, to, 1, c.says)
		})
	}
}

// Of several images at once, one at a time may have more manifests than most.
func TestManyImagesOfLargeManifestsTakeFlatMemory(t *testing.T) {
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
			give(from, string(digest.FromString(child)), child)
			entries = append(entries, entry(digest.FromString(child), size))
		}
		index := `{"manifests":[` + strings.Join(entries, ",") + "]}"
		give(from, strconv.Itoa(i+1), index)
		give(from, string(digest.FromString(index)), index)
	}
	takesFlatMemory(t, build(t), from, to, images, "")
}

// takesFlatMemory copies "hostile:1" and as many more, which succeed or fail as is
// said. So that the process lives on to be measured, it makes another copy, which
// waits, and has nothing to do with the source.
func takesFlatMemory(t *testing.T, program string, from, to *registrytest.Proxy, images int, says string) {
	t.Helper()
	const allowed = 64 << 20
	measured := make(chan struct{})
	to.On("PUT", "/v2/waiting/manifests/1").Hold(measured)
	to.Push(t, "waiting", "0", registrytest.Image{Seed: "waiting"})
	lines := to.Ref("waiting", "0") + " " + to.Ref("waiting", "1") + "\n"
	for i := range images {
		lines += from.Ref("hostile", strconv.Itoa(i+1)) + " " + to.Ref("hostile", strconv.Itoa(i+1)) + "\n"
	}
	list := file(t, "list", lines)
	outcome, want := `msg="image copy failed" source=`+from.Addr+"/hostile ", failed
	if says == "" {
		outcome, want = `msg="image copied" source=`+from.Addr+"/hostile ", succeeded
	}

	stderr, write := io.Pipe()
	t.Cleanup(func() { _ = stderr.Close() })
	cmd := start(t, write, program, "-q", "-v", "-referrers", "-list", list)
	go func() {
		_ = cmd.Wait() // the status says it
		_ = write.Close()
	}()
	said := bufio.NewReader(stderr)
	for ended := 0; ended < images; {
		line, err := said.ReadString('\n')
		if err != nil {
			t.Fatalf("it ended too early: %s %v", line, err)
		}
		if strings.Contains(line, ` msg="image `) {
			if ended++; !strings.Contains(line, outcome) {
				t.Errorf("want %s; it says %s", outcome, line)
			}
		}
	}
	peak := peakMemory(t, cmd.Process.Pid)
	close(measured)
	rest, err := io.ReadAll(said)
	if status := cmd.ProcessState.ExitCode(); err != nil || status != want || !strings.Contains(string(rest), says) {
		t.Errorf("status %d, want %d and %q in\n%s%v", status, want, says, rest, err)
	}
	t.Logf("%s: peak memory: %s", t.Name(), amount(peak))
	if peak >= allowed {
		t.Errorf("peak memory: %s, want less than %s", amount(peak), amount(allowed))
	}
}

// endsNever makes a registry answer some requests about "hostile" with a status
// and blanks until the client has gone.
func endsNever(p *registrytest.Proxy, method, path string, status int) {
	p.On(method, "/v2/hostile/"+path).Do(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
		w.WriteHeader(status)
		if r.Method != http.MethodHead {
			_, _ = io.Copy(w, blanks{})
		}
	})
}

// blanks are without end.
type blanks struct{}

func (blanks) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func wantsEndlessToken(_ *testing.T, from, _ *registrytest.Proxy) {
	realm := fmt.Sprintf("Bearer realm=%q", "http://"+from.Addr+"/v2/hostile/token")
	endsNever(from, "GET", "token", 200)
	from.On("GET|HEAD", "/v2/hostile/.*").Reply(http.StatusUnauthorized, http.Header{"WWW-Authenticate": {realm}}, "")
}

// wantsEverNewTokens refuses the first token that it is sent for each of many
// blobs, with a long explanation, and issues long ones.
func wantsEverNewTokens(t *testing.T, from, _ *registrytest.Proxy) {
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
	var satisfied sync.Map
	from.On("GET|HEAD", "/v2/hostile/.*").Do(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if token := r.Header.Get("Authorization"); token != "" {
			if _, again := satisfied.LoadOrStore(r.URL.Path, true); again {
				next.ServeHTTP(w, r)
				return
			}
		}
		w.Header().Set("WWW-Authenticate", realm)
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, strings.Repeat("refused ", 1000))
	})
}

func saysMoreThanAnybodyReads(_ *testing.T, _, to *registrytest.Proxy) {
	to.On("POST|PUT", "/v2/hostile/.*").Alter(func(answer *http.Response) {
		answer.Body, answer.ContentLength = io.NopCloser(blanks{}), -1
		answer.Header.Del("Content-Length")
	})
}

// give makes a registry answer with an index that it does not have, by its digest
// or as a tag of "hostile".
func give(p *registrytest.Proxy, name, content string) {
	giveAs(p, ocispec.MediaTypeImageIndex, name, content)
}

// giveAs is give with another media type.
func giveAs(p *registrytest.Proxy, mediaType, name, content string) {
	p.On("GET|HEAD", "/v2/hostile/manifests/"+name).Do(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", mediaType)
		w.Header().Set("Docker-Content-Digest", string(digest.FromString(content)))
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		_, _ = io.WriteString(w, content)
	})
}

func givesIndex(content string) func(*testing.T, *registrytest.Proxy, *registrytest.Proxy) {
	return func(_ *testing.T, from, _ *registrytest.Proxy) {
		give(from, "1", content)
		give(from, string(digest.FromString(content)), content)
	}
}

// entry is how an index names another.
func entry(d digest.Digest, size int) string { return entryAs(ocispec.MediaTypeImageIndex, d, size) }

func entryAs(mediaType string, d digest.Digest, size int) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, mediaType, d, size)
}

func namesTheNextTwice(t *testing.T, from, _ *registrytest.Proxy) {
	t.Helper()
	content := registrytest.Index{}.Build()
	for range 30 {
		next := entry(content.Digest, len(content.Bytes))
		content = registrytest.Raw{MediaType: ocispec.MediaTypeImageIndex, Manifests: []registrytest.Content{content},
			Bytes: []byte(`{"schemaVersion":2,"manifests":[` + next + "," + next + "]}")}.Build()
	}
	from.Push(t, "hostile", "1", content)
}

// hasLargeManifests has an index of indexes each of which is as large as one may
// be, and said to be of a media type and a size.
func hasLargeManifests(mediaType string, said int) func(*testing.T, *registrytest.Proxy, *registrytest.Proxy) {
	return func(t *testing.T, from, to *registrytest.Proxy) {
		t.Helper()
		const size = 4 << 20
		var entries []string
		for i := range 20 {
			child := fmt.Sprintf(`{"annotations":{"says":"%d"},"manifests":[]}`, i)
			child += strings.Repeat(" ", size-len(child))
			giveAs(from, mediaType, string(digest.FromString(child)), child)
			entries = append(entries, entryAs(mediaType, digest.FromString(child), said))
		}
		givesIndex(`{"manifests":[`+strings.Join(entries, ",")+"]}")(t, from, to)
	}
}

// isReferredTo has an image to which so many others refer, each of which is as
// large as one may be and listed with a size.
func isReferredTo(n, said int) func(*testing.T, *registrytest.Proxy, *registrytest.Proxy) {
	return func(t *testing.T, from, _ *registrytest.Proxy) {
		t.Helper()
		const size = 4 << 20
		image := from.Digest(t, "hostile", "1")
		var entries []string
		for i := range n {
			one := fmt.Sprintf(`{"annotations":{"says":"%d"},"manifests":[],"subject":%s}`, i, entryAs(ocispec.MediaTypeImageManifest, image, 9))
			one += strings.Repeat(" ", size-len(one))
			give(from, string(digest.FromString(one)), one)
			entries = append(entries, entry(digest.FromString(one), said))
		}
		list(from, image, entries)
	}
}

// listsReferrers lists so many referrers of an image, on pages.
func listsReferrers(n int) func(*testing.T, *registrytest.Proxy, *registrytest.Proxy) {
	return func(t *testing.T, from, _ *registrytest.Proxy) {
		t.Helper()
		const page = 1000
		image := from.Digest(t, "hostile", "1")
		from.On("GET", "/v2/hostile/referrers/"+string(image)).Do(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			at, _ := strconv.Atoi(r.URL.Query().Get("last")) // 0 for the first
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

// listsWithoutEnd lists one referrer, and blanks until the client has gone.
func listsWithoutEnd(t *testing.T, from, _ *registrytest.Proxy) {
	t.Helper()
	from.On("GET", "/v2/hostile/referrers/.*").Do(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
		_, _ = io.WriteString(w, `{"manifests":[`+entry(digest.FromString("a"), 100)+"]}")
		_, _ = io.Copy(w, blanks{})
	})
}

// list makes a registry list referrers of an image.
func list(p *registrytest.Proxy, image digest.Digest, entries []string) {
	p.On("GET", "/v2/hostile/referrers/"+string(image)).Reply(http.StatusOK, http.Header{"Content-Type": {ocispec.MediaTypeImageIndex}},
		`{"manifests":[`+strings.Join(entries, ",")+"]}")
}

// hasAnnotations has an index of indexes each of which has nearly as many
// annotations as one may have, of nine others.
func hasAnnotations(indexes int) func(*testing.T, *registrytest.Proxy, *registrytest.Proxy) {
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
				give(from, string(digest.FromString(core)), core)
				named = append(named, strings.TrimSuffix(entry(digest.FromString(core), len(core)), "}")+`,"annotations":{`+annotations.String()+`"last":""}}`)
			}
			child := `{"manifests":[` + strings.Join(named, ",") + "]}"
			give(from, string(digest.FromString(child)), child)
			entries = append(entries, entry(digest.FromString(child), len(child)))
		}
		givesIndex(`{"manifests":[`+strings.Join(entries, ",")+"]}")(t, from, to)
	}
}

// cutsEveryPart breaks off a large blob after 12 MiB, and each time that the rest
// or a part is asked for after 70 kB.
func cutsEveryPart(t *testing.T, from, _ *registrytest.Proxy) {
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

// cutter takes so many bytes of an answer and breaks off then.
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
