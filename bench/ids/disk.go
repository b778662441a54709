package main

import (
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/oncehq/once/oncedisk"
)

// disk is the embedded store. Its buckets are so short that the ids are filled into about ten, all
// but one of which are archives when they are measured, as in a store that has run for long.
type disk struct {
	*oncedisk.IDs
	dir string
	cfg oncedisk.IDsConfig
}

func openDisk(retained int64) (subject, error) {
	dir, err := os.MkdirTemp("", "once-ids-")
	if err != nil {
		return nil, err
	}
	const window = 30 * time.Minute
	bucket := max(window/1000, time.Duration(retained/8)*time.Microsecond)
	d := &disk{dir: dir, cfg: oncedisk.IDsConfig{
		Dir: filepath.Join(dir, "ids"), Window: window, Buckets: int(window / bucket),
	}}
	if d.IDs, err = oncedisk.OpenIDs(d.cfg); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	return d, nil
}

// cost waits until the ids that were filled in are archived.
func (d *disk) cost() (disk, memory int64, err error) {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if s := d.Stats(); s.Claims == 0 && s.Buckets > 0 && s.Memory < 4*s.IDs {
			break
		}
	}
	s := d.Stats()
	return s.Disk, s.Memory, nil
}

func (d *disk) age() error {
	d.cfg.Window = time.Millisecond
	return d.Close()
}

// forget opens the store with a window that is over.
func (d *disk) forget() (err error) {
	if d.IDs, err = oncedisk.OpenIDs(d.cfg); err != nil {
		return err
	}
	for d.Stats().IDs > 0 {
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}

func (d *disk) close() {
	d.IDs.Close()
	os.RemoveAll(d.dir)
	runtime.GC()
}
