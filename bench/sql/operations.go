package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oncehq/once"
)

const (
	scope     = "bench/sql"
	retention = time.Hour
	gateKeys  = 100
)

func newID() string { return once.NewOwner().String() }

func newClaim(id string) once.Claim {
	return once.Claim{
		Key:         once.Key{Scope: scope, ID: id},
		Fingerprint: once.Fingerprint{1: 1},
		Owner:       once.NewOwner(),
		Lease:       10 * time.Second,
		Takeover:    10,
		Forget:      time.Hour,
	}
}

// operation claims and completes.
func operation(ctx context.Context, store once.Store, size int) error {
	c := newClaim(newID())
	rec, err := store.Claim(ctx, c)
	if err != nil {
		return err
	}
	if !rec.Won(c) {
		return errors.New("a new key was claimed before")
	}
	return store.Complete(ctx, c.Key, c.Owner, outcome(size), retention)
}

// gate checks that of many callers who claim the same key at the same moment one wins, and that
// all are given its outcome afterwards. A figure without that means nothing.
func gate(ctx context.Context, store once.Store, callers int) error {
	for range gateKeys {
		id := newID()
		var winners atomic.Int32
		var all sync.WaitGroup
		errs := make([]error, callers)
		start := make(chan struct{})
		for i := range callers {
			all.Go(func() {
				<-start
				c := newClaim(id)
				rec, err := store.Claim(ctx, c)
				if err == nil && rec.Won(c) {
					winners.Add(1)
					err = store.Complete(ctx, c.Key, c.Owner, once.Outcome{Data: c.Owner[:]}, retention)
				}
				errs[i] = err
			})
		}
		close(start)
		all.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
		if n := winners.Load(); n != 1 {
			return fmt.Errorf("%d of %d simultaneous claims of one key have won", n, callers)
		}
		rec, err := store.Claim(ctx, newClaim(id))
		if err != nil || rec.State != once.Done || string(rec.Outcome.Data) != string(rec.Owner[:]) {
			return fmt.Errorf("the outcome is not the winner's: %v, %w", rec.State, err)
		}
	}
	return nil
}
