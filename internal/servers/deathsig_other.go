//go:build !linux

package servers

import "syscall"

// dieWithParent does nothing: only Linux knows how. A test that is killed leaves its servers.
func dieWithParent(*syscall.SysProcAttr) {}
