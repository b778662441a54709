package rpc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncehttp"
)

// reruns is how often a handler is run again for one call because the database rolled its
// transaction back.
const reruns = 10

var errPanicked = errors.New("rpc: handler panicked")

// An Operation is a call with a key.
type Operation struct {
	Guard       *once.Guard
	Key         once.Key
	Fingerprint once.Fingerprint
	Keep        func(Code) oncehttp.Decision
	Retention   time.Duration
	MaxResponse int           // bytes of a recorded reply
	Timeout     time.Duration // of the handler; 0: none
	RetryAfter  time.Duration
	Warn        func(text string, k once.Key, err error)
}

// A Source says where a reply comes from.
type Source uint8

const (
	Ran      Source = 1 + iota // the handler, just now
	Replayed                   // the record
	Refused                    // this package
)

// Serve runs the handler once for the operation and returns its reply, or the recorded one, or
// one that refuses the call. The handler runs under a context that outlives the client. The
// error it returns is not sent, but may be marked by [once.Final] and [once.NoEffect].
//
// A panic of the handler leaves the operation in doubt and goes on.
func (op *Operation) Serve(ctx context.Context, handler func(context.Context) (*Reply, error)) (*Reply, Source) {
	for run := 0; ; run++ {
		a, err := op.Guard.BeginDetached(ctx, op.Key, op.Fingerprint)
		if err != nil {
			if ctx.Err() != nil {
				return hungUp(ctx), Refused
			}
			return op.refuse(reasonOf(err)), Refused
		}
		if out, done := a.Replay(); done {
			return op.replay(out)
		}
		reply, err := op.run(a, handler)
		switch {
		case err == nil:
			return reply, Ran
		case errors.Is(err, once.ErrRolledBack) && run < reruns && ctx.Err() == nil:
			continue
		case errors.Is(err, once.ErrRolledBack):
			return op.refuse(RolledBack), Refused
		case errors.Is(err, once.ErrLost):
			return op.afterLoss(ctx)
		}
		return op.refuse(OutcomeUnknown), Refused
	}
}

func (op *Operation) refuse(reason string) *Reply { return Refuse(reason, op.RetryAfter) }

func (op *Operation) replay(out once.Outcome) (*Reply, Source) {
	reply, err := ParseReply(out)
	switch {
	case err != nil:
		op.Warn("recorded outcome is not a reply; use one scope for one kind of operation", op.Key, err)
		return op.refuse(RecordUnreadable), Refused
	case reply.NotKept:
		return op.refuse(ResponseNotKept), Refused
	}
	return reply, Replayed
}

// afterLoss answers when somebody else has taken over: if there is an outcome, it is this
// caller's too.
func (op *Operation) afterLoss(ctx context.Context) (*Reply, Source) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), op.Guard.Config().Lease)
	defer cancel()
	rec, err := op.Guard.Store().Load(ctx, op.Key)
	if err == nil && rec.State == once.Done && rec.Fingerprint.Matches(op.Fingerprint) {
		return op.replay(rec.Outcome)
	}
	return op.refuse(OutcomeUnknown), Refused
}

// run runs the handler and ends the attempt. After an error the reply must not be shown.
func (op *Operation) run(a *once.Attempt, handler func(context.Context) (*Reply, error)) (*Reply, error) {
	returned := false
	defer func() {
		if !returned { // a panic or Goexit, which goes on after this
			a.Abandon(errPanicked)
		}
	}()
	ctx := a.Context()
	if op.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, op.Timeout)
		defer cancel()
	}
	reply, err := handler(ctx)
	returned = true
	switch op.decide(reply, err) {
	case oncehttp.Complete:
		return reply, op.complete(a, reply)
	case oncehttp.Release:
		err = a.Release()
	default:
		err = a.Abandon(fmt.Errorf("rpc: handler answered with code %d", reply.Code))
	}
	if err != nil {
		op.Warn("claim was not ended; it is in doubt when its lease is over", op.Key, err)
	}
	return reply, nil
}

func (op *Operation) decide(reply *Reply, err error) oncehttp.Decision {
	if _, final := errors.AsType[*once.FinalError](err); final {
		return oncehttp.Complete
	}
	if once.IsNoEffect(err) {
		return oncehttp.Release
	}
	return op.Keep(reply.Code)
}

// complete records the reply, or that the operation is done if the reply is too large.
func (op *Operation) complete(a *once.Attempt, reply *Reply) error {
	out := reply.Outcome()
	err := once.ErrTooLarge
	if len(out.Data) <= op.MaxResponse {
		err = a.CompleteFor(out, op.Retention)
	}
	if !errors.Is(err, once.ErrTooLarge) {
		return err
	}
	op.Warn("reply is too large to be recorded; later callers are told that the operation is done", op.Key, err)
	err = a.CompleteFor((&Reply{Code: reply.Code, NotKept: true}).Outcome(), op.Retention)
	if errors.Is(err, once.ErrTooLarge) {
		a.Abandon(err)
	}
	return err
}

// Unmark takes the outermost mark of [once.Final] or [once.NoEffect] off an error, which has no
// meaning for the client.
func Unmark(err error) error {
	inner := errors.Unwrap(err)
	if inner == nil {
		return err
	}
	if _, final := err.(*once.FinalError); final || once.IsNoEffect(err) && !once.IsNoEffect(inner) {
		return inner
	}
	return err
}
