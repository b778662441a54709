//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package oncedisk

import (
	"syscall"
	"testing"
)

// Whoever starts a process while a store is open gives it the store's files until it runs its
// program. A store that is closed meanwhile can be opened again at once.
func TestLockEndsWithTheStoreWhateverProcessIsBeingStarted(t *testing.T) {
	t.Parallel()
	v, err := openDirectory(t.TempDir(), false)
	if err != nil {
		t.Fatal(err)
	}
	lock, err := v.Lock(true)
	if err != nil {
		t.Fatal(err)
	}
	inherited, err := syscall.Dup(int(lock.(heldLock).f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(inherited)
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := v.Lock(true)
	if err != nil {
		t.Fatalf("after the lock was given back: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}
