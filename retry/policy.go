// Package retry says whether an operation may be tried again, and when.
//
// The pauses between the tries grow exponentially and are random from zero up ("full jitter"), so
// that callers who failed together do not come back together. A series of tries is bounded in
// number and in time; all callers of one service may share a [Budget], so that an outage is not
// made worse by everybody trying again. No pause is begun that would end after the context's
// deadline.
//
// Only try again what is safe to repeat. Package once makes operations so.
package retry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Defaults of [Policy].
const (
	DefaultBase    = 100 * time.Millisecond
	DefaultCap     = 10 * time.Second
	DefaultTries   = 5
	DefaultElapsed = time.Minute
)

// Why there is not another try.
var (
	// ErrAnswered: another try would not change the answer. A [Series] does not say so, but
	// those who judge answers may.
	ErrAnswered = errors.New("retry: another try would not change the answer")

	// ErrTries: all tries that the policy allows were made.
	ErrTries = errors.New("retry: no tries are left")

	// ErrElapsed: the next try would come later than the policy allows.
	ErrElapsed = errors.New("retry: the time for tries is over")

	// ErrDeadline: the next try would come after the context's deadline. It is a
	// [context.DeadlineExceeded].
	ErrDeadline = fmt.Errorf("retry: the next try would come too late: %w", context.DeadlineExceeded)

	// ErrBudget: too many of those who share the budget are trying again.
	ErrBudget = errors.New("retry: the budget is used up")
)

// A Policy bounds the tries of an operation. Its zero value is ready for use. It may be copied
// and used by many goroutines at once.
type Policy struct {
	// Base bounds the pause before the second try. The bound doubles with every further try.
	// Defaults to [DefaultBase].
	Base time.Duration

	// Cap is what the bound of a pause does not grow beyond. Defaults to [DefaultCap], or to Base
	// if that is more.
	Cap time.Duration

	// Tries is how many tries there are at most, the first one included; 1 means that nothing is
	// tried again. Defaults to [DefaultTries].
	Tries int

	// Elapsed is how long after the start of the series its last try may begin.
	// Defaults to [DefaultElapsed].
	Elapsed time.Duration

	// Budget is shared by all who use the same service. Defaults to none: without bound. Clients
	// that hold a policy may have another default, see there.
	Budget *Budget
}

// Check reports everything that is wrong with p, or nil.
func (p Policy) Check() error {
	var errs []error
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"Base", p.Base}, {"Cap", p.Cap}, {"Elapsed", p.Elapsed}} {
		if d.value < 0 {
			errs = append(errs, fmt.Errorf("retry: %s is %v; it must not be negative", d.name, d.value))
		}
	}
	if p.Tries < 0 {
		errs = append(errs, fmt.Errorf("retry: Tries is %d; it must not be negative, and 1 is the first try alone", p.Tries))
	}
	if p.Cap > 0 && p.Base > p.Cap {
		errs = append(errs, fmt.Errorf("retry: Base is %v and Cap %v; Cap must not be less", p.Base, p.Cap))
	}
	if p.Budget != nil {
		errs = append(errs, p.Budget.check())
	}
	return errors.Join(errs...)
}

// Start begins a series of tries, of which the first one is made now.
func (p Policy) Start() *Series {
	if p.Base == 0 {
		p.Base = DefaultBase
	}
	if p.Cap == 0 {
		p.Cap = max(DefaultCap, p.Base)
	}
	if p.Tries == 0 {
		p.Tries = DefaultTries
	}
	if p.Elapsed == 0 {
		p.Elapsed = DefaultElapsed
	}
	if p.Budget != nil {
		p.Budget.deposit()
	}
	return &Series{p: p, start: time.Now(), tries: 1}
}

// A Series is the tries of one operation. It is for one goroutine.
type Series struct {
	p     Policy
	start time.Time
	tries int
}

// Tries returns how many tries were begun, from 1.
func (s *Series) Tries() int { return s.tries }

// Next begins another try, which has to be made after the pause it returns; see [Sleep]. The
// pause is at least as long as the server asked for, if it did, and random beyond that: a server
// tells many clients the same.
//
// The error is ErrTries, ErrElapsed, ErrDeadline, ErrBudget or the cause of the context's end.
func (s *Series) Next(ctx context.Context, atLeast time.Duration) (time.Duration, error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	if s.tries >= s.p.Tries {
		return 0, ErrTries
	}
	atLeast = max(atLeast, 0)
	jitter := rand.N(s.bound()) + 1
	if room := s.p.Elapsed - time.Since(s.start); atLeast > room || jitter > room-atLeast {
		return 0, ErrElapsed
	}
	pause := atLeast + jitter
	if deadline, ok := ctx.Deadline(); ok && pause >= time.Until(deadline) {
		return 0, ErrDeadline
	}
	if s.p.Budget != nil && !s.p.Budget.withdraw() {
		return 0, ErrBudget
	}
	s.tries++
	return pause, nil
}

// bound returns the bound of the pause after the tries so far, of which only the first few
// matter. "Full jitter" is from "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015).
func (s *Series) bound() time.Duration {
	bound := s.p.Base
	for range s.tries - 1 {
		if bound > s.p.Cap/2 {
			return s.p.Cap
		}
		bound *= 2
	}
	return bound
}

// Sleep waits, or returns the cause of the context's end if that comes first.
func Sleep(ctx context.Context, d time.Duration) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
