//go:build unix

package auth

import (
	"os/exec"
	"syscall"
)

// killProcessGroup makes canceling cmd also kill the processes that the helper started. Most
// helpers are scripts around another program. A helper that exits may leave an agent running.
func killProcessGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
