//go:build linux

package powercut

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A lab is a mounted disk and the means to cut it.
type lab struct {
	*testing.T
	disk *Disk
	m    *Mounted
}

func newLab(t *testing.T, o Options) *lab {
	Require(t)
	t.Parallel()
	d := New(o)
	return &lab{t, d, Mount(t, d, t.TempDir())}
}

func (l *lab) path(name string) string { return filepath.Join(l.m.Dir, name) }

func (l *lab) cut(chance *rand.Rand) {
	l.disk = l.disk.Cut(chance)
	l.m.Change(l, l.disk)
}

func (l *lab) ok(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

// write gives the file this content, and opens it with more flags.
func (l *lab) write(name, text string, flags int) *os.File {
	l.Helper()
	f, err := os.OpenFile(l.path(name), os.O_RDWR|os.O_CREATE|flags, 0o644)
	l.ok(err)
	l.Cleanup(func() { f.Close() })
	_, err = f.WriteString(text)
	l.ok(err)
	return f
}

func (l *lab) sync(name string) {
	l.Helper()
	f, err := os.Open(l.path(name))
	l.ok(err)
	defer f.Close()
	l.ok(f.Sync())
}

// tree returns names and contents, in order.
func (l *lab) tree() string {
	l.Helper()
	var all []string
	l.ok(filepath.WalkDir(l.m.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == l.m.Dir {
			return err
		}
		name := path[len(l.m.Dir)+1:]
		if d.Type().IsRegular() {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			name += "=" + string(text)
		}
		all = append(all, name)
		return nil
	}))
	return strings.Join(all, " ")
}

func (l *lab) want(tree string) {
	l.Helper()
	if got := l.tree(); got != tree {
		l.Errorf("the disk has %q, want %q", got, tree)
	}
}

func TestNothingIsSafeWithoutSync(t *testing.T) {
	l := newLab(t, Options{})
	l.write("a", "one", 0)
	l.ok(os.Mkdir(l.path("dir"), 0o755))
	l.want("a=one dir")
	l.cut(nil)
	l.want("")
}

func TestContentAndNameAreSafeApart(t *testing.T) {
	l := newLab(t, Options{})
	l.write("content", "text", 0).Sync()
	l.cut(nil)
	l.want("")
	l.write("name", "text", 0)
	l.sync(".")
	l.cut(nil)
	l.want("name=")
	l.ok(l.write("name", "text", 0).Sync())
	l.cut(nil)
	l.want("name=text")
}

func TestFdatasyncMakesContentAndSizeSafe(t *testing.T) {
	l := newLab(t, Options{})
	l.write("a", "", 0)
	l.sync(".")
	f := l.write("a", "text", 0)
	l.ok(syscall.Fdatasync(int(f.Fd())))
	_, err := f.WriteAt([]byte("X"), 1)
	l.ok(err)
	l.cut(nil)
	l.want("a=text")
}

func TestNamesInOrderAreSafeWithAnySync(t *testing.T) {
	l := newLab(t, Options{NamesInOrder: true})
	l.write("a", "text", 0)
	l.ok(l.write("b", "text", 0).Sync())
	l.write("c", "text", 0)
	l.cut(nil)
	l.want("a= b=text")
}

func TestRenameIsSafeWithItsDirectory(t *testing.T) {
	l := newLab(t, Options{})
	l.ok(l.write("old", "old", 0).Sync())
	l.ok(l.write("new", "new", 0).Sync())
	l.sync(".")
	l.ok(os.Rename(l.path("new"), l.path("old")))
	l.want("old=new")
	l.cut(nil)
	l.want("new=new old=old")
	l.ok(os.Rename(l.path("new"), l.path("old")))
	l.sync(".")
	l.cut(nil)
	l.want("old=new")
}

func TestRemovedFileIsBackWithoutSync(t *testing.T) {
	l := newLab(t, Options{})
	l.ok(l.write("a", "text", 0).Sync())
	l.sync(".")
	l.ok(os.Remove(l.path("a")))
	l.want("")
	l.cut(nil)
	l.want("a=text")
	l.ok(os.Remove(l.path("a")))
	l.sync(".")
	l.cut(nil)
	l.want("")
}

func TestTruncatedFileIsWholeWithoutSync(t *testing.T) {
	l := newLab(t, Options{})
	l.ok(l.write("a", "a text", 0).Sync())
	l.sync(".")
	l.ok(os.Truncate(l.path("a"), 1))
	l.want("a=a")
	l.cut(nil)
	l.want("a=a text")
	l.write("a", "b", os.O_TRUNC)
	l.cut(nil)
	l.want("a=a text")
}

func TestSynchronousWritesAreSafe(t *testing.T) {
	for name, flag := range map[string]int{"O_DSYNC": syscall.O_DSYNC, "O_SYNC": syscall.O_SYNC} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, Options{})
			l.write("a", "text", flag)
			l.write("b", "text", 0)
			l.sync(".")
			l.cut(nil)
			l.want("a=text b=")
		})
	}
}

