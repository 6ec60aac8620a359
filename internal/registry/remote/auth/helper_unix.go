//go:build unix

package auth

import (
	"os/exec"
	"syscall"
)

// endWithChildren makes a helper that is ended take along what it started: most
// are scripts around another program. One that ends by itself may leave an agent
// behind.
func killProcessGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
