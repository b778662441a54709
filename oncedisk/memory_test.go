package oncedisk

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// memory is a [volume] that knows what would be left of it after a loss of power: of the files,
// what was flushed, and any part of what was not; of the directory, what was synced, and any of
// the creations, renames and removals that were not.
type memory struct {
	mu      sync.Mutex
	names   map[string]*inode
	durable map[string]*inode
	pending []func(map[string]*inode) // changes to names since the last Sync
	locked  bool
	room    int64 // bytes that may still be allocated

	// step is called before every change, with the lock held, and may fail it. A change that
	// fails because of step may have been carried out in part.
	step func(op string, name string) error
}

type inode struct {
	data    []byte
	flushed []byte
	writes  []write        // since the last flush
	pages   map[int64]bool // that take up room: those that were written to
}

// take makes room for n bytes at the offset, and returns for how many there was some.
func (m *memory) take(n *inode, offset, bytes int64) int64 {
	if n.pages == nil {
		n.pages = make(map[int64]bool)
	}
	for at := offset / page; at*page < offset+bytes; at++ {
		if n.pages[at] {
			continue
		}
		if m.room < page {
			return max(0, at*page-offset)
		}
		m.room -= page
		n.pages[at] = true
	}
	return bytes
}

// give gives back the room of the pages behind the size.
func (m *memory) give(n *inode, size int64) {
	for at := range n.pages {
		if at*page >= size {
			delete(n.pages, at)
			m.room += page
		}
	}
}

// A write is one sector's worth of a write, or a truncation.
type write struct {
	offset int64
	data   []byte // nil: truncate to offset
}

const sector = 512

func newMemory() *memory {
	return &memory{names: map[string]*inode{}, durable: map[string]*inode{}, room: 1 << 40}
}

func (m *memory) Path(name string) string { return path.Join("/memory", name) }

// do carries out a change, or part of it if the step fails.
func (m *memory) do(op, name string, change func(fails bool) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var err error
	if m.step != nil {
		err = m.step(op, name)
	}
	if changeErr := change(err != nil); err == nil {
		err = changeErr
	}
	if err != nil {
		return &fs.PathError{Op: op, Path: m.Path(name), Err: err}
	}
	return nil
}

func (m *memory) Open(name string, writable bool) (file, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, ok := m.names[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: m.Path(name), Err: fs.ErrNotExist}
	}
	return &memoryFile{m: m, n: n, name: name, readOnly: !writable}, nil
}

func (m *memory) Create(name string) (file, error) {
	n := &inode{}
	err := m.do("create", name, func(fails bool) error {
		switch {
		case m.names[name] != nil:
			return fs.ErrExist
		case fails:
			return nil
		}
		m.change(func(names map[string]*inode) { names[name] = n })
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &memoryFile{m: m, n: n, name: name}, nil
}

func (m *memory) change(f func(map[string]*inode)) {
	f(m.names)
	m.pending = append(m.pending, f)
}

func (m *memory) Rename(from, to string) error {
	return m.do("rename", to, func(fails bool) error {
		n, ok := m.names[from]
		switch {
		case !ok:
			return fs.ErrNotExist
		case fails:
			return nil
		}
		m.change(func(names map[string]*inode) {
			if names[from] == n {
				delete(names, from)
			}
			names[to] = n
		})
		return nil
	})
}

func (m *memory) Remove(name string) error {
	return m.do("remove", name, func(fails bool) error {
		n, ok := m.names[name]
		switch {
		case !ok:
			return fs.ErrNotExist
		case fails:
			return nil
		}
		m.give(n, 0)
		m.change(func(names map[string]*inode) {
			if names[name] == n {
				delete(names, name)
			}
		})
		return nil
	})
}

func (m *memory) Names() ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.names)), nil
}

func (m *memory) Sync() error {
	return m.do("syncdir", ".", func(fails bool) error {
		if !fails {
			m.durable, m.pending = maps.Clone(m.names), nil
		}
		return nil
	})
}

func (m *memory) Lock(bool) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.locked {
		return nil, errLocked
	}
	m.locked = true
	return memoryLock{m}, nil
}

type memoryLock struct{ m *memory }

func (l memoryLock) Close() error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	l.m.locked = false
	return nil
}

