//go:build unix

package auth

import (
	"os/exec"
	"syscall"
)

// killProcessGroup makes canceling a helper also kill the processes that it
// started, because most helpers are scripts around another program. A helper that
// ends by itself may leave an agent running.
func killProcessGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
