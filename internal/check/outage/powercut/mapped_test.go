//go:build linux

package powercut_test

import (
	"os"
	"syscall"
)

// writeMapped writes to a file through its mapping: once before, and once after it is synced.
func writeMapped(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	const both = syscall.PROT_READ | syscall.PROT_WRITE
	mapped, err := syscall.Mmap(int(f.Fd()), 0, 4, both, syscall.MAP_SHARED)
	if err != nil {
		return err
	}
	defer syscall.Munmap(mapped)
	copy(mapped, "bb")
	if err := f.Sync(); err != nil { // writes mapped pages back, as msync(2) does
		return err
	}
	copy(mapped, "c")
	return nil
}
