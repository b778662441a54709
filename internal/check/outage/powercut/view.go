//go:build linux

package powercut

import (
	"maps"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// A view is what the kernel sees of a disk: it translates its requests.
type view struct {
	fuse.RawFileSystem // refuses whatever is not here
	d                  *Disk

	mu     sync.Mutex        // taken after the disk's, or alone
	known  map[uint64]*known // the nodes that the kernel knows by number
	opened uint64            // the number of the directory that was opened last
	listed map[uint64][]fuse.DirEntry
}

type known struct {
	*node
	lookups uint64
}

func newView(d *Disk) *view {
	return &view{
		RawFileSystem: fuse.NewDefaultRawFileSystem(), d: d,
		known:  map[uint64]*known{rootID: {d.root, 1}},
		listed: make(map[uint64][]fuse.DirEntry),
	}
}

// on does something with a node while nobody else uses the disk.
func (v *view) on(id uint64, do func(n *node) fuse.Status) fuse.Status {
	v.mu.Lock()
	k := v.known[id]
	v.mu.Unlock()
	v.d.mu.Lock()
	defer v.d.mu.Unlock()
	switch {
	case v.d.dead:
		return fuse.EIO
	case k == nil:
		return fuse.Status(syscall.ESTALE)
	}
	return do(k.node)
}

// on2 is on for two nodes.
func (v *view) on2(a, b uint64, do func(a, b *node) fuse.Status) fuse.Status {
	v.mu.Lock()
	k := v.known[b]
	v.mu.Unlock()
	if k == nil {
		return fuse.Status(syscall.ESTALE)
	}
	return v.on(a, func(n *node) fuse.Status { return do(n, k.node) })
}

// forLong is how long the kernel may remember what it was told. It is the only one that changes
// anything, so that is for ever.
const forLong = time.Hour

// tell lets the kernel know a node.
func (v *view) tell(n *node, out *fuse.EntryOut) fuse.Status {
	v.mu.Lock()
	defer v.mu.Unlock()
	k := v.known[n.ino]
	if k == nil {
		k = &known{node: n}
		v.known[n.ino] = k
	}
	k.lookups++
	out.NodeId, out.Generation = n.ino, 1
	out.SetEntryTimeout(forLong)
	out.SetAttrTimeout(forLong)
	n.attr(&out.Attr)
	return fuse.OK
}

func (v *view) Forget(id, lookups uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if k := v.known[id]; k != nil && id != rootID {
		if k.lookups -= lookups; k.lookups == 0 {
			delete(v.known, id)
		}
	}
}

func (n *node) attr(a *fuse.Attr) {
	*a = fuse.Attr{
		Ino: n.ino, Mode: n.mode, Nlink: n.links, Owner: fuse.Owner{Uid: n.uid, Gid: n.gid},
		Size: uint64(n.now.size), Blksize: pageSize,
	}
	switch {
	case n.isDir():
		a.Nlink++ // "."
	case n.target != "":
		a.Size = uint64(len(n.target))
	}
	a.Blocks = (a.Size + sectorSize - 1) / sectorSize
	a.SetTimes(&n.atime, &n.mtime, &n.ctime)
}

func (v *view) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	const blocks = 1 << 22 // 16 GiB
	*out = fuse.StatfsOut{
		Blocks: blocks, Bfree: blocks, Bavail: blocks, Files: blocks, Ffree: blocks,
		Bsize: pageSize, Frsize: pageSize, NameLen: 255,
	}
	return fuse.OK
}

func (v *view) Lookup(
	_ <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut,
) fuse.Status {
	return v.on(h.NodeId, func(dir *node) fuse.Status {
		n := dir.names[name]
		if n == nil {
			return fuse.ENOENT
		}
		return v.tell(n, out)
	})
}

func (v *view) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	return v.on(in.NodeId, func(n *node) fuse.Status {
		out.SetTimeout(forLong)
		n.attr(&out.Attr)
		return fuse.OK
	})
}

