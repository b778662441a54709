package rpc

import (
	"context"
	"time"

	"github.com/oncehq/once/retry"
)

// Again reports whether another try of a call that failed may be answered otherwise, provided
// that it may be repeated at all. The client's own context must not be over.
func Again(code Code, h Hints) bool {
	switch h.Retryable {
	case "true":
		return true
	case "false":
		return false
	}
	switch code {
	case Unavailable, DeadlineExceeded: // the latter of the try alone
		return true
	case Aborted, ResourceExhausted:
		// Unless the server says so these may be of a kind that stays, such as a lost update or a
		// message that is too large.
		return h.HasDelay
	}
	return false
}

// A Try is told to the observer of a client.
type Try struct {
	Number   int   // from 1
	Err      error // nil: it succeeded
	Duration time.Duration
	Pause    time.Duration // before the next try, if Stop is nil
	Stop     error         // why there is none
	Keyed    bool
	Replayed bool
}

// A Call is one operation of a client.
type Call struct {
	Key        string // empty: the method is idempotent
	Policy     retry.Policy
	TryTimeout time.Duration // 0: none
	Observe    func(context.Context, Try)

	// Do makes one try.
	Do func(context.Context) error

	// Replayed says of the last try if its answer was marked as a replay. It is needed for
	// Observe.
	Replayed func(error) bool

	// Judge says of an error if another try may be answered otherwise, and after which time.
	Judge func(error) (again bool, atLeast time.Duration)
}

// Run makes one try after the other. The error is that of the last one; in a
// [*retry.GiveUpError] with the key if another try might have been answered otherwise.
func (c *Call) Run(ctx context.Context) error {
	series := c.Policy.Start()
	for n := 1; ; n++ {
		start := time.Now()
		err := c.try(ctx)
		pause, stop := time.Duration(0), retry.ErrAnswered
		if err != nil {
			if again, atLeast := c.Judge(err); again || ctx.Err() != nil {
				pause, stop = series.Next(ctx, atLeast)
			}
		}
		if c.Observe != nil {
			c.Observe(ctx, Try{
				Number: n, Err: err, Duration: time.Since(start), Pause: pause, Stop: stop,
				Keyed: c.Key != "", Replayed: c.Replayed(err),
			})
		}
		if stop == nil {
			stop = retry.Sleep(ctx, pause)
		}
		switch {
		case stop == retry.ErrAnswered || stop != nil && c.Key == "" && n == 1 && ctx.Err() != nil:
			return err
		case stop != nil:
			return &retry.GiveUpError{Key: c.Key, Tries: n, Reason: stop, Err: err}
		}
	}
}

func (c *Call) try(ctx context.Context) error {
	if c.TryTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.TryTimeout)
		defer cancel()
	}
	return c.Do(ctx)
}
