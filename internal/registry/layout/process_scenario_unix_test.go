//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package layout_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/layout"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// processRole and processDir are the environment variables that select what TestHelperProcess
// does, and in which layout.
const (
	processRole = "LAYOUT_TEST_ROLE"
	processDir  = "LAYOUT_TEST_DIR"
)

// slowContent is the blob that the role "write" writes in two parts.
const slowContent = "first part, second part"

func slowBlob() registry.Descriptor {
	return registry.Descriptor{Digest: digest.FromString(slowContent), Size: int64(len(slowContent))}
}

// slowReader reports on standard output that the first part was read, and continues when
// standard input ends.
type slowReader struct{ parts []string }

func (s *slowReader) Read(p []byte) (int, error) {
	switch len(s.parts) {
	case 0:
		return 0, io.EOF
	case 1:
		_, _ = os.Stdout.WriteString("ready\n")
		_, _ = io.Copy(io.Discard, os.Stdin)
	}
	n := copy(p, s.parts[0])
	s.parts = s.parts[1:]
	return n, nil
}

// TestHelperProcess runs as another process of the tests below. It does nothing on its own.
func TestHelperProcess(t *testing.T) {
	dir := os.Getenv(processDir)
	switch os.Getenv(processRole) {
	case "write":
		content := registry.Content{Open: func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(&slowReader{[]string{slowContent[:11], slowContent[11:]}}), nil
		}}
		if outcome, err := create(t, dir).PutBlob(t.Context(), slowBlob(), content); err != nil || outcome != registry.Copied {
			t.Errorf("PutBlob() = %q, %v", outcome, err)
		}
	case "lock":
		err := create(t, dir).WithLock(t.Context(), func() error {
			_, _ = os.Stdout.WriteString("ready\n")
			_, _ = io.Copy(io.Discard, os.Stdin)
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	case "limited":
		var unlimited syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &unlimited); err != nil {
			t.Fatal(err)
		}
		limit := syscall.Rlimit{Cur: 4096, Max: unlimited.Max}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			t.Fatal(err)
		}
		// The limit is removed again because the coverage data written at exit is larger.
		defer func() {
			if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &unlimited); err != nil {
				t.Error(err)
			}
		}()
		content := strings.Repeat("x", 10_000)
		d := registry.Descriptor{Digest: digest.FromString(content), Size: int64(len(content))}
		_, err := create(t, dir).PutBlob(t.Context(), d, blobOf([]byte(content), new(int)))
		assertError(t, err, "cannot write the blob "+d.Digest.String(), "file "+filepath.Join(dir, registrytest.BlobFile(d.Digest))+": file too large")
		if e, ok := errors.AsType[*registry.Error](err); !ok || !errors.Is(err, syscall.EFBIG) || !strings.Contains(e.Hint, "The disk is full") {
			t.Errorf("PutBlob() = %#v", e)
		}
	}
}

// process is another process that runs this test binary.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer
	out   *bufio.Reader
}

// start starts a process with a role and waits until it is ready.
func start(t *testing.T, role, dir string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestHelperProcess$")
	cmd.Env = append(os.Environ(), processRole+"="+role, processDir+"="+dir)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd, stdin, bufio.NewReader(stdout)}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if line, err := p.out.ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("process output = %q, %v, want ready", line, err)
	}
	return p
}

// finish lets the process continue, and fails the test if the process fails.
func (p *process) finish(t *testing.T) {
	t.Helper()
	p.stdin.Close()
	rest, _ := io.ReadAll(p.out)
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("the process failed: %v\n%s", err, rest)
	}
}

// kill kills the process as kill -9 does.
func (p *process) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.cmd.Wait()
}

// temporaries returns the names of the temporary files of a layout.
func temporaries(t *testing.T, dir string) (names []string) {
	t.Helper()
	for name := range snapshot(t, dir) {
		if strings.HasPrefix(filepath.Base(name), ".new-") {
			names = append(names, name)
		}
	}
	return names
}

