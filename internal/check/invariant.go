package check

import "fmt"

// invariants are what must hold in every history, by the numbers of docs/DESIGN.md. The last one
// is there a rule of the guard; it holds while the store's clock is no faster than the owner's.
var invariants = [...]string{
	1:  "a completed record's bytes never change until it expires",
	2:  "every replay is byte-identical to the first stored outcome",
	3:  "no outcome leaves the process before the store acknowledged it",
	4:  "at most one owner exists for whom renew, complete or release would succeed",
	5:  "a stale owner's renew, complete and release change nothing and return ErrLost",
	6:  "the effects of an operation are bounded: Hold 1, transaction 1, Rerun one an attempt",
	7:  "a differing fingerprint never executes and never receives the stored body",
	8:  "attempt numbers only grow while the record lives, and fences always",
	9:  "a record in flight or in doubt leaves only by complete, release, an operator or Forget",
	10: "while the store is up, some later caller reaches done or in doubt within one lease",
	11: "one scope cannot observe another",
	12: "repeating a verb with the same owner changes nothing",
	13: "a client's clock that is wrong changes nothing",
	14: "an owner's context is cancelled by the time that its lease is over",
}

// A violation is an invariant that did not hold.
type violation struct {
	invariant int
	text      string
}

func (v *violation) String() string {
	return fmt.Sprintf("invariant %d (%s): %s", v.invariant, invariants[v.invariant], v.text)
}

// violate notes that an invariant does not hold. Only the first violation of a history counts:
// what follows from it may be anything.
func (w *world) violate(invariant int, format string, args ...any) {
	if w.violation == nil {
		w.violation = &violation{invariant, fmt.Sprintf(format, args...)}
	}
}

// broken reports whether ok is false, and notes that the invariant was looked at. The counts show
// that a check is not vacuous: that histories reach the situation that it is about.
func (w *world) broken(invariant int, ok bool) bool {
	w.looked[invariant]++
	return !ok
}
