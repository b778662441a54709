package once

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"strconv"
	"time"
)

// Forever is a retention that never ends.
const Forever = time.Duration(math.MaxInt64)

// An Outcome is what an operation came to.
//
// Data is shared, not copied: nobody may change it once it was handed to a [Store] or received
// from one.
type Outcome struct {
	Failed bool   // a final failure, to be replayed like a result
	Type   string // media type of Data, at most 255 bytes
	Data   []byte
}

// Equal reports whether o and other are the same outcome byte for byte.
func (o Outcome) Equal(other Outcome) bool {
	return o.Failed == other.Failed && o.Type == other.Type && string(o.Data) == string(other.Data)
}

// A State is the state of a recorded operation. An operation without a record is absent.
type State uint8

const (
	InFlight State = 1 + iota // claimed, and the lease is running
	InDoubt                   // claimed, the lease is over, and nobody said what happened
	Done                      // has an outcome
)

// String returns "in-flight", "in-doubt" or "done".
func (s State) String() string {
	switch s {
	case InFlight:
		return "in-flight"
	case InDoubt:
		return "in-doubt"
	case Done:
		return "done"
	}
	return "State(" + strconv.Itoa(int(s)) + ")"
}

// ParseState is the inverse of [State.String].
func ParseState(s string) (State, error) {
	for _, st := range []State{InFlight, InDoubt, Done} {
		if st.String() == s {
			return st, nil
		}
	}
	return 0, fmt.Errorf("once: unknown state %q; use in-flight, in-doubt or done", s)
}

// A Claim asks for the ownership of an operation, for one attempt.
type Claim struct {
	Key         Key         // Required.
	Fingerprint Fingerprint // zero: not compared
	Owner       Owner       // Required.

	// Lease is how long the claim stands without renewal, by the store's clock. Required.
	Lease time.Duration

	// Takeover allows the claim to take over a record in doubt that has had fewer attempts
	// than this. Zero: a record in doubt is never taken over.
	Takeover int

	// Forget allows the store to forget the record once it has been in doubt this long.
	// Zero: never.
	Forget time.Duration
}

// Check reports everything that is wrong with c, or nil. Stores call it first in Claim.
func (c Claim) Check() error {
	var errs []error
	if err := c.Key.Check(); err != nil {
		errs = append(errs, err)
	}
	if c.Owner == (Owner{}) {
		errs = append(errs, errors.New("once: claim: owner is zero; use NewOwner"))
	}
	if c.Lease <= 0 {
		errs = append(errs, fmt.Errorf("once: claim: lease is %v; it must be positive", c.Lease))
	}
	if c.Takeover < 0 {
		errs = append(errs, fmt.Errorf("once: claim: takeover is %d; it must not be negative", c.Takeover))
	}
	if c.Forget < 0 {
		errs = append(errs, fmt.Errorf("once: claim: forget is %v; it must not be negative", c.Forget))
	}
	return errors.Join(errs...)
}

// A Record is what a store knows of an operation.
type Record struct {
	Key         Key
	Fingerprint Fingerprint
	Owner       Owner // of the latest attempt; kept when done
	State       State
	Outcome     Outcome // when done

	// Attempt counts the owners that the record has had, from 1. It grows with every takeover
	// while the record lives.
	Attempt int

	// Fence grows with every claim of the key, also after release and expiry. Hand it to the
	// resource that the operation changes, and let that refuse any smaller number.
	Fence uint64

	// Created is when the record came to be, by the store's clock. For people only.
	Created time.Time

	// Lease is what is left of the lease when in flight. When in doubt it is zero or negative:
	// for how long the record has been in doubt, if the store knows.
	Lease time.Duration

	// Retention is what is left of the retention when done.
	Retention time.Duration
}

// Won reports whether r, returned for the claim c, makes the caller the owner.
func (r Record) Won(c Claim) bool { return r.Owner == c.Owner && r.State == InFlight }

