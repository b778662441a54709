//go:build linux

package powercut

import (
	"maps"
	"math/rand/v2"
	"slices"
	"syscall"
	"time"
)

// A node is a file, a directory or a symbolic link.
type node struct {
	ino      uint64
	mode     uint32 // with the bits that say what it is
	uid, gid uint32
	links    uint32
	atime    time.Time
	mtime    time.Time
	ctime    time.Time

	file                       // of a regular file
	target    string           // of a symbolic link
	names     map[string]*node // of a directory
	safeNames map[string]*node
}

func (n *node) isDir() bool { return n.mode&syscall.S_IFMT == syscall.S_IFDIR }

// A change gives a name in a directory to a node, or to none.
type change struct {
	dir  *node
	name string
	to   *node
}

// rename makes the changes, together, of which it is open whether they survive a cut.
func (d *Disk) rename(changes ...change) {
	now := time.Now()
	for _, c := range changes {
		if was := c.dir.names[c.name]; was != nil {
			was.links--
			was.ctime = now
		}
		if c.to == nil {
			delete(c.dir.names, c.name)
		} else {
			c.dir.names[c.name] = c.to
			c.to.links++
			c.to.ctime = now
		}
		c.dir.mtime, c.dir.ctime = now, now
	}
	d.open = append(d.open, changes)
}

func (c change) keep() {
	if c.to == nil {
		delete(c.dir.safeNames, c.name)
	} else {
		c.dir.safeNames[c.name] = c.to
	}
}

// sync makes a node safe: a file's content, or a directory's names.
func (d *Disk) sync(n *node) {
	if d.Lies {
		return
	}
	if n.isDir() {
		d.syncNames(func(c change) bool { return c.dir == n })
	} else {
		n.file.sync()
	}
	if d.NamesInOrder {
		d.syncNames(func(change) bool { return true })
	}
}

// syncNames makes the open changes safe that are chosen.
func (d *Disk) syncNames(chosen func(change) bool) {
	var open [][]change
	for _, together := range d.open {
		var rest []change
		for _, c := range together {
			if chosen(c) {
				c.keep()
			} else {
				rest = append(rest, c)
			}
		}
		if len(rest) > 0 {
			open = append(open, rest)
		}
	}
	d.open = open
}

// A copier makes the nodes of a disk after a cut. A node with several names is one node again.
type copier struct {
	chance *rand.Rand
	made   map[*node]*node
}

func (c *copier) copy(n *node) *node {
	if done := c.made[n]; done != nil {
		return done
	}
	k := &node{
		ino: n.ino, mode: n.mode, uid: n.uid, gid: n.gid,
		atime: n.atime, mtime: n.mtime, ctime: n.ctime, target: n.target,
	}
	c.made[n] = k
	if !n.isDir() {
		k.file = n.file.kept(c.chance)
		return k
	}
	k.names = make(map[string]*node, len(n.safeNames))
	for _, name := range slices.Sorted(maps.Keys(n.safeNames)) { // so that chance is repeatable
		child := c.copy(n.safeNames[name])
		child.links++
		k.names[name] = child
	}
	k.safeNames = maps.Clone(k.names)
	return k
}
