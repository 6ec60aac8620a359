package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// TestProcess tests behavior that only a separate process has.
func TestProcess(t *testing.T) {
	program := build(t)
	t.Run("large_layer_memory", func(t *testing.T) { testLargeLayerMemory(t, program) })
	t.Run("interrupt", func(t *testing.T) { testInterrupt(t, program) })
	t.Run("killed", func(t *testing.T) { testKilled(t, program) })
	t.Run("interrupt_reading_list", func(t *testing.T) { testInterruptReadingList(t, program) })
	t.Run("unsolicited_response", func(t *testing.T) { testUnsolicitedResponse(t, program) })
	t.Run("usage_error_printed_once", func(t *testing.T) {
		output, err := exec.CommandContext(t.Context(), program, "-frobnicate").CombinedOutput()
		if failure, ok := errors.AsType[*exec.ExitError](err); !ok || failure.ExitCode() != invalidUsage {
			t.Errorf("program ended with %v, want status %d", err, invalidUsage)
		}
		if want := "imagecopy: flag provided but not defined: -frobnicate\n" + usage; string(output) != want {
			t.Errorf("output =\n%s\nwant\n%s", output, want)
		}
	})
}

// build builds the program and returns its path.
func build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "imagecopy.exe") // Windows requires the suffix
	if output, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	return program
}

// start starts the program and kills it after a minute.
func start(t *testing.T, stderr io.Writer, program string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func testLargeLayerMemory(t *testing.T, program string) {
	if runtime.GOOS != "linux" {
		t.Skip("the peak of a process's memory is read from /proc, which only Linux has")
	}
	const size, allowed = 1 << 30, 64 << 20
	layer := newEndless(t)
	large, err := digest.FromReader(io.NewSectionReader(layer, 0, size))
	if err != nil {
		t.Fatal(err)
	}
	// Neither registry stores the layer. The source generates it while it is read, and the
	// destination only computes its digest.
	source := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{Unchecked: true}))
	source.On("GET|HEAD", "/v2/big/blobs/"+string(large)).Do(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(layer, 0, size))
	})
	destination := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{Unchecked: true}))
	var arrived atomic.Bool
	destination.On("PUT", "/v2/big/blobs/uploads/.*").Where(completes(large)).Do(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		sum := sha256.New()
		if n, err := io.Copy(sum, r.Body); err != nil || n != size || digest.NewDigest(digest.SHA256, sum) != large {
			t.Errorf("uploaded layer has %d bytes, digest sha256:%x, %v", n, sum.Sum(nil), err)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		arrived.Store(true)
		w.WriteHeader(http.StatusCreated)
	})
	measured := make(chan struct{})
	destination.On("PUT", "/v2/big/manifests/.*").Hold(measured)
	image := source.Push(t, "big", "1", imageOf(t, large, size))

	cmd := start(t, t.Output(), program, "-q", source.Ref("big", "1"), destination.Ref("big", "1"))
	destination.Wait(t, func() bool { return destination.Count("PUT", "/v2/big/manifests/.*") == 1 })
	peak := peakMemory(t, cmd.Process.Pid)
	close(measured)
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := destination.Digest(t, "big", "1"); !arrived.Load() || got != image.Digest {
		t.Fatalf("layer uploaded = %t, tag digest = %q, want %s", arrived.Load(), got, image.Digest)
	}
	t.Logf("peak memory: %s", formatBytes(peak))
	if peak >= allowed {
		t.Errorf("peak memory for a layer of %s: %s, want less than %s", formatBytes(size), formatBytes(peak), formatBytes(allowed))
	}
}

// peakMemory returns the peak memory of a running process. It does not use the process's
// resource usage, which starts with the memory of the parent at the time of the fork.
func peakMemory(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	peak := regexp.MustCompile(`(?m)^VmHWM:\s+(\d+) kB$`).FindSubmatch(status)
	if peak == nil {
		t.Fatalf("no VmHWM in\n%s", status)
	}
	kib, err := strconv.ParseInt(string(peak[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// isFor returns a function that reports whether a request completes the upload of the blob d.
func completes(d digest.Digest) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.URL.Query().Get("digest") == string(d) }
}

// imageOf returns an image with one layer.
func imageOf(t *testing.T, layer digest.Digest, size int64) registrytest.Content {
	t.Helper()
	config := registrytest.Blob{Content: []byte("{}"), MediaType: ocispec.MediaTypeImageConfig}
	m := ocispec.Manifest{
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    config.Descriptor(),
		Layers:    []ocispec.Descriptor{{MediaType: ocispec.MediaTypeImageLayer, Digest: layer, Size: size}},
	}
	m.SchemaVersion = 2
	content, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return registrytest.Raw{MediaType: m.MediaType, Bytes: content, Blobs: []registrytest.Blob{config}}
}

// endless is generated content: a block of random bytes that repeats. The length of the block
// matches no buffer, so that ranges in the wrong order change the content.
type endless struct{ block []byte }

func newEndless(t *testing.T) endless {
	t.Helper()
	e := endless{make([]byte, 1<<20+7)}
	if _, err := rand.NewChaCha8([32]byte{}).Read(e.block); err != nil {
		t.Fatal(err)
	}
	return e
}

// ReadAt implements io.ReaderAt.
func (e endless) ReadAt(p []byte, at int64) (int, error) {
	for n := 0; n < len(p); {
		n += copy(p[n:], e.block[(at+int64(n))%int64(len(e.block)):])
	}
	return len(p), nil
}

func testInterrupt(t *testing.T, program string) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no way to interrupt one process alone")
	}
	reg := registrytest.Scripted(t, registrytest.Behaviour{})
	pushed := reg.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	source := registrytest.Intercept(t, reg)
	source.On("GET", "/v2/app/blobs/.*").Stall()
	var stderr bytes.Buffer
	cmd := start(t, &stderr, program, "-q", source.Ref("app", "1"), reg.Ref("prod", "1"))
	source.Wait(t, func() bool { return source.Count("GET", "/v2/app/blobs/.*") == len(pushed.Tree.Blobs) })
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // the exit status is checked below
	output{status: cmd.ProcessState.ExitCode(), stderr: stderr.String()}.
		expect(t, interrupted, `imagecopy: interrupted; 0 of 1 copies are complete\. .*\n`)
}

func testInterruptReadingList(t *testing.T, program string) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no way to interrupt one process alone")
	}
	// Opening the pipe for writing waits until the program reads it.
	pipe := filepath.Join(t.TempDir(), "list")
	if err := exec.CommandContext(t.Context(), "mkfifo", pipe).Run(); err != nil {
		t.Fatal(err)
	}
	cmd := start(t, t.Output(), program, "-list", pipe)
	list, err := os.OpenFile(pipe, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer list.Close()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || err.Error() != "signal: interrupt" {
		t.Errorf("program ended with %v, want the signal", err)
	}
}
