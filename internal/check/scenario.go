package check

import (
	"slices"
	"time"

	"github.com/oncehq/once"
)

// A scenario says who asks for what, over which store, and how much may go wrong. Everything
// that can happen within it follows from the scheduler's choices.
type scenario struct {
	name   string
	policy once.Policy
	calls  [][]call // for each caller, what it asks for, one after the other

	// process says in which process each caller is. Callers in one process share a guard, and
	// crash together. Defaults to a process for each caller.
	process []int

	// alike says that the callers are interchangeable. Then of histories that differ only in
	// who is who one is enough: callers take their first step in the order of their numbers.
	alike bool

	endings   []ending      // how operations may end; defaults to succeeds
	wait      time.Duration // Config.Wait
	attempts  int           // Config.MaxAttempts; defaults to 3
	retention time.Duration // Config.Retention; defaults to a day
	limits    limits

	// timed says that pauses take time, and that callers keep their guard from call to call.
	timed bool

	// rate is how fast the store's clock is by those of the clients. Defaults to as fast.
	rate float64

	cache  int64 // Config.CacheBytes
	waiter bool  // the store is a [once.Waiter]

	// passages are for how long time may pass at once. Defaults to a third of a lease, after
	// which it is renewed, and to a whole one.
	passages []time.Duration

	// transactional says that operations run in a transaction of the store.
	transactional bool

	// What mutants replace. The zero value of each is what is right.
	mutant mutant
}

// A call is one request for an operation.
type call struct {
	key   once.Key
	body  byte          // what is asked for: other bytes have other fingerprints; zero has none
	steps []string      // within the operation, before its effect
	lock  bool          // asks for a lock rather than for an operation
	works time.Duration // before the effect; only in a bubble
	heeds bool          // the end of the context while it works
}

func (c call) fingerprint() once.Fingerprint {
	if c.body == 0 || c.lock {
		return once.Fingerprint{}
	}
	return once.FingerprintOf([]byte{c.body})
}

// limits say how often each kind of thing may happen in one history. Without limits histories
// would have no end: a reply can be lost again and again.
type limits struct {
	misfortunes int // of all those that follow, up to powerCuts

	faults      int // a verb is not carried out, or its reply is lost
	late        int // a verb is carried out later, after the caller was told that it is unknown
	crashes     int // of processes
	expiries    int // the store's clock moves to the end of a lease
	retirements int // the store's clock moves to the end of a retention, or of Claim.Forget
	hangUps     int // a caller's context is cancelled
	operators   int // somebody resolves an operation in doubt
	partings    int // a process is cut off from the store for some time
	powerCuts   int // the store forgets what it has not made durable

	endings  int // an operation ends in another than the first of its ways
	renewals int // an owner's lease is renewed
	passes   int // time passes, and timers fire; only in a bubble
}

// allow reports whether one more misfortune may strike, of the kind of which n are left.
func (l *limits) allow(n int) bool { return n > 0 && l.misfortunes > 0 }

// spend takes note of a misfortune.
func (l *limits) spend(n *int) { *n--; l.misfortunes-- }

const unlimited = 1 << 30

const (
	lease = time.Hour // of every claim
	day   = 24 * time.Hour
	// forgetAfter is Config.Forget under Rerun.
	forgetAfter = 2 * lease
)

func (sc *scenario) withDefaults() *scenario {
	full := *sc
	if full.process == nil {
		for i := range full.calls {
			full.process = append(full.process, i)
		}
	}
	if full.endings == nil {
		full.endings = []ending{succeeds}
	}
	if full.passages == nil {
		full.passages = []time.Duration{lease / 3, lease + 1}
	}
	if full.attempts == 0 {
		full.attempts = 3
	}
	if full.retention == 0 {
		full.retention = day
	}
	return &full
}

// keys returns the keys that are asked for, each once.
func (sc *scenario) keys() []once.Key {
	var keys []once.Key
	for _, calls := range sc.calls {
		for _, c := range calls {
			if !c.lock && !slices.Contains(keys, c.key) {
				keys = append(keys, c.key)
			}
		}
	}
	return keys
}

func (sc *scenario) policyOf(k once.Key) policy {
	if isLock(k) {
		return locks
	}
	if sc.transactional {
		return tx
	}
	if sc.policy == once.Hold {
		return hold
	}
	return rerun
}
