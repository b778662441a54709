package oncetest

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/oncehq/once"
)

// A Verb is a method of a store.
type Verb string

// The verbs of [once.Store] and of the optional interfaces.
const (
	Claim      Verb = "claim"
	Renew      Verb = "renew"
	Complete   Verb = "complete"
	Release    Verb = "release"
	Load       Verb = "load"
	ClaimBatch Verb = "claim batch"
	Forget     Verb = "forget"
	Wait       Verb = "wait"
	List       Verb = "list"
	Sweep      Verb = "sweep"
)

// A Fault is what goes wrong with one call. The zero Fault is nothing.
type Fault struct {
	// Delay passes before anything else happens. If the caller's context ends meanwhile, the
	// verb is not carried out and the context's error is returned.
	Delay time.Duration

	// Before is returned instead of carrying the verb out: the request was lost.
	Before error

	// Twice carries the verb out twice and returns what the second time came to: the request
	// was delivered twice.
	Twice bool

	// After is returned although the verb was carried out: the reply was lost.
	After error
}

// A Plan says what goes wrong with the nth call of the verb, counted from 1. It is called
// for one call at a time.
type Plan func(v Verb, n int) Fault

// Faulty returns the store with faults by plan.
//
// It has all the optional interfaces. What the inner store lacks it makes up for by the five
// verbs: Wait polls, ClaimBatch claims one by one, Sweep finds nothing, Bind binds nothing,
// Guarantees promises nothing, Close does nothing. List and Forget cannot be made up for and fail
// with [errors.ErrUnsupported].
func Faulty(s once.Store, plan Plan) once.Store {
	return &faulty{inner: s, plan: plan, calls: make(map[Verb]int)}
}

type faulty struct {
	inner once.Store
	plan  Plan

	mu    sync.Mutex // guards the calls, and lets plan run once at a time
	calls map[Verb]int
}

var _ interface {
	once.Store
	once.Lister
	once.Sweeper
	once.Waiter
	once.Batcher
	once.Forgetter
	once.Binder
	once.Guarantor
	io.Closer
} = (*faulty)(nil)

func (f *faulty) next(v Verb) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[v]++
	return f.plan(v, f.calls[v])
}

// suffer carries out the verb with the fault that is planned for it, and returns the fault's error.
// If it returns nil, what the verb itself came to is the answer.
func (f *faulty) suffer(ctx context.Context, v Verb, verb func()) error {
	fault := f.next(v)
	if fault.Delay > 0 {
		timer := time.NewTimer(fault.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if fault.Before != nil {
		return fault.Before
	}
	verb()
	if fault.Twice {
		verb()
	}
	return fault.After
}

func (f *faulty) Claim(ctx context.Context, c once.Claim) (once.Record, error) {
	var rec once.Record
	var err error
	if lost := f.suffer(ctx, Claim, func() { rec, err = f.inner.Claim(ctx, c) }); lost != nil {
		return once.Record{}, lost
	}
	return rec, err
}

func (f *faulty) Load(ctx context.Context, k once.Key) (once.Record, error) {
	var rec once.Record
	var err error
	if lost := f.suffer(ctx, Load, func() { rec, err = f.inner.Load(ctx, k) }); lost != nil {
		return once.Record{}, lost
	}
	return rec, err
}

// call is suffer for verbs that return an error and nothing else.
func (f *faulty) call(ctx context.Context, v Verb, verb func() error) error {
	var err error
	if lost := f.suffer(ctx, v, func() { err = verb() }); lost != nil {
		return lost
	}
	return err
}

func (f *faulty) Renew(ctx context.Context, k once.Key, o once.Owner, lease time.Duration) error {
	return f.call(ctx, Renew, func() error { return f.inner.Renew(ctx, k, o, lease) })
}

func (f *faulty) Complete(
	ctx context.Context, k once.Key, o once.Owner, out once.Outcome, retention time.Duration,
) error {
	return f.call(ctx, Complete, func() error { return f.inner.Complete(ctx, k, o, out, retention) })
}

func (f *faulty) Release(ctx context.Context, k once.Key, o once.Owner) error {
	return f.call(ctx, Release, func() error { return f.inner.Release(ctx, k, o) })
}
