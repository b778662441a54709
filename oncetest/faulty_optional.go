package oncetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/oncehq/once"
)

// unsupported says that the inner store lacks a verb that the others cannot make up for.
func (f *faulty) unsupported(v Verb) error {
	return fmt.Errorf("oncetest: %s: %T does not have it: %w", v, f.inner, errors.ErrUnsupported)
}

func (f *faulty) Forget(ctx context.Context, k once.Key, o once.Owner) error {
	return f.call(ctx, Forget, func() error {
		if s, ok := f.inner.(once.Forgetter); ok {
			return s.Forget(ctx, k, o)
		}
		return f.unsupported(Forget)
	})
}

func (f *faulty) ClaimBatch(ctx context.Context, claims []once.Claim) []once.ClaimResult {
	var results []once.ClaimResult
	lost := f.suffer(ctx, ClaimBatch, func() {
		if s, ok := f.inner.(once.Batcher); ok {
			results = s.ClaimBatch(ctx, claims)
			return
		}
		results = make([]once.ClaimResult, len(claims))
		for i, c := range claims {
			results[i].Record, results[i].Err = f.inner.Claim(ctx, c)
		}
	})
	if lost != nil {
		results = make([]once.ClaimResult, len(claims))
		for i := range results {
			results[i].Err = lost
		}
	}
	return results
}

func (f *faulty) Wait(ctx context.Context, k once.Key, o once.Owner) error {
	return f.call(ctx, Wait, func() error {
		if s, ok := f.inner.(once.Waiter); ok {
			return s.Wait(ctx, k, o)
		}
		return f.poll(ctx, k, o)
	})
}

// poll waits like a [once.Waiter] by loading the record again and again.
func (f *faulty) poll(ctx context.Context, k once.Key, o once.Owner) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		rec, err := f.inner.Load(ctx, k)
		switch {
		case errors.Is(err, once.ErrNotFound):
			return nil
		case err != nil:
			return err
		case rec.State != once.InFlight || rec.Owner != o:
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *faulty) List(ctx context.Context, filter once.Filter) iter.Seq2[once.Record, error] {
	return func(yield func(once.Record, error) bool) {
		var found iter.Seq2[once.Record, error]
		lost := f.suffer(ctx, List, func() {
			if s, ok := f.inner.(once.Lister); ok {
				found = s.List(ctx, filter)
			}
		})
		switch {
		case lost != nil:
			yield(once.Record{}, lost)
		case found == nil:
			yield(once.Record{}, f.unsupported(List))
		default:
			found(yield)
		}
	}
}

func (f *faulty) Sweep(ctx context.Context) (int, error) {
	n := 0
	err := f.call(ctx, Sweep, func() error {
		s, ok := f.inner.(once.Sweeper)
		if !ok {
			return nil
		}
		swept, err := s.Sweep(ctx)
		n += swept
		return err
	})
	return n, err
}

func (f *faulty) Bind(ctx context.Context, rec once.Record) context.Context {
	if s, ok := f.inner.(once.Binder); ok {
		return s.Bind(ctx, rec)
	}
	return ctx
}

func (f *faulty) Guarantees() once.Guarantees {
	if s, ok := f.inner.(once.Guarantor); ok {
		return s.Guarantees()
	}
	return once.Guarantees{Notes: []string{"The store does not say what its acknowledgement is worth."}}
}

func (f *faulty) Close() error {
	if s, ok := f.inner.(io.Closer); ok {
		return s.Close()
	}
	return nil
}
