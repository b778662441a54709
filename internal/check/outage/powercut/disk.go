//go:build linux

package powercut

import (
	"maps"
	"math/rand/v2"
	"sync"
	"syscall"
	"time"
)

// Options say what a disk is like. Their zero value is a disk that does what it must and no more.
type Options struct {
	// NamesInOrder makes names as safe as ext4, xfs and btrfs do, which write them to a journal:
	// fsync of any file or directory also makes all earlier changes of names safe, everywhere.
	// Defaults to what POSIX promises.
	NamesInOrder bool

	// Lies makes nothing safe but what [Disk.Sync] does: a drive that says that it has written
	// what is only in its cache. Whoever runs on it must lose something.
	Lies bool
}

// A Disk is a file system. Its methods may be called by many goroutines at once.
type Disk struct {
	Options

	mu   sync.Mutex // guards the rest, and all nodes
	dead bool
	root *node
	last uint64     // the greatest number of a node so far
	open [][]change // of names, that are not safe yet, in their order
}

// rootID is the number by which the kernel knows the root.
const rootID = 1

// New returns an empty disk.
func New(o Options) *Disk {
	now := time.Now()
	return &Disk{Options: o, last: rootID, root: &node{
		ino: rootID, mode: syscall.S_IFDIR | 0o755, links: 1,
		atime: now, mtime: now, ctime: now,
		names: make(map[string]*node), safeNames: make(map[string]*node),
	}}
}

// Sync makes everything safe that is there.
func (d *Disk) Sync() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open = nil
	seen := make(map[*node]bool)
	var all func(*node)
	all = func(n *node) {
		if seen[n] {
			return
		}
		seen[n] = true
		if !n.isDir() {
			n.file.sync()
			return
		}
		n.safeNames = maps.Clone(n.names)
		for _, child := range n.names {
			all(child)
		}
	}
	all(d.root)
}

// Cut takes the power away: from now on every operation fails with EIO. It returns the disk as it
// is when the power is back.
//
// With chance, some of what was not safe is there nevertheless: of the changes of names the
// first so many; of what was overwritten in a file any pages, and single sectors of others; of what was
// appended to it the beginning. Since a cut in the middle of an fsync leaves just that, no other
// moments need to be tried.
func (d *Disk) Cut(chance *rand.Rand) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = true
	if chance != nil {
		for _, together := range d.open[:chance.IntN(len(d.open)+1)] {
			for _, c := range together {
				c.keep()
			}
		}
	}
	c := &copier{chance: chance, made: make(map[*node]*node)}
	k := &Disk{Options: d.Options, root: c.copy(d.root), last: d.last}
	k.root.links = 1
	return k
}

// make returns a new node, which has no name yet.
func (d *Disk) make(mode, uid, gid uint32) *node {
	d.last++
	now := time.Now()
	n := &node{ino: d.last, mode: mode, uid: uid, gid: gid, atime: now, mtime: now, ctime: now}
	if n.isDir() {
		n.names, n.safeNames = make(map[string]*node), make(map[string]*node)
	}
	return n
}
