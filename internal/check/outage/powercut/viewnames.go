//go:build linux

package powercut

import (
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// add gives a new node to a name that is free.
func (v *view) add(
	h *fuse.InHeader, name string, mode uint32, out *fuse.EntryOut, more func(*node),
) fuse.Status {
	return v.on(h.NodeId, func(dir *node) fuse.Status {
		switch {
		case dir.names[name] != nil:
			return fuse.Status(syscall.EEXIST)
		case dir.links == 0: // removed while it was open
			return fuse.ENOENT
		}
		n := v.d.make(mode, h.Uid, h.Gid)
		if more != nil {
			more(n)
		}
		v.d.rename(change{dir, name, n})
		return v.tell(n, out)
	})
}

func (v *view) Create(
	_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut,
) fuse.Status {
	mode := syscall.S_IFREG | in.Mode&^syscall.S_IFMT
	return v.add(&in.InHeader, name, mode, &out.EntryOut, nil)
}

func (v *view) Mknod(
	_ <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut,
) fuse.Status {
	switch in.Mode & syscall.S_IFMT {
	case syscall.S_IFREG, syscall.S_IFSOCK, syscall.S_IFIFO:
		return v.add(&in.InHeader, name, in.Mode, out, nil)
	}
	return fuse.EPERM
}

func (v *view) Mkdir(
	_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut,
) fuse.Status {
	mode := syscall.S_IFDIR | in.Mode&^syscall.S_IFMT
	return v.add(&in.InHeader, name, mode, out, nil)
}

func (v *view) Symlink(
	_ <-chan struct{}, h *fuse.InHeader, target, name string, out *fuse.EntryOut,
) fuse.Status {
	return v.add(h, name, syscall.S_IFLNK|0o777, out, func(n *node) { n.target = target })
}

func (v *view) Readlink(_ <-chan struct{}, h *fuse.InHeader) (target []byte, status fuse.Status) {
	status = v.on(h.NodeId, func(n *node) fuse.Status {
		target = []byte(n.target)
		return fuse.OK
	})
	return target, status
}

func (v *view) Link(
	_ <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut,
) fuse.Status {
	return v.on2(in.NodeId, in.Oldnodeid, func(dir, n *node) fuse.Status {
		switch {
		case dir.names[name] != nil:
			return fuse.Status(syscall.EEXIST)
		case n.isDir():
			return fuse.EPERM
		}
		v.d.rename(change{dir, name, n})
		return v.tell(n, out)
	})
}

func (v *view) Unlink(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	return v.remove(h, name, false)
}

func (v *view) Rmdir(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	return v.remove(h, name, true)
}

func (v *view) remove(h *fuse.InHeader, name string, isDir bool) fuse.Status {
	return v.on(h.NodeId, func(dir *node) fuse.Status {
		n := dir.names[name]
		switch {
		case n == nil:
			return fuse.ENOENT
		case isDir && !n.isDir():
			return fuse.ENOTDIR
		case !isDir && n.isDir():
			return fuse.Status(syscall.EISDIR)
		case len(n.names) > 0:
			return fuse.Status(syscall.ENOTEMPTY)
		}
		v.d.rename(change{dir, name, nil})
		return fuse.OK
	})
}

func (v *view) Rename(
	_ <-chan struct{}, in *fuse.RenameIn, oldName, newName string,
) fuse.Status {
	const noReplace = 1 // <linux/fs.h>
	return v.on2(in.NodeId, in.Newdir, func(from, to *node) fuse.Status {
		n, replaced := from.names[oldName], to.names[newName]
		switch {
		case n == nil:
			return fuse.ENOENT
		case in.Flags&^noReplace != 0:
			return fuse.EINVAL
		case replaced != nil && in.Flags&noReplace != 0:
			return fuse.Status(syscall.EEXIST)
		case replaced == n:
			return fuse.OK // rename(2): two names of one file both stay
		case replaced != nil && replaced.isDir() != n.isDir():
			if n.isDir() {
				return fuse.ENOTDIR
			}
			return fuse.Status(syscall.EISDIR)
		case replaced != nil && len(replaced.names) > 0:
			return fuse.Status(syscall.ENOTEMPTY)
		}
		v.d.rename(change{from, oldName, nil}, change{to, newName, n})
		return fuse.OK
	})
}