func (v *view) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	return v.on(in.NodeId, func(n *node) fuse.Status {
		n.ctime = time.Now()
		if mode, ok := in.GetMode(); ok {
			n.mode = n.mode&syscall.S_IFMT | mode&^syscall.S_IFMT
		}
		if uid, ok := in.GetUID(); ok {
			n.uid = uid
		}
		if gid, ok := in.GetGID(); ok {
			n.gid = gid
		}
		if size, ok := in.GetSize(); ok {
			n.truncate(int64(size))
			n.mtime = n.ctime
		}
		if t, ok := in.GetATime(); ok {
			n.atime = t
		}
		if t, ok := in.GetMTime(); ok {
			n.mtime = t
		}
		out.SetTimeout(forLong)
		n.attr(&out.Attr)
		return fuse.OK
	})
}

func (v *view) Access(<-chan struct{}, *fuse.AccessIn) fuse.Status { return fuse.OK }

func (v *view) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	return v.on(in.NodeId, func(*node) fuse.Status {
		out.OpenFlags = fuse.FOPEN_KEEP_CACHE
		return fuse.OK
	})
}

func (v *view) Release(<-chan struct{}, *fuse.ReleaseIn) {}

func (v *view) Read(
	_ <-chan struct{}, in *fuse.ReadIn, buf []byte,
) (result fuse.ReadResult, status fuse.Status) {
	status = v.on(in.NodeId, func(n *node) fuse.Status {
		result = fuse.ReadResultData(buf[:n.now.read(buf, int64(in.Offset))])
		return fuse.OK
	})
	return result, status
}

func (v *view) Write(
	_ <-chan struct{}, in *fuse.WriteIn, data []byte,
) (written uint32, status fuse.Status) {
	status = v.on(in.NodeId, func(n *node) fuse.Status {
		n.write(data, int64(in.Offset))
		n.mtime = time.Now()
		n.ctime = n.mtime
		if in.Flags&syscall.O_DSYNC != 0 && !v.d.Lies { // a bit of O_SYNC too
			n.syncRange(int64(in.Offset), int64(len(data)))
		}
		written = uint32(len(data))
		return fuse.OK
	})
	return written, status
}

func (v *view) Fallocate(_ <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	const keepSize, punchHole, zeroRange = 1, 2, 16 // <linux/falloc.h>
	return v.on(in.NodeId, func(n *node) fuse.Status {
		off, size := int64(in.Offset), int64(in.Length)
		switch {
		case in.Mode&^(keepSize|punchHole|zeroRange) != 0:
			return fuse.Status(syscall.EOPNOTSUPP)
		case in.Mode&keepSize == 0 && off+size > n.now.size:
			n.truncate(off + size)
		}
		if in.Mode&(punchHole|zeroRange) != 0 {
			n.zero(off, size)
		}
		return fuse.OK
	})
}

func (v *view) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return v.on(in.NodeId, func(n *node) fuse.Status {
		v.d.sync(n)
		return fuse.OK
	})
}

func (v *view) FsyncDir(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return v.Fsync(nil, in)
}

// OpenDir notes the names, so that a reader gets each once, whatever changes meanwhile.
func (v *view) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	return v.on(in.NodeId, func(dir *node) fuse.Status {
		var list []fuse.DirEntry
		for i, name := range slices.Sorted(maps.Keys(dir.names)) {
			n := dir.names[name]
			list = append(list, fuse.DirEntry{Name: name, Mode: n.mode, Ino: n.ino, Off: uint64(i + 1)})
		}
		v.mu.Lock()
		defer v.mu.Unlock()
		v.opened++
		v.listed[v.opened] = list
		out.Fh = v.opened
		return fuse.OK
	})
}

func (v *view) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return v.on(in.NodeId, func(*node) fuse.Status {
		v.mu.Lock()
		defer v.mu.Unlock()
		list := v.listed[in.Fh]
		for _, e := range list[min(int(in.Offset), len(list)):] {
			if !out.AddDirEntry(e) {
				break
			}
		}
		return fuse.OK
	})
}

func (v *view) ReleaseDir(in *fuse.ReleaseIn) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.listed, in.Fh)
}
