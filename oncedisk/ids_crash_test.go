package oncedisk

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncehq/once"
)

// An idHistory is what a store of ids was told, and what it acknowledged.
type idHistory struct {
	*testing.T
	dice *rand.Rand

	mu    sync.Mutex
	begun map[string]bool      // may be done
	acked map[string]time.Time // are done since then
}

var idCrashConfig = IDsConfig{Window: time.Hour, Buckets: 3, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}

func newIDHistory(t *testing.T, seed uint64) *idHistory {
	return &idHistory{
		T: t, dice: rand.New(rand.NewPCG(seed, 3)),
		begun: map[string]bool{}, acked: map[string]time.Time{},
	}
}

// run completes some ids, at the same time as others, and lets time pass.
func (h *idHistory) run(s *IDs) error {
	var all sync.WaitGroup
	errs := make([]error, 1+h.dice.IntN(3))
	for i := range errs {
		ids := make([]string, 1+h.dice.IntN(20))
		h.mu.Lock()
		for j := range ids {
			ids[j] = fmt.Sprint("id ", len(h.begun))
			h.begun[ids[j]] = true
		}
		h.mu.Unlock()
		all.Go(func() {
			if errs[i] = s.CompleteIDs(h.Context(), "s", once.NewOwner(), ids); errs[i] != nil {
				return
			}
			h.mu.Lock()
			defer h.mu.Unlock()
			for _, id := range ids {
				h.acked[id] = time.Now()
			}
		})
	}
	all.Wait()
	time.Sleep(time.Duration(h.dice.IntN(int(10 * time.Minute))))
	return errors.Join(errs...)
}

// check compares the store with the history.
func (h *idHistory) check(s *IDs) error {
	o := once.NewOwner()
	ids := []string{"never begun"}
	for id := range h.begun {
		ids = append(ids, id)
	}
	states, err := s.ClaimIDs(context.Background(), "s", o, ids)
	if err != nil {
		return err
	}
	if err := s.ReleaseIDs(context.Background(), "s", o, ids); err != nil {
		return err
	}
	for i, id := range ids {
		at, acked := h.acked[id]
		switch age := time.Since(at); {
		case acked && age < time.Hour && states[i] != once.IDDone:
			return fmt.Errorf("%s is %v %v after it was acknowledged as done", id, states[i], age)
		case acked && age > 2*time.Hour && states[i] != once.IDClaimed,
			!h.begun[id] && states[i] != once.IDClaimed:
			return fmt.Errorf("%s is %v, want it to be new", id, states[i])
		}
	}
	return nil
}

// At every change to the file system of a history, the power fails, or the process is killed; what
// could be left is opened, and must be what was acknowledged.
func TestNoDoneIDIsLostWhereverItStops(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { crashIDsEverywhere(t, seed) })
		})
	}
}

func crashIDsEverywhere(t *testing.T, seed uint64) {
	h, m := newIDHistory(t, seed), newMemory()
	s := idsOn(t, m, idCrashConfig)
	power := rand.New(rand.NewPCG(seed, 4))
	steps := 0
	m.onStep(func(op, name string) error {
		h.mu.Lock()
		defer h.mu.Unlock()
		steps++
		for _, dice := range []*rand.Rand{nil, power} {
			if !t.Failed() {
				h.survives(m.crash(dice), fmt.Sprintf("before %s of %s, step %d, power failed %v", op, name, steps, dice != nil))
			}
		}
		return nil
	})
	for range 25 / min(slowdown, 2) {
		if err := h.run(s); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(4 * time.Hour) // all buckets go
	synctest.Wait()
	m.onStep(nil)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	t.Logf("%d steps, %d ids", steps, len(h.begun))
}

// survives opens what is left, checks it, uses it, and checks it again.
func (h *idHistory) survives(left *memory, when string) {
	h.Helper()
	for _, again := range []string{"", ", opened again"} {
		s, err := openIDs(left, idCrashConfig.checked(h.T), 2*page)
		if err != nil {
			h.Errorf("%s%s: open: %v", when, again, err)
			return
		}
		if err := h.check(s); err != nil {
			h.Errorf("%s%s: %v", when, again, err)
		}
		if err := s.CompleteIDs(context.Background(), "other", once.NewOwner(), []string{"a", "b"}); err != nil {
			h.Errorf("%s%s: complete: %v", when, again, err)
		}
		if err := s.Close(); err != nil {
			h.Errorf("%s%s: close: %v", when, again, err)
		}
	}
}

func (c IDsConfig) checked(t *testing.T) IDsConfig {
	t.Helper()
	c.Dir = "ids"
	if err := c.check(); err != nil {
		t.Fatal(err)
	}
	return c
}

// Any change to the file system may fail, once or from then on. What was acknowledged is not lost
// by that.
func TestIDsOnFailingDisks(t *testing.T) {
	t.Parallel()
	for _, ops := range []string{"write", "sync", "create", "rename", "remove", "truncate", "syncdir", "any"} {
		for _, forEver := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, for ever %v", ops, forEver), func(t *testing.T) {
				t.Parallel()
				for seed := range uint64(4 / min(slowdown, 4)) {
					synctest.Test(t, func(t *testing.T) { failIDsSomewhere(t, seed, ops, forEver) })
				}
			})
		}
	}
}