// crash returns a volume with what could be left if the power failed now. With a nil rnd that is
// everything: only the process was killed. The lock must be held, as it is in step.
func (m *memory) crash(rnd *rand.Rand) *memory {
	left := newMemory()
	copies := map[*inode]*inode{}
	names := maps.Clone(m.durable)
	for _, f := range m.pending {
		if rnd == nil || rnd.IntN(2) == 0 {
			f(names)
		}
	}
	for name, n := range names {
		if copies[n] == nil {
			data := n.left(rnd)
			copies[n] = &inode{data: data, flushed: slices.Clone(data)}
		}
		left.names[name] = copies[n]
		left.durable[name] = copies[n]
	}
	return left
}

// onStep sets what is called before every change from now on.
func (m *memory) onStep(step func(op, name string) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.step = step
}

func (m *memory) loseHints() {
	for name := range m.names {
		if strings.HasSuffix(name, hintSuffix) {
			delete(m.names, name)
			delete(m.durable, name)
		}
	}
}

// left returns what could be left of the file.
func (n *inode) left(rnd *rand.Rand) []byte {
	if rnd == nil {
		return slices.Clone(n.data)
	}
	data := slices.Clone(n.flushed)
	keep := rnd.IntN(4) // none, few, most or all of the sectors
	for _, w := range n.writes {
		if rnd.IntN(3) < keep {
			data = w.apply(data)
		}
	}
	return data
}

func (w write) apply(data []byte) []byte {
	if w.data == nil {
		return resize(data, w.offset)
	}
	if end := w.offset + int64(len(w.data)); end > int64(len(data)) {
		data = resize(data, end)
	}
	copy(data[w.offset:], w.data)
	return data
}

func resize(data []byte, size int64) []byte {
	if size <= int64(len(data)) {
		return data[:size]
	}
	return append(data, make([]byte, size-int64(len(data)))...)
}

type memoryFile struct {
	m        *memory
	n        *inode
	name     string
	readOnly bool
	closed   bool
}

func (f *memoryFile) ReadAt(b []byte, offset int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if f.closed {
		return 0, fs.ErrClosed
	}
	if offset >= int64(len(f.n.data)) {
		if len(b) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	n := copy(b, f.n.data[offset:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memoryFile) WriteAt(b []byte, offset int64) (n int, err error) {
	err = f.m.do("write", f.name, func(fails bool) error {
		switch {
		case f.closed:
			return fs.ErrClosed
		case f.readOnly:
			return syscall.EBADF
		case fails:
			b = b[:len(b)/2]
		}
		var full error
		if fits := f.m.take(f.n, offset, int64(len(b))); fits < int64(len(b)) {
			b, full = b[:fits], syscall.ENOSPC
		}
		for n < len(b) {
			end := min(len(b), n+sector-int(offset+int64(n))%sector)
			w := write{offset + int64(n), slices.Clone(b[n:end])}
			f.n.data = w.apply(f.n.data)
			f.n.writes = append(f.n.writes, w)
			n = end
		}
		return full
	})
	return n, err
}

func (f *memoryFile) Truncate(size int64) error {
	return f.m.do("truncate", f.name, func(fails bool) error {
		if !fails {
			f.m.give(f.n, size)
			w := write{offset: size}
			f.n.data = w.apply(f.n.data)
			f.n.writes = append(f.n.writes, w)
		}
		return nil
	})
}

func (f *memoryFile) Size() (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return int64(len(f.n.data)), nil
}

// Sync makes the file durable. If it fails, what was not flushed by then never will be, though it
// can be read until the machine restarts: that is what Linux does.
func (f *memoryFile) Sync() error {
	return f.m.do("sync", f.name, func(fails bool) error {
		if f.closed {
			return fs.ErrClosed
		}
		if !fails {
			for _, w := range f.n.writes {
				f.n.flushed = w.apply(f.n.flushed)
			}
		}
		f.n.writes = nil
		return nil
	})
}

func (f *memoryFile) Close() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if f.closed {
		return fs.ErrClosed
	}
	f.closed = true
	return nil
}

func (m *memory) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var text string
	for _, name := range slices.Sorted(maps.Keys(m.names)) {
		text += fmt.Sprintf("%s %d\n", name, len(m.names[name].data))
	}
	return text
}
