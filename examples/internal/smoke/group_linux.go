package smoke

import (
	"os/exec"
	"syscall"
)

// group has the process begin a group, with all that it starts, and die at the latest when the
// test's process does, even if that is killed.
func group(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// kill kills the group. It may have ended.
func kill(cmd *exec.Cmd) { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
