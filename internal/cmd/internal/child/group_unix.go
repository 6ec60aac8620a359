//go:build unix

package child

import (
	"os/exec"
	"syscall"
)

// ownGroup makes cmd the leader of a new process group, which does not receive Ctrl-C from the
// terminal.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// killGroup kills the processes that an exited command left behind, such as the providers of an
// interrupted terraform.
func killGroup(cmd *exec.Cmd) {
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
}