func TestMappedWritesAreSafeWithMsync(t *testing.T) {
	l := newLab(t, Options{})
	l.ok(l.write("a", "aaaa", 0).Sync())
	l.sync(".")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "ONCE_POWERCUT_CHILD=map:"+l.path("a"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	l.want("a=cbaa")
	l.cut(nil)
	l.want("a=bbaa")
}

func TestAllocatedSpaceIsSafeWithSync(t *testing.T) {
	l := newLab(t, Options{})
	f := l.write("a", "ab", 0)
	l.sync(".")
	l.ok(syscall.Fallocate(int(f.Fd()), 0, 0, 5))
	l.ok(f.Sync())
	l.ok(syscall.Fallocate(int(f.Fd()), 3, 0, 1)) // punch a hole
	l.want("a=\x00b\x00\x00\x00")
	l.cut(nil)
	l.want("a=ab\x00\x00\x00")
}

func TestLinksAreOneFile(t *testing.T) {
	l := newLab(t, Options{})
	l.ok(l.write("a", "text", 0).Sync())
	l.ok(os.Link(l.path("a"), l.path("b")))
	l.ok(os.Symlink("a", l.path("c")))
	l.sync(".")
	l.cut(nil)
	l.ok(l.write("b", "TEXT", 0).Sync())
	l.want("a=TEXT b=TEXT c")
	text, err := os.ReadFile(l.path("c"))
	l.ok(err)
	if string(text) != "TEXT" {
		t.Errorf("by the symbolic link: %q", text)
	}
}

func TestEverythingFailsAfterTheCut(t *testing.T) {
	l := newLab(t, Options{})
	f := l.write("a", "text", 0)
	l.ok(f.Sync())
	l.sync(".")
	next := l.disk.Cut(nil)
	_, write := f.WriteString("more")
	_, open := os.Open(l.path("a"))
	_, list := os.ReadDir(l.m.Dir)
	for what, err := range map[string]error{
		"write": write, "sync": f.Sync(), "open": open, "list": list,
		"make":   os.WriteFile(l.path("b"), nil, 0o644),
		"remove": os.Remove(l.path("a")),
		"rename": os.Rename(l.path("a"), l.path("b")),
	} {
		if !errors.Is(err, syscall.EIO) {
			t.Errorf("%s after the cut: %v, want EIO", what, err)
		}
	}
	l.m.Change(t, next)
	l.want("a=text")
	if _, err := f.WriteString("more"); err == nil {
		t.Error("a file from before the cut can be written")
	}
	l.want("a=text")
}

func TestLyingDiskKeepsNothing(t *testing.T) {
	l := newLab(t, Options{Lies: true})
	l.ok(l.write("a", "text", syscall.O_SYNC).Sync())
	l.sync(".")
	l.cut(nil)
	l.want("")
	l.write("a", "text", 0)
	l.disk.Sync()
	l.cut(nil)
	l.want("a=text")
}

// TestChanceKeepsTheFirstNames checks that a cut with chance keeps the beginning of what happened
// to names, and that it does the same again with the same seed.
func TestChanceKeepsTheFirstNames(t *testing.T) {
	l := newLab(t, Options{})
	cut := func(seed uint64) string {
		var want []string
		for i := range 5 {
			name := fmt.Sprint(i)
			want = append(want, name+"=")
			l.write(name, "", 0)
		}
		l.cut(rand.New(rand.NewPCG(seed, 0)))
		got := l.tree()
		if !strings.HasPrefix(strings.Join(want, " "), got) {
			t.Errorf("chance kept %q", got)
		}
		l.disk = New(Options{})
		l.m.Change(t, l.disk)
		return got
	}
	seen := make(map[string]bool)
	for seed := range uint64(15) {
		got := cut(seed)
		if again := cut(seed); again != got {
			t.Errorf("the same seed keeps %q and %q", got, again)
		}
		seen[got] = true
	}
	if len(seen) < 3 {
		t.Errorf("15 seeds keep the same in %d ways", len(seen))
	}
}

// TestDirectoriesCanBeListedWhole reads one that takes several requests.
func TestDirectoriesCanBeListedWhole(t *testing.T) {
	l := newLab(t, Options{})
	const n = 400
	for i := range n {
		l.ok(os.WriteFile(l.path(fmt.Sprintf("a name of some length %d", i)), nil, 0o644))
	}
	names, err := os.ReadDir(l.m.Dir)
	l.ok(err)
	if len(names) != n {
		t.Errorf("%d of %d names", len(names), n)
	}
	dir, err := os.Open(l.m.Dir)
	l.ok(err)
	defer dir.Close()
	for removed := 0; removed < n; {
		some, err := dir.Readdirnames(10)
		if err != nil {
			t.Fatalf("%d names were removed while they were listed, and then: %v", removed, err)
		}
		for _, name := range some {
			l.ok(os.Remove(l.path(name)))
		}
		removed += len(some)
	}
	l.want("")
}

func TestLargeWritesComeBack(t *testing.T) {
	l := newLab(t, Options{})
	data := make([]byte, 5<<20+123)
	rand.NewChaCha8([32]byte{}).Read(data)
	l.ok(l.write("a", string(data), 0).Sync())
	l.sync(".")
	l.cut(nil)
	got, err := os.ReadFile(l.path("a"))
	l.ok(err)
	if !bytes.Equal(got, data) {
		t.Error("another content")
	}
}

func TestFilledDiskHasWhatTheFolderHad(t *testing.T) {
	l := newLab(t, Options{})
	from := t.TempDir()
	l.ok(os.MkdirAll(filepath.Join(from, "dir"), 0o700))
	text := strings.Repeat("\x00", 2*pageSize) + "text"
	l.ok(os.WriteFile(filepath.Join(from, "dir", "a"), []byte(text), 0o640))
	l.ok(os.Symlink("dir/a", filepath.Join(from, "b")))
	l.ok(l.disk.Fill(from))
	l.cut(nil)
	l.want("b dir dir/a=" + text)
	info, err := os.Stat(l.path("b"))
	l.ok(err)
	if info.Mode() != 0o640 || info.Size() != int64(len(text)) {
		t.Errorf("through the link: %v, %d bytes", info.Mode(), info.Size())
	}
}
