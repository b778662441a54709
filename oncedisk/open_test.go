package oncedisk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncehq/once"
)

func TestOpenMakesTheDirectoryButNotItsParent(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new")
	s, err := Open(writerConfig(dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(t.TempDir(), "missing", "new")
	_, err = Open(writerConfig(missing))
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), filepath.Dir(missing)+",") {
		t.Errorf("open below a directory that does not exist: error %v, want one that names it", err)
	}
	if _, err := os.Stat(filepath.Dir(missing)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("open made the parent: error %v", err)
	}
}

func TestOpenRefusesOtherDirectories(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "thesis.txt"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(writerConfig(dir)); err == nil || !strings.Contains(err.Error(), "thesis.txt") {
		t.Errorf("open of a directory with a stranger's file: error %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("open wrote to a stranger's directory: %v, error %v", left, err)
	}
}

func TestOpenReportsEveryProblemOfTheConfig(t *testing.T) {
	t.Parallel()
	_, err := Open(Config{SegmentSize: 12345, MaxOutcome: -1})
	for _, word := range []string{"Dir", "SegmentSize", "MaxOutcome"} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("got error %v, which does not name %s", err, word)
		}
	}
}

func TestUnknownFormatsAreRefused(t *testing.T) {
	t.Parallel()
	m := newMemory()
	s := small.on(t, m, nil)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	m.names[recordFormat.file].data = recordFormat.text(formatVersion+1, s.seed)
	cfg := quiet()
	if err := cfg.check(); err != nil {
		t.Fatal(err)
	}
	if _, err := open(m, cfg, origin{}); err == nil || !strings.Contains(err.Error(), fmt.Sprint("format ", formatVersion+1)) {
		t.Errorf("open of an unknown format: error %v", err)
	}
	if _, err := check(m); err == nil || !strings.Contains(err.Error(), fmt.Sprint("format ", formatVersion+1)) {
		t.Errorf("check of an unknown format: error %v", err)
	}
	if m.locked {
		t.Error("the directory stays locked")
	}
}

func TestSegmentsThatAreMissingOrCutOffAreRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWriter(t)
		for range 3 {
			w.fill(time.Hour)
		}
		w.complete(w.claim(w.key(), 0), 5000, time.Hour)
		active := segmentName(w.s.log.number())
		if err := w.s.Close(); err != nil {
			t.Fatal(err)
		}
		cfg := quiet()
		if err := cfg.check(); err != nil {
			t.Fatal(err)
		}
		m := w.s.vol.(*memory)
		for name, spoil := range map[string]func(left *memory){
			segmentName(2): func(left *memory) {
				left.names[segmentName(2)].data = left.names[segmentName(2)].data[:30000]
			},
			active:            func(left *memory) { left.names[active].data = left.names[active].data[:3000] },
			recordFormat.file: func(left *memory) { delete(left.names, recordFormat.file) },
		} {
			left := m.crash(nil)
			spoil(left)
			_, err := open(left, cfg, origin{})
			if d, ok := errors.AsType[*DamageError](err); !ok || !strings.Contains(d.File, name) {
				t.Errorf("%s was spoilt: open returns %v", name, err)
			}
		}
	})
}

// The store's clock never goes back: a record does not come back to life, nor a lease, because
// the machine's clock was set back while the store was closed.
func TestTheClockNeverGoesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now := instant(time.Now().UnixNano())
		for _, ahead := range []time.Duration{0, time.Hour, -time.Hour} {
			c := newClock(now.plus(ahead), 0)
			if got := c.now(); got < now || got < now.plus(ahead) {
				t.Errorf("a store whose last instant was %v from now starts %v from now", ahead, got.since(now))
			}
		}
		// A store from the future: what it has is as old as it was.
		cfg := quiet()
		if err := cfg.check(); err != nil {
			t.Fatal(err)
		}
		ahead, err := open(newMemory(), cfg, origin{latest: now.plus(24 * time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		w := &writer{T: t, s: ahead}
		doubt, done := w.claim(w.key(), 0), w.claim(w.key(), 0)
		w.complete(done, 10, 2*time.Second)
		time.Sleep(time.Second)
		w.is(doubt.Key, once.InDoubt)
		if err := w.s.Close(); err != nil {
			t.Fatal(err)
		}
		s := small.on(t, w.s.vol, nil)
		rec, err := s.Load(context.Background(), doubt.Key)
		if err != nil || rec.State != once.InDoubt {
			t.Errorf("after the clock was set back, the record is %v, error %v", rec.State, err)
		}
		rec, err = s.Load(context.Background(), done.Key)
		if err != nil || rec.Retention > time.Second {
			t.Errorf("after the clock was set back, %v of the retention is left, error %v", rec.Retention, err)
		}
	})
}

