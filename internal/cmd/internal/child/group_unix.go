//go:build unix

package child

import (
	"os/exec"
	"syscall"
)

// ownGroup makes cmd lead a process group of its own, which the terminal's
// Ctrl-C does not reach.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// killGroup ends what a command that has ended left behind, such as the
// providers of a terraform that was interrupted.
func killGroup(cmd *exec.Cmd) {
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
}
