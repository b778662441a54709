//go:build linux

package powercut

import (
	"io"
	"log"
	"os"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// A Mounted disk can be used by any program, under a folder of its own.
type Mounted struct {
	Dir    string
	server *fuse.Server
}

// Require skips the test if disks cannot be mounted here.
func Require(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("power cuts are not tested: only root may mount the file system that they need")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip("power cuts are not tested: this system has no FUSE: ", err)
	}
	// Not t.TempDir: the first one decides where a test's later ones are.
	dir, err := os.MkdirTemp("", "once-powercut-")
	if err != nil {
		t.Fatal("powercut: ", err)
	}
	defer os.Remove(dir)
	m := &Mounted{Dir: dir}
	if err := m.mount(New(Options{})); err != nil {
		t.Skip("power cuts are not tested: mounting is not possible here: ", err)
	}
	m.unmount()
}

// Mount puts the disk in the place of the folder until the test ends.
//
// The test's own process must not map files of the disk into its memory: the garbage collector would
// wait for a thread that waits for a page, and who serves that page for the garbage collector.
func Mount(t testing.TB, d *Disk, dir string) *Mounted {
	t.Helper()
	m := &Mounted{Dir: dir}
	if err := m.mount(d); err != nil {
		t.Fatal("powercut: mount: ", err)
	}
	t.Cleanup(m.unmount)
	return m
}

// Change puts another disk in the place of the present one. Programs that still have files open on
// that get errors from now on.
func (m *Mounted) Change(t testing.TB, d *Disk) {
	t.Helper()
	m.unmount()
	if err := m.mount(d); err != nil {
		t.Fatal("powercut: mount: ", err)
	}
}

func (m *Mounted) mount(d *Disk) error {
	server, err := fuse.NewServer(newView(d), m.Dir, &fuse.MountOptions{
		Name: "powercut", FsName: "powercut", DirectMountStrict: true,
		Options:  []string{"allow_other", "default_permissions"},
		MaxWrite: 1 << 20, DisableXAttrs: true, DisableReadDirPlus: true,
		Logger: log.New(io.Discard, "", 0), // it complains of each request that was broken off
	})
	if err != nil {
		return err
	}
	go server.Serve()
	if err := server.WaitMount(); err != nil {
		m.unmount()
		return err
	}
	m.server = server
	return nil
}

func (m *Mounted) unmount() {
	// By force: requests under way are broken off. Detached: it does not matter who is there.
	syscall.Unmount(m.Dir, syscall.MNT_FORCE|syscall.MNT_DETACH)
	if m.server != nil {
		m.server.Wait()
		m.server = nil
	}
}