func failIDsSomewhere(t *testing.T, seed uint64, ops string, forEver bool) {
	h, m := newIDHistory(t, seed), newMemory()
	s := idsOn(t, m, idCrashConfig)
	ok, failed := h.dice.IntN(25), false
	m.onStep(func(op, _ string) error {
		if ops != "any" && op != ops || failed && !forEver {
			return nil
		}
		if ok--; ok >= 0 {
			return nil
		}
		failed = true
		return syscall.EIO
	})
	for range 30 {
		if err := h.run(s); err != nil && !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
		if s.broken.Load() == nil {
			if err := h.check(s); err != nil && !errors.Is(err, once.ErrFull) {
				t.Fatal(err)
			}
		}
	}
	m.onStep(nil)
	broken := s.broken.Load() != nil
	if broken && s.CompleteIDs(t.Context(), "s", once.NewOwner(), []string{"x"}) == nil {
		t.Error("the store acknowledges after a write that failed")
	}
	if err := s.Close(); err != nil != broken {
		t.Errorf("close: %v, broken %v", err, broken)
	}
	m.mu.Lock()
	left := m.crash(nil)
	m.mu.Unlock()
	h.survives(left, fmt.Sprintf("seed %d, opened after %s failed", seed, ops))
}

// Any byte of what was acknowledged may be damaged. That is said, and nothing done is given out as
// new.
func TestDamagedIDsAreRefused(t *testing.T) {
	t.Parallel()
	dice := rand.New(rand.NewPCG(5, 6))
	synctest.Test(t, func(t *testing.T) {
		h, m := newIDHistory(t, 7), newMemory()
		s := idsOn(t, m, idCrashConfig)
		for range 12 {
			if err := h.run(s); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		ends := map[string]int64{}
		for _, b := range s.young {
			ends[b.name(idLogSuffix)] = b.log.end + frameHeader // of the mark, which must be found
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		for name, n := range m.names {
			if name == lockName {
				continue
			}
			size := int64(len(n.data))
			if end, ok := ends[name]; ok {
				size = end - frameHeader
			}
			for range 200 {
				at := dice.Int64N(size)
				left := m.crash(nil)
				left.names[name].data[at] ^= byte(1 + dice.IntN(255))
				h.refuses(left, fmt.Sprintf("byte %d of %d of %s", at, size, name))
			}
		}
	})
}

func (h *idHistory) refuses(left *memory, what string) {
	h.Helper()
	s, err := openIDs(left, idCrashConfig.checked(h.T), 2*page)
	if err == nil {
		err = h.check(s)
		s.Close()
		if err == nil {
			h.Errorf("%s: the damage was not noticed", what)
			return
		}
	}
	if d, ok := errors.AsType[*DamageError](err); !ok && !strings.Contains(err.Error(), "format") {
		h.Errorf("%s: error %v, want a *DamageError", what, err)
	} else if ok && !strings.Contains(d.Error(), "offset") {
		h.Errorf("%s: the error names no offset: %v", what, err)
	}
}

const idWriterDir = "ONCEDISK_ID_WRITER_DIR"

// A process that is killed at any moment loses no id that it was told is done.
func TestKilledProcessesLoseNoDoneIDs(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "ids")
	done := map[string]bool{}
	for round := range *kills {
		cmd := exec.Command(os.Args[0], "-test.run=^TestIDWritingProcess$")
		cmd.Env = append(os.Environ(), idWriterDir+"="+dir, fmt.Sprint("ONCEDISK_WRITER_ROUND=", round))
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(out)
		enough, said := 50+rand.IntN(2000), 0
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				break
			}
			done[strings.TrimSpace(line)] = true
			if said++; said == enough {
				cmd.Process.Kill()
			}
		}
		if cmd.Wait(); said < enough {
			t.Fatalf("the writing process ended by itself, after %d lines", said)
		}
		s, err := OpenIDs(IDsConfig{Dir: dir, Window: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		for id := range done {
			if state := claimOne(t, s, id); state != once.IDDone {
				t.Fatalf("%s is %v after it was acknowledged as done", id, state)
			}
		}
		s.Close()
	}
	t.Logf("%d ids, %d kills", len(done), *kills)
}

// TestIDWritingProcess is the process that is killed, not a test of its own.
func TestIDWritingProcess(t *testing.T) {
	dir := os.Getenv(idWriterDir)
	if dir == "" {
		t.Skip("runs as another process only")
	}
	cfg := IDsConfig{Dir: dir, Window: time.Hour}
	v, err := openDirectory(dir, true)
	if err := errors.Join(err, cfg.check()); err != nil {
		t.Fatal(err)
	}
	cfg.Buckets = 50_000 // of a few milliseconds, so that they are archived while the process is killed
	s, err := openIDs(v, cfg, 64*page)
	if err != nil {
		t.Fatal(err)
	}
	say := make(chan string)
	for g := range 8 {
		go func() {
			for n := 0; ; n++ {
				ids := completeSome(t, s, fmt.Sprintf("%s-%d-%d-%%d", os.Getenv("ONCEDISK_WRITER_ROUND"), g, n), 1+n%5)
				for _, id := range ids {
					say <- id
				}
			}
		}()
	}
	for id := range say {
		io.WriteString(os.Stdout, id+"\n")
	}
}
