package servers

import (
	"os"
	"syscall"
)

// Memory returns a folder for temporary files that are kept in memory, where there is room for
// several servers, or else the usual folder. Who sets TMPDIR to it spares the tests the disk,
// which is what databases wait for most. What a killed process has written is still there; only
// a loss of power would be another matter.
func Memory() string {
	const folder, room = "/dev/shm", 2 << 30
	var fs syscall.Statfs_t
	if err := syscall.Statfs(folder, &fs); err != nil || fs.Bavail*uint64(fs.Bsize) < room {
		return os.TempDir()
	}
	return folder
}
