package oncedisk

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncehq/once"
)

// A byte of the store's files is changed. Then the store must refuse to open and say where, or
// say of the records concerned that they are unreadable: it must never show anything else than
// what was acknowledged.
func TestDamageIsNeverPassedOver(t *testing.T) {
	t.Parallel()
	for _, hints := range []bool{true, false} {
		t.Run(fmt.Sprint("hints ", hints), func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(2) {
				synctest.Test(t, func(t *testing.T) { damageEverywhere(t, seed, hints) })
			}
		})
	}
}

func damageEverywhere(t *testing.T, seed uint64, hints bool) {
	h, m := newHistory(t, seed), newMemory()
	h.steady = true
	s := quiet().on(t, m, nil)
	for range 300 {
		if err := h.run(s); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(2 * hintDelay)
	whole := h.pieces(s)
	m.mu.Lock()
	killed := m.crash(nil)
	m.mu.Unlock()
	if !hints {
		killed.loseHints()
		whole = slices.DeleteFunc(whole, func(p piece) bool { return strings.HasSuffix(p.name, hintSuffix) })
	}
	dice := rand.New(rand.NewPCG(seed, 3))
	refused, unreadable := 0, 0
	for range 60 {
		left := killed.crash(nil)
		p := whole[dice.IntN(len(whole))]
		at := p.from + dice.Int64N(p.to-p.from)
		left.names[p.name].data[at] ^= byte(1 << dice.IntN(8))
		switch err := h.shows(left, p, at); {
		case errors.Is(err, once.ErrUnreadable):
			unreadable++
		case err != nil:
			refused++
		}
	}
	t.Logf("seed %d: of 60 damaged stores %d were refused, and in %d others records were unreadable",
		seed, refused, unreadable)
	if refused == 0 || hints && unreadable == 0 {
		t.Error("damage was never noticed")
	}
}

// A piece is a stretch of a file that was acknowledged.
type piece struct {
	name     string
	from, to int64
}

func (h *history) pieces(s *Store) []piece {
	s.sweeping.Lock()
	defer s.sweeping.Unlock()
	pieces := []piece{{recordFormat.file, 0, 81}}
	for _, seg := range s.segments.list() {
		pieces = append(pieces, piece{segmentName(seg.number), 0, segmentHeader})
		for seg.end > segmentHeader && len(pieces)%20 != 0 { // mostly entries
			pieces = append(pieces, piece{segmentName(seg.number), segmentHeader, seg.end})
		}
		if seg.hinted.Load() {
			n := int64(len(s.vol.(*memory).names[hintName(seg.number)].data))
			pieces = append(pieces, piece{hintName(seg.number), 0, n})
		}
	}
	return pieces
}

// shows opens the store that is damaged at one place, and checks what it shows. It returns the
// error by which the damage was noticed, if it was.
func (h *history) shows(left *memory, p piece, at int64) (noticed error) {
	h.Helper()
	where := fmt.Sprintf("byte %d of %s changed", at, p.name)
	report, err := check(left)
	isHint := strings.HasSuffix(p.name, hintSuffix)
	if err == nil && (len(report.Damage) == 0) != isHint {
		h.Errorf("%s: check reports %v", where, report.Damage)
	}
	cfg := quiet()
	if err := cfg.check(); err != nil {
		h.Fatal(err)
	}
	s, err := open(left, cfg, origin{})
	if err != nil {
		h.blames(err, p, at)
		return err
	}
	defer s.Close()
	for k, b := range h.known {
		rec, err := s.Load(context.Background(), k)
		if errors.Is(err, once.ErrUnreadable) && b.kind != 0 {
			noticed = err
			if !strings.Contains(err.Error(), p.name) {
				h.Errorf("%s: the error does not say so: %v", where, err)
			}
			continue
		}
		if err := b.differs(rec, err); err != nil {
			h.Errorf("%s: operation %s: %v", where, k.ID, err)
		}
	}
	return noticed
}

// blames checks that the error says where the damage is.
func (h *history) blames(err error, p piece, at int64) {
	h.Helper()
	d, ok := errors.AsType[*DamageError](err)
	switch {
	case p.name == recordFormat.file || at < segmentHeader: // may look like another format
		if !strings.Contains(err.Error(), p.name) {
			h.Errorf("byte %d of %s changed: the error does not say so: %v", at, p.name, err)
		}
	case !ok || path.Base(d.File) != p.name || d.Offset > at:
		h.Errorf("byte %d of %s changed: the error does not say so: %v", at, p.name, err)
	}
}

// What can be read is saved from a damaged store, and what cannot is at worst in an earlier state.
func TestSalvageSavesWhatIsReadable(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		synctest.Test(t, func(t *testing.T) {
			h, m := newHistory(t, seed), newMemory()
			h.steady = true
			s := quiet().on(t, m, nil)
			for range 200 {
				if err := h.run(s); err != nil {
					t.Fatal(err)
				}
			}
			whole := h.pieces(s)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			dice := rand.New(rand.NewPCG(seed, 4))
			changed := 0
			for changed < int(seed) { // with seed 0 nothing is damaged
				p := whole[dice.IntN(len(whole))]
				if at := p.from + dice.Int64N(p.to-p.from); at >= segmentHeader && p.name != recordFormat.file {
					m.names[p.name].data[at] ^= 0x10
					changed++
				}
			}
			h.salvaged(m, changed)
		})
	}
}

