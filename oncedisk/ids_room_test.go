package oncedisk

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncehq/once"
)

// setRoom says for how many pages the disk has room from now on.
func (m *memory) setRoom(pages int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.room = pages * page
}

// When the disk is full, claims are refused, and what was claimed before is completed; when there is
// room again, the store goes on without being opened anew.
func TestIDsOnFullDisks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, m := newIDHistory(t, 1), newMemory()
		s := idsOn(t, m, idCrashConfig)
		m.setRoom(10)
		complete := func(o once.Owner, ids []string) error {
			for _, id := range ids {
				h.begun[id] = true
			}
			err := s.CompleteIDs(t.Context(), "s", o, ids)
			for _, id := range ids {
				if err == nil {
					h.acked[id] = time.Now()
				}
			}
			return err
		}
		var full error
		for n := 0; full == nil; n++ {
			o, ids := once.NewOwner(), make([]string, 20)
			for i := range ids {
				ids[i] = fmt.Sprint(n, "-", i)
			}
			if _, full = s.ClaimIDs(t.Context(), "s", o, ids); full != nil {
				break
			}
			if err := complete(o, ids); err != nil {
				t.Fatalf("ids that were claimed before the disk was full: %v", err)
			}
		}
		if !errors.Is(full, once.ErrFull) || !errors.Is(full, syscall.ENOSPC) {
			t.Fatalf("claim on a full disk: error %v, want ErrFull and why", full)
		}
		var left error
		for n := 0; left == nil; n++ {
			left = complete(once.NewOwner(), []string{fmt.Sprint("late ", n)})
		}
		if !errors.Is(left, syscall.ENOSPC) || len(h.acked) < 200 {
			t.Errorf("after %d ids: error %v", len(h.acked), left)
		}
		dice := rand.New(rand.NewPCG(1, 12))
		for range 20 {
			m.mu.Lock()
			unpowered := m.crash(dice)
			m.mu.Unlock()
			h.survives(unpowered, "no power while the disk was full")
		}
		time.Sleep(time.Minute)
		m.setRoom(1000)
		time.Sleep(2 * keepRetry)
		if err := h.check(s); err != nil {
			t.Errorf("when there is room again: %v", err)
		}
		if err := complete(once.NewOwner(), []string{"then"}); err != nil {
			t.Errorf("when there is room again: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		h.survives(m, "opened after a full disk")
	})
}

// What was done according to a store must not be undone by a loss of power later, whatever had
// failed before the store was opened.
func TestIDsThatAreDoneStayDoneAfterAFlushThatFailed(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			h, m := newIDHistory(t, seed), newMemory()
			s := idsOn(t, m, idCrashConfig)
			if err := h.run(s); err != nil {
				t.Fatal(err)
			}
			m.onStep(func(op, _ string) error {
				if op == "sync" {
					return syscall.EIO
				}
				return nil
			})
			if err := h.run(s); !errors.Is(err, syscall.EIO) {
				t.Fatalf("error %v, want EIO", err)
			}
			m.onStep(nil)
			s.Close() // says what failed
			s = idsOn(t, m, idCrashConfig)
			ids := slices.Sorted(maps.Keys(h.begun))
			o := once.NewOwner()
			states, err := s.ClaimIDs(t.Context(), "s", o, ids)
			if err != nil {
				t.Fatal(err)
			}
			for i, id := range ids {
				if states[i] == once.IDDone {
					h.acked[id] = time.Now()
				}
			}
			if err := s.CompleteIDs(t.Context(), "s", o, []string{"another"}); err != nil {
				t.Fatal(err)
			}
			m.mu.Lock()
			left := m.crash(h.dice)
			m.mu.Unlock()
			h.survives(left, "no power after it was opened again")
			s.Close()
		})
	}
}

// widest notes the longest read.
type widest struct {
	file
	bytes int
}

func (f *widest) ReadAt(b []byte, offset int64) (int, error) {
	f.bytes = max(f.bytes, len(b))
	return f.file.ReadAt(b, offset)
}

// A log may be longer than memory; it is read piece by piece.
func TestIDLogsAreReadInPieces(t *testing.T) {
	t.Parallel()
	f, err := newMemory().Create("log")
	if err != nil {
		t.Fatal(err)
	}
	read := &widest{file: f}
	l := &idLog{f: read, end: idHeaderSize, size: idHeaderSize}
	ids := make([]id, once.MaxIDs)
	var buf []byte
	const frames = 10
	for n := range frames {
		for i := range ids {
			ids[i] = id{0: byte(i), 13: byte(n + 1), 14: byte(i >> 8), 15: byte(i)}
		}
		if err := l.reserve(len(ids), 0, 1<<20); err != nil {
			t.Fatal(err)
		}
		if buf, err = l.commit(buf, ids); err != nil {
			t.Fatal(err)
		}
	}
	var all idTable
	again := &idLog{f: read}
	if err := again.replay(func(d id) { all.add(d) }); err != nil {
		t.Fatal(err)
	}
	if all.count != frames*once.MaxIDs || again.end != l.end || again.seq != l.seq {
		t.Errorf("%d ids were read, up to frame %d", all.count, again.seq)
	}
	if size, _ := f.Size(); read.bytes > windowSize || size < 2*windowSize {
		t.Errorf("%d bytes of %d were read at once", read.bytes, size)
	}
}

// Before it is known that a directory is the store's, nothing is written to it.
func TestOpenIDsLeavesOtherDirectoriesAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "notes.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenIDs(IDsConfig{Dir: dir, Window: time.Hour}); err == nil {
		t.Error("a directory with other files was taken for one of ids")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("the directory has %v now, error %v", entries, err)
	}
}

// An archive is as long as its bucket. One that cannot be written must not be tried for ever without
// rest.
func TestArchivesThatCannotBeWrittenAreTriedSeldom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		s := idsOn(t, m, idCrashConfig)
		ids := completeSome(t, s, "%d", 100)
		tries, full := 0, true
		m.onStep(func(op, name string) error {
			if op == "write" && isTemp(name) && full {
				tries++
				return syscall.ENOSPC
			}
			return nil
		})
		time.Sleep(70 * time.Minute)
		m.mu.Lock()
		if tries == 0 || tries > 30 {
			t.Errorf("tried %d times in 50 minutes", tries)
		}
		full = false
		m.mu.Unlock()
		wantIDs(t, s, ids, once.IDDone, "while it cannot be archived")
		time.Sleep(sweepRetryMost)
		if n := len(*s.archive.Load()); n != 1 {
			t.Errorf("%d archives when there is room again, want 1", n)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// The window counts from the acknowledgement, however long the disk took.
func TestIDsAreRememberedForTheWindowAfterASlowFlush(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		s := idsOn(t, m, idCrashConfig) // a window of an hour, in three buckets
		completeSome(t, s, "early-%d", 1)
		hung := false
		m.onStep(func(op, _ string) error {
			if op == "sync" && !hung {
				hung = true
				m.mu.Unlock()
				defer m.mu.Lock()
				time.Sleep(30 * time.Minute)
			}
			return nil
		})
		ids := completeSome(t, s, "%d", 10)
		time.Sleep(59 * time.Minute)
		wantIDs(t, s, ids, once.IDDone, "59 minutes after it was acknowledged")
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}
