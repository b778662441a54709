//go:build !linux

package smoke

import "os/exec"

// group does nothing: only Linux knows how. A test that is killed leaves its programs.
func group(*exec.Cmd) {}

func kill(cmd *exec.Cmd) { cmd.Process.Kill() }
