//go:build !unix

package auth

import "os/exec"

// endWithChildren does nothing where there are no process groups.
func killProcessGroup(*exec.Cmd) {}
