package oncedisk

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncehq/once"
)

// A writer makes records with less ado.
type writer struct {
	*testing.T
	s *Store
	n int
}

func (w *writer) key() once.Key {
	w.n++
	return once.Key{Scope: "writer", ID: fmt.Sprint(w.n)}
}

func (w *writer) claim(k once.Key, forget time.Duration) once.Claim {
	w.Helper()
	c := once.Claim{Key: k, Owner: once.NewOwner(), Lease: time.Second, Forget: forget, Takeover: 100}
	rec, err := w.s.Claim(context.Background(), c)
	if err != nil || !rec.Won(c) {
		w.Fatalf("claim: %v, error %v", rec.State, err)
	}
	return c
}

func (w *writer) complete(c once.Claim, size int, retention time.Duration) {
	w.Helper()
	out := once.Outcome{Type: "text/plain", Data: make([]byte, size)}
	if err := w.s.Complete(context.Background(), c.Key, c.Owner, out, retention); err != nil {
		w.Fatalf("complete: %v", err)
	}
}

// fill completes operations for the retention until the log has gone on to another segment.
func (w *writer) fill(retention time.Duration) {
	w.Helper()
	for number := w.s.log.number(); w.s.log.number() == number; {
		w.complete(w.claim(w.key(), 0), 5000, retention)
	}
}

func (w *writer) is(k once.Key, want once.State) {
	w.Helper()
	rec, err := w.s.Load(context.Background(), k)
	if rec.State != want || (want == 0) != (err != nil) {
		w.Fatalf("operation %s is %v (error %v), want %v", k.ID, rec.State, err, want)
	}
}

// killed opens what a killed process leaves, and goes on with that. It opens it also without the
// hints, so that all is read that the segments say.
func (w *writer) killed(check func()) {
	w.Helper()
	m := w.s.vol.(*memory)
	m.mu.Lock()
	left, bare := m.crash(nil), m.crash(nil)
	m.mu.Unlock()
	bare.loseHints()
	w.s = small.on(w.T, bare, nil)
	check()
	w.s = small.on(w.T, left, nil)
	check()
}

func newWriter(t *testing.T) *writer { return &writer{T: t, s: small.on(t, newMemory(), nil)} }

// What ended a claim may expire, and be deleted, before the claim's own segment is. That must not
// bring the claim back.
func TestClaimsStayEndedWhenWhatEndedThemIsDeleted(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	ways := map[string]func(w *writer, c once.Claim){
		"completed": func(w *writer, c once.Claim) { w.complete(c, 10, time.Second) },
		"released":  func(w *writer, c once.Claim) { w.s.Release(ctx, c.Key, c.Owner) },
		"forgotten": func(w *writer, c once.Claim) { w.s.Forget(ctx, c.Key, c.Owner) },
		"completed for no time": func(w *writer, c once.Claim) {
			w.complete(c, 10, 0)
		},
		"completed for long, and forgotten": func(w *writer, c once.Claim) {
			w.complete(c, 10, time.Hour)
			w.s.Forget(ctx, c.Key, c.Owner)
		},
		"taken over, and completed": func(w *writer, c once.Claim) {
			time.Sleep(time.Second)
			w.complete(w.claim(c.Key, 0), 10, time.Second)
		},
		"completed, claimed again and released": func(w *writer, c once.Claim) {
			w.complete(c, 10, time.Second)
			time.Sleep(time.Second)
			next := w.claim(c.Key, 0)
			w.s.Release(ctx, next.Key, next.Owner)
		},
	}
	for way, end := range ways {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWriter(t)
				early := w.claim(w.key(), 0)
				w.fill(once.Forever)
				first, second := w.s.segments.get(1), w.s.log.number()
				end(w, early)
				w.fill(time.Second)
				third := w.s.log.number()
				time.Sleep(time.Minute)
				if w.s.segments.get(second) != nil || w.s.segments.get(1) != first {
					t.Fatal("the test is wrong: the second segment should have been deleted, and not the first")
				}
				gone := func() { w.is(early.Key, 0) }
				gone()
				w.killed(gone)
				w.killed(gone)

				// What keeps the claim from coming back is deleted in its turn.
				w.fill(time.Second)
				time.Sleep(time.Minute)
				if w.s.segments.get(third) != nil {
					t.Fatal("the test is wrong: the third segment should have been deleted")
				}
				w.killed(gone)
			})
		})
	}
}

// A done record that was removed before its time must not come back while its segment lives.
func TestForgottenRecordsStayForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWriter(t)
		done := w.claim(w.key(), 0)
		w.complete(done, 10, time.Hour)
		w.fill(once.Forever)
		second := w.s.log.number()
		if err := w.s.Forget(context.Background(), done.Key, done.Owner); err != nil {
			t.Fatal(err)
		}
		w.fill(time.Second)
		time.Sleep(time.Minute)
		if w.s.segments.get(second) != nil {
			t.Fatal("the test is wrong: the second segment should have been deleted")
		}
		w.killed(func() { w.is(done.Key, 0) })
	})
}

