package oncemsg

import (
	"errors"
	"fmt"
	"time"

	"github.com/oncehq/once"
)

// A Kind says what came of a delivery.
type Kind uint8

const (
	// Ran: the handler ran and its outcome is recorded.
	Ran Kind = 1 + iota

	// Duplicate: the message was done before. The handler did not run; what it had emitted was
	// published again.
	Duplicate

	// InFlight: another copy is being run. It must not be acknowledged: the original may fail yet.
	InFlight

	// Failed: the handler failed, or its transaction was rolled back. The message is to be
	// delivered again.
	Failed

	// Rejected: the handler failed for good, now or when it ran for an earlier copy.
	Rejected

	// Poisoned: the attempts are used up, or the record is damaged, and nobody knows if the message
	// was dealt with.
	Poisoned

	// Mismatch: the key is that of another message: the same id with other contents.
	Mismatch

	// TooOld: the message is old enough to have been done and forgotten, and no record was
	// found; see [Config.TooOld]. The handler did not run.
	TooOld

	// Unnamed: the message has nothing that tells it from others, or [Config.Key] or
	// [Config.Fingerprint] has panicked at it.
	Unnamed

	// Unpublished: the outcome is recorded, but what the handler emitted was not published. It
	// will be when the message is delivered again, unless it never can be.
	Unpublished

	// Unacknowledged: the handler ran, but it is unknown if its outcome was recorded, or another
	// owner has taken over. The next delivery finds out.
	Unacknowledged

	// Unavailable: the store did not answer or has no room. The handler did not run.
	Unavailable
)

var kindNames = [...]string{
	"", "ran", "duplicate", "in-flight", "failed", "rejected", "poisoned", "mismatch", "too-old",
	"unnamed", "unpublished", "unacknowledged", "unavailable",
}

// String returns the kind in lower case.
func (k Kind) String() string {
	if int(k) < len(kindNames) && k != 0 {
		return kindNames[k]
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// A Verb is what the broker has to be told.
type Verb uint8

const (
	// Ack: the message is dealt with.
	Ack Verb = 1 + iota

	// Retry: deliver it again, not before Decision.After. A broker that cannot deliver one
	// message again must not be told that it is done, nor a later one of the same partition:
	// pause, and hand the message over again.
	Retry

	// DeadLetter: another delivery would not help. Set it aside for people.
	DeadLetter
)

// String returns the verb in lower case.
func (v Verb) String() string {
	switch v {
	case Ack:
		return "ack"
	case Retry:
		return "retry"
	case DeadLetter:
		return "dead-letter"
	}
	return fmt.Sprintf("Verb(%d)", uint8(v))
}

// A Decision is what came of a delivery, and what the broker has to be told.
type Decision struct {
	Kind Kind
	Verb Verb

	// After is when the message should be delivered again, if Verb is Retry.
	After time.Duration

	// Err says why, unless the kind is Ran or Duplicate. A panic of the handler, or of a function of
	// [Config] but Observe, is a [*PanicError].
	Err error

	// DeadLettered says that [Config.DeadLetter] has taken the message. Verb is Ack then.
	DeadLettered bool

	// Key is that of the operation; zero if the message is Unnamed.
	Key once.Key

	// Weak says that the key does not catch a producer that sends again; see [ID].
	Weak bool

	// Attempt is the number of the handler's run as far as it is known: above 1 another one was
	// begun before and did not say how it ended.
	Attempt int
}

// AsError returns an [*Error] around d, or nil if the broker has to be told that the message is
// dealt with.
func (d Decision) AsError() error {
	if d.Verb == Ack {
		return nil
	}
	return &Error{d}
}

// An Error is what a wrapped handler returns if the message must not be acknowledged. See
// [DecisionOf].
type Error struct{ Decision Decision }

func (e *Error) Error() string {
	return fmt.Sprintf("oncemsg: %s: %v", e.Decision.Kind, e.Decision.Err)
}

func (e *Error) Unwrap() error { return e.Decision.Err }

// DecisionOf returns the decision of an [*Error] that is err or within it, such as a handler
// wrapped by [Wrap] returns. It is false for other errors, and for nil: then the message is dealt
// with.
func DecisionOf(err error) (Decision, bool) {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return Decision{}, false
	}
	return e.Decision, true
}

// A PanicError is the panic of a handler, or of a function of [Config] that is given a message. It
// counts as a failure, so that a message that makes one panic does not stop the consumer of all others.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("oncemsg: panic: %v", e.Value) }

// Unwrap returns the value if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// ErrNotBegun is within the Err of a [Decision] on a message that was claimed, or was to be, together with
// others, and given back before its handler was called: the consumer stops, or one before it has failed. It
// is for adapters, too, whose handlers return it within [once.NoEffect]. It is not logged.
var ErrNotBegun = errors.New("oncemsg: message was not begun")

// Errors within a [Decision].
var (
	errUnnamed   = errors.New("oncemsg: message has neither an id nor a position; set Config.Key")
	errTooOld    = errors.New("oncemsg: message is older than Config.TooOld and not recorded")
	errForeign   = errors.New("oncemsg: recorded outcome is not of this package; use a subscriber's name for nothing else")
	errGoexit    = errors.New("oncemsg: handler ended its goroutine")
	errNoPublish = errors.New("oncemsg: emit: the consumer has no Config.Publish")
)
