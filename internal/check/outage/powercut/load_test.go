//go:build linux

package powercut_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/oncehq/once"
)

const (
	scope   = "powercut"
	callers = 8
	long    = 24 * time.Hour // leases and retentions: nothing ends by itself
)

// A fact is what a store has acknowledged of an operation.
type fact struct {
	id    string
	owner once.Owner
	fence uint64
	done  bool // the outcome too
}

// outcomeOf returns the outcome of an operation: from 32 bytes to 6 KiB that follow from its id.
func outcomeOf(id string) once.Outcome {
	sum := sha256.Sum256([]byte(id))
	data := sum[:]
	for range int(sum[0]) % 8 * int(sum[1]) % 190 {
		sum = sha256.Sum256(sum[:])
		data = append(data, sum[:]...)
	}
	return once.Outcome{Type: "application/octet-stream", Data: data}
}

// load claims operations and completes most of them, and notes what is acknowledged, until the
// context is done. The round makes the ids differ from those of other rounds.
func load(ctx context.Context, s once.Store, round string, note func(fact)) {
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				operate(ctx, s, fmt.Sprintf("%s-%d-%d", round, i, n), n%5 == 0, note)
			}
		})
	}
	all.Wait()
}

func operate(ctx context.Context, s once.Store, id string, claimOnly bool, note func(fact)) {
	k := once.Key{Scope: scope, ID: id}
	f := fact{id: id, owner: once.NewOwner()}
	rec, err := s.Claim(ctx, once.Claim{Key: k, Owner: f.owner, Lease: long})
	if err != nil {
		time.Sleep(time.Millisecond) // the power is off, and so is the load in a moment
		return
	}
	f.fence = rec.Fence
	note(f)
	if claimOnly || s.Complete(ctx, k, f.owner, outcomeOf(id), long) != nil {
		return
	}
	f.done = true
	note(f)
}

// String and parse carry facts from one process to another, a line each.
func (f fact) String() string { return fmt.Sprintf("%s %s %d %t", f.id, f.owner, f.fence, f.done) }

func parse(line string) (f fact, err error) {
	var owner string
	if _, err = fmt.Sscanf(line, "%s %s %d %t", &f.id, &owner, &f.fence, &f.done); err == nil {
		_, err = hex.Decode(f.owner[:], []byte(owner))
	}
	return f, err
}

// A ledger keeps facts until it is closed: what is acknowledged after the power was cut was never
// heard of.
type ledger struct {
	mu     sync.Mutex
	closed bool
	facts  map[string]fact
}

func newLedger() *ledger { return &ledger{facts: make(map[string]fact)} }

func (l *ledger) note(f fact) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.facts[f.id] = f
	}
}

// read notes the facts that a process writes, until it ends.
func (l *ledger) read(t testing.TB, from io.Reader) {
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		f, err := parse(lines.Text())
		if err != nil {
			t.Errorf("a process says %q: %v", lines.Text(), err)
			return
		}
		l.note(f)
	}
}

func (l *ledger) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
}

// acknowledged counts claims and outcomes.
func (l *ledger) acknowledged() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.facts)
	for _, f := range l.facts {
		if f.done {
			n++
		}
	}
	return n
}

// lost counts the claims and outcomes that the store has acknowledged and forgotten.
func (l *ledger) lost(t testing.TB, s once.Store) (lost int) {
	t.Helper()
	for _, f := range l.facts {
		k := once.Key{Scope: scope, ID: f.id}
		rec, err := s.Load(t.Context(), k)
		switch {
		case err != nil && !errors.Is(err, once.ErrNotFound):
			t.Fatalf("load after the power is back: %v", err)
		case rec.State == once.Done && !rec.Outcome.Equal(outcomeOf(f.id)):
			t.Fatalf("the outcome of %v has other bytes than were recorded", k)
		}
		if err != nil || rec.Owner != f.owner || rec.Fence != f.fence {
			lost++
		}
		if f.done && rec.State != once.Done {
			lost++
		}
	}
	return lost
}

func (l *ledger) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// loadFromHere puts a server under load: its clients have power.
func loadFromHere(ctx context.Context, t *testing.T, sys system, round string, l *ledger) (wait func()) {
	t.Helper()
	s, done := sys.open(t)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer done()
		load(ctx, s, round, l.note)
	}()
	return func() { <-ended }
}