// The same, for a record that was carried elsewhere before.
func TestForgottenRecordsStayForgottenAfterTheyWereCarried(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWriter(t)
		done, other := w.claim(w.key(), 0), w.claim(w.key(), 0)
		w.complete(done, 10, time.Hour)
		w.complete(other, 10, time.Hour)
		w.fill(time.Second)
		time.Sleep(time.Minute)
		if w.s.segments.get(1) != nil {
			t.Fatal("the test is wrong: the first segment should have been deleted")
		}
		last := w.s.log.number()
		if err := w.s.Forget(context.Background(), done.Key, done.Owner); err != nil {
			t.Fatal(err)
		}
		w.fill(time.Second)
		time.Sleep(time.Minute)
		if w.s.segments.get(last) != nil {
			t.Fatal("the test is wrong: the segment of the removal should have been deleted")
		}
		w.killed(func() {
			w.is(done.Key, 0)
			w.is(other.Key, once.Done)
		})
	})
}

// A hint may leave out what is not a key's state any more, unless that keeps a claim in an earlier
// segment from coming back.
func TestHintsKeepClaimsEnded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWriter(t)
		early := w.claim(w.key(), 0)
		w.fill(once.Forever)
		time.Sleep(2 * hintDelay) // the first segment's hint says that the claim stands
		w.complete(early, 10, time.Second)
		w.fill(once.Forever)
		time.Sleep(time.Second)
		third := w.s.log.number()
		w.complete(w.claim(early.Key, 0), 10, time.Second)
		w.fill(time.Second)
		time.Sleep(time.Minute)
		if w.s.segments.get(third) != nil {
			t.Fatal("the test is wrong: the third segment should have been deleted")
		}
		w.killed(func() { w.is(early.Key, 0) })
	})
}

// Records that outlive the rest of their segment are carried elsewhere, and the segment goes.
func TestStragglersOutliveTheirSegment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWriter(t)
		var kept []once.Key
		held := map[once.Key]once.State{}
		for range 40 {
			long := w.claim(w.key(), 0)
			w.complete(long, 100, time.Hour)
			kept = append(kept, long.Key)
			doubt := w.claim(w.key(), 0)
			held[doubt.Key] = once.InDoubt
			w.fill(time.Second)
		}
		forgettable := w.claim(w.key(), time.Minute)
		w.fill(time.Second)
		segments := len(w.s.segments.list())
		time.Sleep(10 * time.Second)
		if left := len(w.s.segments.list()); left > 6 || segments < 40 {
			t.Errorf("of %d segments %d are left, want at most 6", segments, left)
		}
		check := func() {
			for _, k := range kept {
				w.is(k, once.Done)
			}
			for k, state := range held {
				w.is(k, state)
			}
			w.is(forgettable.Key, once.InDoubt)
		}
		check()
		w.killed(check)
		time.Sleep(2 * time.Hour)
		for _, k := range kept {
			w.is(k, 0)
		}
		w.is(forgettable.Key, 0)
		for k, state := range held {
			w.is(k, state)
		}
		if left := len(w.s.segments.list()); left > 4 {
			t.Errorf("%d segments are left, want at most 4", left)
		}
	})
}

// Once nothing more expires, sweeping must stop: two segments with unfinished claims could drive
// each other out for ever.
func TestExpiryComesToRest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWriter(t)
		for range 10 {
			for range 40 {
				w.claim(w.key(), 0)
			}
			w.fill(time.Second)
			w.complete(w.claim(w.key(), 0), 2000, once.Forever)
		}
		for range 3 {
			time.Sleep(time.Hour)
			m := w.s.vol.(*memory)
			var steps int
			m.onStep(func(string, string) error { steps++; return nil })
			time.Sleep(100 * 24 * time.Hour)
			m.onStep(nil)
			if steps > 0 {
				t.Errorf("a store in which nothing happens changed its files %d times", steps)
			}
			for range 5 {
				if _, err := w.s.Sweep(context.Background()); err != nil {
					t.Fatal(err)
				}
			}
			w.killed(func() {})
		}
		count := 0
		for rec, err := range w.s.List(context.Background(), once.Filter{}) {
			if err != nil {
				t.Fatal(err)
			}
			if rec.State == once.InDoubt || rec.State == once.Done {
				count++
			}
		}
		if count != 410 {
			t.Errorf("%d records are left, want 410", count)
		}
	})
}

// The space of records that are over comes back though they were written between others.
func TestMixedRetentionsGiveTheirSpaceBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWriter(t)
		var long int64
		for i := range 400 {
			retention := []time.Duration{time.Minute, time.Minute, time.Minute, 24 * time.Hour}[i%4]
			if retention > time.Hour {
				long += 2000
			}
			w.complete(w.claim(w.key(), 0), 2000, retention)
		}
		time.Sleep(5 * time.Minute)
		var used int64
		for _, seg := range w.s.segments.list() {
			if seg.sealed.Load() {
				used += seg.end
			}
		}
		if used > 2*long {
			t.Errorf("sealed segments take %d bytes for %d bytes of outcomes", used, long)
		}
		time.Sleep(25 * time.Hour)
		if n := len(w.s.segments.list()); n > 3 {
			t.Errorf("%d segments are left when all is over", n)
		}
	})
}
