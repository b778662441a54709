package oncedisk

import (
	"errors"
	"io"
)

// A volume is one directory as the store uses it: a flat set of named files. It is the seam at
// which tests replace the machine's file system by one that forgets, tears and fails.
type volume interface {
	// Open opens an existing file.
	Open(name string, writable bool) (file, error)

	// Create makes a file that must not exist.
	Create(name string) (file, error)

	// Rename gives a file another name, replacing what has that name.
	Rename(from, to string) error

	Remove(name string) error

	// Names lists the files in the directory.
	Names() ([]string, error)

	// Sync makes what Create, Rename and Remove did to the directory durable.
	Sync() error

	// Lock takes the directory's lock, exclusive or shared with other readers, until the
	// result is closed or the process ends. It must not wait, but return errLocked.
	Lock(exclusive bool) (io.Closer, error)

	// Path is how messages name a file.
	Path(name string) string
}

// A file is one file of a [volume].
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer

	Truncate(size int64) error
	Size() (int64, error)

	// Sync makes what was written durable, and the size with it (fdatasync).
	Sync() error
}

var errLocked = errors.New("locked")
