//go:build linux

package powercut_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncedisk"
	"github.com/oncehq/once/store/oncesql"
)

func TestDisk(t *testing.T) {
	runAll(t,
		setting{name: "as it is", start: onDisk("disk"), durable: true},
		setting{name: "on a disk that lies", start: onDisk("disk"), disk: lies},
	)
}

func TestSQLite(t *testing.T) {
	runAll(t,
		setting{name: "synchronous FULL", start: onDisk("sqlite"), durable: true},
		setting{name: "on a disk that lies", start: onDisk("sqlite"), disk: lies},
	)
}

type store interface {
	once.Store
	io.Closer
}

// openEmbedded opens a store that is part of its process.
func openEmbedded(ctx context.Context, dsn string) (store, error) {
	engine, path, _ := strings.Cut(dsn, ":")
	if engine == "disk" {
		// Small segments: many of them are made, and given up, in a short time.
		return oncedisk.Open(oncedisk.Config{Dir: path, SegmentSize: 1 << 20})
	}
	cfg := oncesql.Config{DSN: dsn, Sweep: -1}
	if err := oncesql.Migrate(ctx, cfg); err != nil {
		return nil, err
	}
	return oncesql.Open(ctx, cfg)
}

// loadItself is what the process of an embedded store does: it says what is acknowledged.
func loadItself(dsn string) error {
	s, err := openEmbedded(context.Background(), dsn)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	load(context.Background(), s, os.Getenv(childDSN+"_ROUND"), func(f fact) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Println(f)
	})
	return nil
}

// An embedded system is a store in a process of its own.
type embedded struct {
	engine, dir string
	process     *os.Process // the latest that was under load
}

func onDisk(engine string) func(*testing.T) system {
	return func(t *testing.T) system {
		e := &embedded{engine: engine, dir: filepath.Join(os.TempDir(), "files")}
		if err := os.Mkdir(e.dir, 0o755); err != nil {
			t.Fatal(err)
		}
		return e
	}
}

// A store may want its folder to itself.
func (e *embedded) dsn(dir string) string { return e.engine + ":" + filepath.Join(dir, "store") }

func (e *embedded) start(*testing.T) {} // load does it

func (e *embedded) load(_ context.Context, t *testing.T, round string, l *ledger) func() {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDSN+"="+e.dsn(e.dir), childDSN+"_ROUND="+round)
	errs := new(strings.Builder)
	cmd.Stderr = errs
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	e.process = cmd.Process
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.read(t, out)
		if cmd.Wait(); !l.isClosed() {
			t.Errorf("the process ended before it was killed: %s", errs)
		}
	}()
	return func() { <-ended }
}

func (e *embedded) kill() {
	if e.process != nil {
		e.process.Kill()
	}
}

// open opens a copy of the files, outside of the disk. A process that had a file system of its
// own mapped into its memory could wait for itself.
func (e *embedded) open(t *testing.T) (once.Store, func() error) {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "once-powercut-copy-")
	if err == nil {
		err = os.CopyFS(filepath.Join(dir, "files"), os.DirFS(e.dir))
	}
	if err != nil {
		t.Fatal(err)
	}
	s, err := openEmbedded(t.Context(), e.dsn(filepath.Join(dir, "files")))
	if err != nil {
		t.Fatal(err)
	}
	return s, func() error {
		defer os.RemoveAll(dir)
		return s.Close()
	}
}
