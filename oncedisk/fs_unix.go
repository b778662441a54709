//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package oncedisk

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// directory is a [volume] on the machine's file system.
type directory string

// openDirectory opens the directory. If it does not exist and create is set, it is made, but its
// parent must exist: a mistyped path must not become an empty store somewhere else.
func openDirectory(dir string, create bool) (volume, error) {
	dir = filepath.Clean(dir)
	if create {
		switch err := os.Mkdir(dir, 0o700); {
		case err == nil:
			if err := syncDirectory(filepath.Dir(dir)); err != nil {
				return nil, err
			}
		case !errors.Is(err, os.ErrExist):
			return nil, err
		}
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, &os.PathError{Op: "open", Path: dir, Err: syscall.ENOTDIR}
	}
	return directory(dir), nil
}

func (d directory) Path(name string) string { return filepath.Join(string(d), name) }

func (d directory) Open(name string, writable bool) (file, error) {
	flag := os.O_RDONLY
	if writable {
		flag = os.O_RDWR
	}
	f, err := os.OpenFile(d.Path(name), flag, 0)
	if err != nil {
		return nil, err
	}
	return diskFile{f}, nil
}

func (d directory) Create(name string) (file, error) {
	f, err := os.OpenFile(d.Path(name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return diskFile{f}, nil
}

func (d directory) Rename(from, to string) error { return os.Rename(d.Path(from), d.Path(to)) }
func (d directory) Remove(name string) error     { return os.Remove(d.Path(name)) }
func (d directory) Sync() error                  { return syncDirectory(string(d)) }

func (d directory) Names() ([]string, error) {
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

func (d directory) Lock(exclusive bool) (io.Closer, error) {
	flag, how := os.O_RDWR|os.O_CREATE, syscall.LOCK_EX
	if !exclusive {
		flag, how = os.O_RDONLY, syscall.LOCK_SH
	}
	f, err := os.OpenFile(d.Path(lockName), flag, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB); err != nil {
		f.Close()
		if err == syscall.EWOULDBLOCK {
			return nil, errLocked
		}
		return nil, &os.PathError{Op: "lock", Path: d.Path(lockName), Err: err}
	}
	return heldLock{f}, nil
}

// A heldLock is a file that is locked. To close it would not be enough: a process that is just being
// started by another goroutine has the file too, and so the lock, until it runs its program.
type heldLock struct{ f *os.File }

func (l heldLock) Close() error {
	return errors.Join(syscall.Flock(int(l.f.Fd()), syscall.LOCK_UN), l.f.Close())
}

func syncDirectory(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

type diskFile struct{ *os.File }

func (f diskFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
