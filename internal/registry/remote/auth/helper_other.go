//go:build !unix

package auth

import "os/exec"

// killProcessGroup does nothing on systems without process groups.
func killProcessGroup(*exec.Cmd) {}
