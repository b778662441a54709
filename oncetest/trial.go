package oncetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/oncehq/once"
)

// long is a lease or retention that is not over before the test is.
const long = time.Hour

// A trial is one property's story being told to a store. Its verbs fail the test when the store
// does not do what the story says.
type trial struct {
	*testing.T
	opt   Options
	ctx   context.Context
	store once.Store
	rnd   *rand.Rand
	scope string // no other trial uses it
	keys  int
}

func newTrial(t *testing.T, o Options) *trial {
	x := &trial{
		T:     t,
		opt:   o,
		ctx:   t.Context(),
		rnd:   rand.New(rand.NewPCG(o.Seed, 0)),
		scope: "oncetest/" + once.NewOwner().String(),
	}
	t.Logf("oncetest: Options.Seed is %d", o.Seed)
	x.store = o.Open(t)
	return x
}

// key returns a key that was not used before.
func (x *trial) key() once.Key {
	x.keys++
	return once.Key{Scope: x.scope, ID: fmt.Sprintf("id-%d", x.keys)}
}

// newClaim returns a claim on a key that was not used before.
func (x *trial) newClaim() once.Claim { return x.claimOn(x.key()) }

// claimOn returns a claim on the key by a new owner.
func (x *trial) claimOn(k once.Key) once.Claim {
	fp := once.FingerprintOf([]byte("what is asked of " + k.ID))
	return once.Claim{Key: k, Fingerprint: fp, Owner: once.NewOwner(), Lease: long}
}

// outcome returns an outcome that differs from every other.
func (x *trial) outcome() once.Outcome {
	return once.Outcome{Type: "text/plain", Data: []byte(once.NewOwner().String())}
}

// wins makes the claim, which must make the caller the owner.
func (x *trial) wins(c once.Claim) once.Record {
	x.Helper()
	rec, err := x.store.Claim(x.ctx, c)
	x.ok(err, "claim")
	if !rec.Won(c) {
		x.Fatalf("the claim did not win: got a record %v of owner %v, want in-flight of %v",
			rec.State, rec.Owner, c.Owner)
	}
	if rec.Key != c.Key {
		x.Fatalf("the claim won a record with key %q, want %q", rec.Key, c.Key)
	}
	if rec.Attempt < 1 || rec.Fence == 0 {
		x.Fatalf("the claim won with attempt %d and fence %d, want both positive", rec.Attempt, rec.Fence)
	}
	return rec
}

// winsAnew makes the claim, which must win as the first on an absent key.
func (x *trial) winsAnew(c once.Claim) once.Record {
	x.Helper()
	rec := x.wins(c)
	if rec.Attempt != 1 {
		x.Fatalf("claim of an absent key: attempt is %d, want 1", rec.Attempt)
	}
	if rec.Fingerprint != c.Fingerprint {
		x.Fatal("claim of an absent key: the record has another fingerprint than the claim")
	}
	return rec
}

// stands makes the claim, which must not win, and returns the standing record.
func (x *trial) stands(c once.Claim) once.Record {
	x.Helper()
	rec, err := x.store.Claim(x.ctx, c)
	if x.opt.Transactional && errors.Is(err, once.ErrInFlight) {
		return once.Record{Key: c.Key, State: once.InFlight}
	}
	x.ok(err, "claim")
	if rec.Won(c) {
		x.Fatal("the claim won, though a record stands")
	}
	return rec
}

func (x *trial) ok(err error, what string) {
	x.Helper()
	if err != nil {
		x.Fatalf("%s: got error %q, want none", what, err)
	}
}

// fails checks that err is the error that was to be expected.
func (x *trial) fails(want, err error, what string) {
	x.Helper()
	if !errors.Is(err, want) {
		x.Fatalf("%s: got error %v, want %v", what, err, want)
	}
}

// completes records the outcome for the retention.
func (x *trial) completes(c once.Claim, out once.Outcome, retention time.Duration) {
	x.Helper()
	x.ok(x.store.Complete(x.ctx, c.Key, c.Owner, out, retention), "complete by the owner")
}

// doubts ends the lease at once.
func (x *trial) doubts(c once.Claim) {
	x.Helper()
	x.ok(x.store.Renew(x.ctx, c.Key, c.Owner, 0), "end of the lease by the owner")
	if got := x.load(c.Key).State; got != once.InDoubt {
		x.Fatalf("after its lease was ended, the operation is %v, want in-doubt", got)
	}
}

// load returns the record, which must exist.
func (x *trial) load(k once.Key) once.Record {
	x.Helper()
	rec, err := x.store.Load(x.ctx, k)
	x.ok(err, "load")
	if rec.Key != k {
		x.Fatalf("load returned the record of %q, want that of %q", rec.Key, k)
	}
	return rec
}

// holds checks that the operation is done with this outcome.
func (x *trial) holds(k once.Key, want once.Outcome) once.Record {
	x.Helper()
	rec := x.load(k)
	if rec.State != once.Done {
		x.Fatalf("the operation is %v, want done", rec.State)
	}
	if !rec.Outcome.Equal(want) {
		x.Fatalf("the outcome is %s, want %s", outline(rec.Outcome), outline(want))
	}
	return rec
}

// absent checks that the operation has no record.
func (x *trial) absent(k once.Key) {
	x.Helper()
	rec, err := x.store.Load(x.ctx, k)
	if !errors.Is(err, once.ErrNotFound) {
		x.Fatalf("the operation is %v (error %v), want absent", rec.State, err)
	}
}

// standing lists the states in which a record can stand.
func (x *trial) standing() []once.State {
	if x.opt.Transactional {
		return []once.State{once.Done}
	}
	return []once.State{once.InFlight, once.InDoubt, once.Done}
}

// record brings a new operation into the state, and returns the claim that did it.
func (x *trial) record(s once.State) once.Claim {
	x.Helper()
	c := x.newClaim()
	x.winsAnew(c)
	switch s {
	case once.InDoubt:
		x.doubts(c)
	case once.Done:
		x.completes(c, x.outcome(), long)
	}
	return c
}

// describe tells a record in a line, without its key.
func describe(r once.Record) string {
	if r.State == 0 {
		return "{absent}"
	}
	return fmt.Sprintf("{%v, owner %v, attempt %d, fence %d, lease %v, retention %v, outcome %s}",
		r.State, r.Owner, r.Attempt, r.Fence, r.Lease, r.Retention, outline(r.Outcome))
}

// outline describes an outcome in a line.
func outline(o once.Outcome) string {
	const show = 40
	data, more := o.Data, ""
	if len(data) > show {
		data, more = data[:show], "…"
	}
	return fmt.Sprintf("{failed %v, type %q, %d bytes %q%s}", o.Failed, o.Type, len(o.Data), data, more)
}
