//go:build !linux

package smoke

import "os/exec"

// dieWithParent does nothing: only Linux knows how. A test that is killed leaves its programs.
func dieWithParent(*exec.Cmd) {}
