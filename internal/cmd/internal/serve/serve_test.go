package serve_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/cmd/internal/serve"
)

// TestMain lets the tests run this binary as one of the commands. Its handler responds with
// parts of its configuration.
func TestMain(m *testing.M) {
	if os.Getenv("SERVE_AS_COMMAND") == "" {
		os.Exit(m.Run())
	}
	serve.Main(func(config serve.Config) (http.Handler, error) {
		if config.Schema1 {
			return nil, errors.New("no schema 1 here")
		}
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Join([]string{config.Root, config.Htpasswd, config.Token.Realm}, " "))
		}), nil
	})
}

// command returns a command that runs this binary and ends with the test.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), executable, args...)
	cmd.Env = append(os.Environ(), "SERVE_AS_COMMAND=1")
	return cmd
}

func TestMain_PrintsAddress(t *testing.T) {
	for name, end := range map[string]func(*exec.Cmd, io.Closer) error{
		"standard_input": func(_ *exec.Cmd, stdin io.Closer) error { return stdin.Close() },
		"sigterm":        func(cmd *exec.Cmd, _ io.Closer) error { return cmd.Process.Signal(syscall.SIGTERM) },
		"interrupt":      func(cmd *exec.Cmd, _ io.Closer) error { return cmd.Process.Signal(os.Interrupt) },
	} {
		t.Run(name, func(t *testing.T) {
			users := filepath.Join(t.TempDir(), "users")
			if err := os.WriteFile(users, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := command(t, "-stdin", "-root", "dir", "-htpasswd", users)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			stdin, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			output := bufio.NewReader(stdout)
			addr, err := output.ReadString('\n')
			if err != nil || !strings.HasPrefix(addr, "127.0.0.1:") {
				t.Fatalf("printed %q, %v", addr, err)
			}
			res, err := http.Get("http://" + strings.TrimSpace(addr))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = res.Body.Close() }()
			if body, err := io.ReadAll(res.Body); err != nil || string(body) != "dir "+users+" " {
				t.Errorf("configured with %q, %v", body, err)
			}
			if err := end(cmd, stdin); err != nil {
				t.Fatal(err)
			}
			rest, err := io.ReadAll(output)
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("command ended with %v", err)
			}
			if len(rest) > 0 || stderr.Len() > 0 {
				t.Errorf("output = %q, standard error = %q, want none", rest, &stderr)
			}
		})
	}
}

func TestMain_CountsRequests(t *testing.T) {
	cmd := command(t, "-stdin")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	addr, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	counts := ""
	for _, r := range []struct{ method, path string }{
		{"GET", "/v2/"}, {"PUT", "/v2/a"}, {"GET", "/requests"}, {"GET", "/v2/b"}, {"GET", "/requests"},
	} {
		req, err := http.NewRequest(r.method, "http://"+strings.TrimSpace(addr)+r.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if r.path == "/requests" {
			counts += string(body)
		}
	}
	if want := "{\"GET\":1,\"PUT\":1}\n{\"GET\":2,\"PUT\":1}\n"; counts != want {
		t.Errorf("counts = %q, want %q", counts, want)
	}
	_ = stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("command ended with %v", err)
	}
}

func TestMain_ExitStatus(t *testing.T) {
	for name, c := range map[string]struct {
		args     []string
		status   int
		wantText string
	}{
		"argument":                {[]string{"serve"}, 2, "Usage"},
		"certificate_without_key": {[]string{"-tls-cert", "cert.pem"}, 2, "Usage"},
		"two_authentications":     {[]string{"-htpasswd", "file", "-token-realm", "http://127.0.0.1"}, 2, "Usage"},
		"unavailable_address":     {[]string{"-addr", "192.0.2.1:0"}, 1, "192.0.2.1"},
		"missing_htpasswd":        {[]string{"-htpasswd", "absent.htpasswd"}, 1, "-htpasswd: stat absent.htpasswd"},
		"missing_certificate":     {[]string{"-tls-cert", "absent.pem", "-tls-key", "absent.key"}, 1, "absent.pem"},
		"unsupported_schema1":     {[]string{"-schema1"}, 1, "no schema 1 here"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := command(t, c.args...)
			output, err := cmd.CombinedOutput()
			exit, exited := errors.AsType[*exec.ExitError](err)
			if !exited || exit.ExitCode() != c.status || !strings.Contains(string(output), c.wantText) {
				t.Errorf("%v, %q, want status %d and %q", err, output, c.status, c.wantText)
			}
		})
	}
}
