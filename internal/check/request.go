package check

import (
	"context"
	"errors"
	"time"

	"github.com/oncehq/once"
)

// A verb is what a caller can ask of the world around it: the verbs of the store, and the points
// within an operation at which the world may interfere.
type verb uint8

const (
	claim verb = iota
	renew
	complete
	release
	load
	effect // the operation is about to take effect; the reply says how it ends
	nap    // the caller waits for another one, or works
)

var verbNames = [...]string{"claim", "renew", "complete", "release", "load", "effect", "nap"}

func (v verb) String() string { return verbNames[v] }

// isStores reports whether v is one of the store's.
func (v verb) isStores() bool { return v <= load }

// A request is what stops a caller until the scheduler replies.
type request struct {
	caller  *caller
	ctx     context.Context
	beat    bool // a renewal by the guard's timer, not by the caller itself
	verb    verb
	key     int           // index of the operation
	claim   once.Claim    // of claim
	owner   once.Owner    // of renew, complete, release, effect
	outcome outcome       // of complete
	lasting time.Duration // the lease of renew, the retention of complete
	reply
	replied chan struct{} // closed when the reply is there; nil in a coroutine
}

// A reply lets a caller go on.
type reply struct {
	rec    once.Record
	err    error
	ending ending
}

// errUnknown is the reply to a verb of which the caller shall not know whether it was carried out.
var errUnknown = errors.New("check: connection lost")

// An ending is how an operation ends.
type ending uint8

const (
	succeeds  ending = iota
	fails            // finally
	nothing          // fails before its effect, and says so with NoEffect
	unclear          // fails after its effect, with an error that says nothing
	panics           // after its effect
	giveUp           // fails before its effect, with an error that says nothing
	rollsBack        // the transaction in which it ran is rolled back
)

var endingNames = [...]string{
	"succeeds", "fails finally", "has no effect", "ends unclear", "panics", "gives up", "rolls back",
}

func (e ending) String() string { return endingNames[e] }

// hasEffect reports whether the effect takes place.
func (e ending) hasEffect() bool { return e != nothing && e != giveUp && e != rollsBack }