func (h *history) salvaged(m *memory, changed int) {
	h.Helper()
	to := newMemory()
	before := m.String()
	report, err := salvage(m, to, quiet())
	if err != nil {
		h.Fatal(err)
	}
	if m.String() != before {
		h.Error("salvage changed the damaged store")
	}
	if len(report.Damage) > changed {
		h.Errorf("%d bytes were changed, but %d stretches are reported: %v", changed, len(report.Damage), report.Err())
	}
	s := quiet().on(h.T, to, nil)
	var lost, doubtful int
	for k, b := range h.known {
		rec, err := s.Load(context.Background(), k)
		switch {
		case b.differs(rec, err) == nil:
		case errors.Is(err, once.ErrNotFound):
			lost++
		case rec.State == once.Done:
			h.Errorf("operation %s is done, want it %v", k.ID, b.now().state())
		default:
			doubtful++
		}
	}
	h.Logf("%d bytes changed: %d stretches damaged, %d operations lost, %d set back",
		changed, len(report.Damage), lost, doubtful)
	if lost+doubtful > 2*changed {
		h.Errorf("%d bytes were changed, and %d operations lost, %d set back", changed, lost, doubtful)
	}
	if err := check2(to, s); err != nil {
		h.Error(err)
	}
}

// check2 checks a store after closing it.
func check2(m *memory, s *Store) error {
	if err := s.Close(); err != nil {
		return err
	}
	r, err := check(m)
	if err != nil {
		return err
	}
	return r.Err()
}

func TestCheckCountsRecords(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWriter(t)
		w.claim(w.key(), 0)
		for i := range 10 {
			w.complete(w.claim(w.key(), 0), 100, []time.Duration{time.Second, time.Hour}[i%2])
		}
		c := once.Claim{Key: w.key(), Owner: once.NewOwner(), Lease: time.Hour}
		if _, err := w.s.Claim(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if err := w.s.Close(); err != nil {
			t.Fatal(err)
		}
		m := w.s.vol.(*memory)
		m.onStep(func(op, name string) error {
			t.Errorf("check did %s on %s", op, name)
			return nil
		})
		r, err := check(m)
		if err != nil || r.Err() != nil {
			t.Fatal(err, r.Err())
		}
		if r.Done != 5 || r.Over != 5 || r.InDoubt != 1 || r.InFlight != 1 || r.Unfinished {
			t.Errorf("got %+v, want 5 done, 5 over, 1 in doubt, 1 in flight", r)
		}
	})
}