func TestWrite_ProcessKilled(t *testing.T) {
	dir := registrytest.Layout(t, nil)
	start(t, "write", dir).kill(t)
	if names := temporaries(t, dir); len(names) != 1 {
		t.Fatalf("the process left %v, want one file", names)
	}
	from := registrytest.Layout(t, map[string]registrytest.Content{"1": registrytest.Image{Seed: "a"}})
	promote(t, copier.Job{Source: open(t, from), Reference: "1", Destination: create(t, dir), Tags: []string{"1"}})
	if names := temporaries(t, dir); names != nil {
		t.Errorf("temporary files = %v, want none", names)
	}
	registrytest.Same(t, registrytest.ReadLayout(t, from, "1"), registrytest.ReadLayout(t, dir, "1"))
}

func TestWrite_ConcurrentProcess(t *testing.T) {
	dir := registrytest.Layout(t, nil)
	other := start(t, "write", dir)
	before := temporaries(t, dir)
	from := registrytest.Layout(t, map[string]registrytest.Content{"1": registrytest.Image{Seed: "a"}})
	promote(t, copier.Job{Source: open(t, from), Reference: "1", Destination: create(t, dir), Tags: []string{"1"}})
	if after := temporaries(t, dir); len(before) != 1 || len(after) != 1 || before[0] != after[0] {
		t.Errorf("temporary files are %v, want %v", after, before)
	}
	other.finish(t)
	if d, err := open(t, dir).StatBlob(t.Context(), slowBlob().Digest); err != nil || d.Size != slowBlob().Size {
		t.Errorf("StatBlob() = %v, %v", d, err)
	}
	if names := temporaries(t, dir); names != nil {
		t.Errorf("temporary files = %v, want none", names)
	}
}

func TestWrapError_FileSizeLimit(t *testing.T) {
	dir := registrytest.Layout(t, nil)
	cmd := exec.Command(os.Args[0], "-test.run=^TestHelperProcess$")
	cmd.Env = append(os.Environ(), processRole+"=limited", processDir+"="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	wantNoTemporary(t, dir)
}

// The operating system releases a lock when the process that holds it ends.
func TestWithLock_ProcessKilled(t *testing.T) {
	dir := registrytest.Layout(t, map[string]registrytest.Content{"1": registrytest.Image{Seed: "a"}})
	start(t, "lock", dir).kill(t)
	ran := false
	if err := create(t, dir).WithLock(t.Context(), func() error { ran = true; return nil }); err != nil || !ran {
		t.Errorf("WithLock() = %v, ran = %t", err, ran)
	}
}

func TestWithLock_LogsWait(t *testing.T) {
	for name, test := range map[string]struct {
		hold   func(t *testing.T, dir string)
		holder string
	}{
		"process": {func(t *testing.T, dir string) { start(t, "lock", dir) }, "another process"},
		"copy": {func(t *testing.T, dir string) {
			locked, done := make(chan struct{}), make(chan struct{})
			var holding = create(t, dir)
			go func() {
				_ = holding.WithLock(context.WithoutCancel(t.Context()), func() error {
					close(locked)
					<-done
					return nil
				})
			}()
			<-locked
			t.Cleanup(func() { close(done) })
		}, "another copy of this process"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := registrytest.Layout(t, map[string]registrytest.Content{"1": registrytest.Image{Seed: "a"}})
			test.hold(t, dir)
			ctx, cancel := context.WithCancelCause(t.Context())
			reason := errors.New("waited for long enough")
			logged := &recorder{then: func() { cancel(reason) }}
			var waits []registry.Wait
			traced := registry.WithTrace(ctx, registry.Trace{Wait: func(w registry.Wait) { waits = append(waits, w) }})
			blobs := filepath.Join(dir, "blobs")
			err := create(t, dir).WithLogger(logged.logger()).WithLock(traced, func() error { t.Error("f was called without the lock"); return nil })
			assertError(t, err, layout.Scheme+dir, "it waited for the lock of "+blobs+", which is held by "+test.holder)
			if e, ok := errors.AsType[*registry.Error](err); !ok || !errors.Is(err, reason) || !errors.Is(e.Kind, registry.ErrUnavailable) || !strings.Contains(e.Hint, "A lock ends with the process that holds it") {
				t.Errorf("WithLock() = %#v", e)
			}
			if len(waits) != 1 || waits[0].For != registry.WaitLock {
				t.Errorf("waits are %v, want one for the lock", waits)
			}
			if lines := logged.lines(); len(lines) != 1 || !strings.Contains(lines[0], "waiting for the lock") || !strings.Contains(lines[0], blobs) || !strings.Contains(lines[0], test.holder) {
				t.Errorf("log is %q", lines)
			}
		})
	}
}
