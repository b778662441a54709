//go:build linux

package powercut

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Fill copies what a folder has to an empty disk, where all of it is safe. A server can so prepare
// its files without the detour through the file system. Sockets and pipes are left out.
func (d *Disk) Fill(dir string) error {
	nodes := make(map[string]*node)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		stat := info.Sys().(*syscall.Stat_t)
		d.mu.Lock()
		defer d.mu.Unlock()
		if path == dir {
			nodes[path], d.root.mode = d.root, stat.Mode
			d.root.uid, d.root.gid = stat.Uid, stat.Gid
			return nil
		}
		n := d.make(stat.Mode, stat.Uid, stat.Gid)
		switch info.Mode().Type() {
		case fs.ModeDir:
			nodes[path] = n
		case fs.ModeSymlink:
			n.target, err = os.Readlink(path)
		case 0:
			err = n.fill(path)
		default:
			return nil
		}
		d.rename(change{nodes[filepath.Dir(path)], filepath.Base(path), n})
		return err
	})
	d.Sync()
	return err
}

// fill copies a file. It leaves out pages that are all zeros.
func (f *file) fill(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	f.truncate(int64(len(data)))
	for off := 0; off < len(data); off += pageSize {
		var p page
		if copy(p[:], data[off:]); p != (page{}) {
			f.now.pages[off/pageSize] = &p
		}
	}
	return nil
}