// A Store keeps records. Each verb is one atomic step: whatever happens to the caller, to the
// connection or to the store, a verb is carried out whole or not at all, and all verbs on one key
// appear to happen one after the other. Durations go in, never instants: only the store's own
// clock decides when a lease or a retention is over.
//
// Methods may be called by many goroutines at once. An error that is none of this package's
// means that it is unknown whether the verb was carried out; repeating any verb with the same
// arguments is safe. A verb whose context is done before it starts must change nothing.
// Keys are binary: stores must accept every [Key] that passes [Key.Check], and keep keys apart
// that differ in any byte.
//
// Package oncetest checks a Store against this contract.
type Store interface {
	// Claim makes the caller the owner of an operation that is absent or whose retention is
	// over, and otherwise returns the standing record. The caller has won if and only if
	// [Record.Won] says so.
	//
	// If a standing record's fingerprint does not match, Claim must return ErrMismatch and the
	// zero Record, and change nothing, whatever the state. Repeating a claim with the same owner
	// must change nothing and return the record as it stands. A record in doubt must be taken
	// over only if Takeover is greater than its Attempt and its owner is another: then owner, lease and
	// forget are the claim's, and Attempt is one more. Of many claims on an absent key exactly one
	// must win. A store that has no room must refuse the claim with ErrFull rather than drop a
	// record.
	Claim(ctx context.Context, c Claim) (Record, error)

	// Renew makes the lease end this long from now; zero ends it at once, which puts the
	// operation in doubt. A record in doubt that nobody took over may be renewed. It must return
	// ErrLost and change nothing unless the caller is the owner and there is no outcome.
	Renew(ctx context.Context, k Key, o Owner, lease time.Duration) error

	// Complete records the outcome, which answers for the retention, counted from now. It must
	// succeed also when the lease is over, if nobody took over. Retention zero removes the
	// record. It must return ErrLost and change nothing unless the caller is the owner and there
	// is no outcome; but repeating it with the same owner and outcome must return nil.
	// It may return ErrTooLarge, if the store says up front which size that is.
	Complete(ctx context.Context, k Key, o Owner, out Outcome, retention time.Duration) error

	// Release removes the claim, by which the owner asserts that nothing happened. It must
	// return ErrLost and change nothing unless the caller is the owner and there is no outcome.
	Release(ctx context.Context, k Key, o Owner) error

	// Load returns the record, or ErrNotFound if the operation is absent or its retention over.
	Load(ctx context.Context, k Key) (Record, error)
}

// A Lister is a [Store] that can list its records.
type Lister interface {
	// List yields the records that match, in no particular order, with Outcome.Data left out.
	// A record that changes meanwhile may be yielded as it was or as it is. The iteration ends
	// after the first error.
	List(ctx context.Context, f Filter) iter.Seq2[Record, error]
}

// A Filter selects records. Its zero value selects all.
type Filter struct {
	Scope     string        // exactly this scope; empty: any
	State     State         // zero: any
	OlderThan time.Duration // created at least this long ago
}

// A Sweeper is a [Store] in which records that are over take up room until they are swept.
// Records that are over are absent to every verb, swept or not.
type Sweeper interface {
	// Sweep removes records that are over, without stopping other verbs, and reports how many.
	Sweep(ctx context.Context) (int, error)
}

// A Waiter is a [Store] that can tell when an operation is no longer in flight.
type Waiter interface {
	// Wait returns nil once the operation is not in flight under this owner: done, released,
	// ended or taken over. It must notice every such change that happens after it was called or
	// before, but need not notice that a lease ran out; and it may return nil too early.
	Wait(ctx context.Context, k Key, o Owner) error
}

// A Batcher is a [Store] that takes many claims in one round trip.
type Batcher interface {
	// ClaimBatch does what Claim does for each of the claims, which must have different keys.
	// Each claim is atomic by itself, not the batch. The results are in the order of the claims.
	ClaimBatch(ctx context.Context, claims []Claim) []ClaimResult
}

// A ClaimResult is what came of one claim of a batch.
type ClaimResult struct {
	Record Record
	Err    error
}

// A Forgetter is a [Store] from which an operator can remove a record in any state. After that
// the operation may happen again.
type Forgetter interface {
	// Forget removes the record if its owner is still this one, else it returns ErrLost, or
	// ErrNotFound if the operation is absent.
	Forget(ctx context.Context, k Key, o Owner) error
}

// A Binder is a [Store] that has something to hand to the operation, such as the transaction
// in which it runs.
type Binder interface {
	// Bind returns a context derived from ctx for the attempt that won rec.
	Bind(ctx context.Context, rec Record) context.Context
}