func TestClosedStoresRefuse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWriter(t)
		c := once.Claim{Key: w.key(), Owner: once.NewOwner(), Lease: time.Hour}
		if _, err := w.s.Claim(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		waited := make(chan error)
		go func() { waited <- w.s.Wait(t.Context(), c.Key, c.Owner) }()
		synctest.Wait()
		for range 2 {
			if err := w.s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-waited; !errors.Is(err, once.ErrClosed) {
			t.Errorf("wait on a store that is closed meanwhile: error %v", err)
		}
		if _, err := w.s.Claim(t.Context(), c); !errors.Is(err, once.ErrClosed) {
			t.Errorf("claim: error %v, want ErrClosed", err)
		}
		if _, err := w.s.Load(t.Context(), c.Key); !errors.Is(err, once.ErrClosed) {
			t.Errorf("load: error %v, want ErrClosed", err)
		}
	})
}

// What a hint says is what a scan of its segment finds.
func TestHintsSayWhatTheSegmentsSay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const records = 100_000 / slowdown
		m := newMemory()
		cfg := Config{Dir: "/memory", SegmentSize: 1 << 20}
		w := &writer{T: t, s: cfg.on(t, m, nil)}
		var all sync.WaitGroup
		for g := range 500 {
			all.Go(func() {
				for i := range records / 500 {
					c := w.claim(once.Key{Scope: fmt.Sprint(g), ID: fmt.Sprint(i)}, 0)
					if i%100 != 0 {
						w.complete(c, i%64, time.Duration(1+i%3)*time.Hour)
					}
				}
			})
		}
		all.Wait()
		if err := w.s.Close(); err != nil {
			t.Fatal(err)
		}
		bare := m.crash(nil)
		bare.loseHints()
		hinted, scanned := cfg.on(t, m, nil), cfg.on(t, bare, nil)
		hinted.sweeping.Lock() // as they were opened
		defer hinted.sweeping.Unlock()
		scanned.sweeping.Lock()
		defer scanned.sweeping.Unlock()
		found := 0
		for i := range hinted.shards {
			a, b := &hinted.shards[i].table, &scanned.shards[i].table
			found += a.count
			if a.count != b.count {
				t.Fatalf("shard %d has %d records by hints, %d by scans", i, a.count, b.count)
			}
			for _, at := range a.slots {
				if at.loc != 0 && !b.has(at.hash, at.loc) {
					t.Fatalf("the record at %x is known by hints only", at.loc)
				}
			}
		}
		if found != records {
			t.Errorf("%d records were found, want %d", found, records)
		}
		rescans := 0
		for _, seg := range hinted.segments.list() {
			other := scanned.segments.get(seg.number)
			if !seg.sealed.Load() {
				continue // each store prepares its own
			}
			if got, want := seg.facts(), other.facts(); got != want {
				t.Errorf("segment %d: by hints %v, by scans %v", seg.number, got, want)
			}
			if !seg.hinted.Load() {
				rescans++
			}
		}
		if rescans > 0 {
			t.Errorf("%d segments have no hint", rescans)
		}
	})
}

// facts are what a tally comes to.
func (s *segment) facts() [3]int64 {
	return [3]int64{s.held.Load(), s.until.Load(), s.alive(s.created)}
}

// The size of segments may be changed while records in segments of another size are kept.
func TestSegmentSizesMayBeChanged(t *testing.T) {
	t.Parallel()
	for _, sizes := range [][2]int64{{16 * MinSegmentSize, MinSegmentSize}, {MinSegmentSize, 16 * MinSegmentSize}} {
		synctest.Test(t, func(t *testing.T) {
			large := Config{Dir: "/memory", SegmentSize: sizes[0]}
			w := &writer{T: t, s: large.on(t, newMemory(), nil)}
			size := int(sizes[0] / 4)
			kept := w.claim(w.key(), 0)
			w.complete(kept, size, 24*time.Hour)
			w.fill(time.Minute)
			if err := w.s.Close(); err != nil {
				t.Fatal(err)
			}
			w.s = Config{Dir: "/memory", SegmentSize: sizes[1]}.on(t, w.s.vol, nil)
			grown := w.claim(w.key(), 0)
			w.complete(grown, int(min(sizes[1]/4, 40<<10)), 24*time.Hour) // would fit into either
			for _, seg := range w.s.segments.list() {
				for _, r := range w.s.log.refs(seg) {
					if limit := seg.size/4 + entryOverhead; int64(r.size) > limit+entryOverhead {
						t.Errorf("%d bytes were written to a segment that takes entries of %d", r.size, limit)
					}
				}
			}
			w.fill(time.Minute)
			time.Sleep(time.Hour)
			check := func() {
				t.Helper()
				for _, k := range []once.Key{kept.Key, grown.Key} {
					w.is(k, once.Done)
				}
			}
			check()
			m := w.s.vol.(*memory)
			if err := w.s.Close(); err != nil {
				t.Fatal(err)
			}
			m.loseHints()
			w.s = Config{Dir: "/memory", SegmentSize: sizes[1]}.on(t, m, nil)
			check()
		})
	}
}
