package contest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/oncehq/once"
)

// Gate checks that of 64 callers who claim the same key at the same moment one wins, and that all are
// given its outcome afterwards, for each of 100 keys. A figure without that means nothing. It prints
// that the store has passed.
func Gate(ctx context.Context, store once.Store) error {
	const keys, callers = 100, 64
	for range keys {
		if err := pass(ctx, store, callers); err != nil {
			return err
		}
	}
	name := "the store"
	if g, ok := store.(once.Guarantor); ok {
		name = g.Guarantees().Store
	}
	fmt.Printf("%s: %d simultaneous claims of each of %d keys: one winner each, and one outcome\n", name, callers, keys)
	return nil
}

func pass(ctx context.Context, store once.Store, callers int) error {
	id := NewID()
	var winners atomic.Int32
	var all sync.WaitGroup
	errs := make([]error, callers)
	start := make(chan struct{})
	for i := range callers {
		all.Go(func() {
			<-start
			c := NewClaim(id)
			rec, err := store.Claim(ctx, c)
			if err == nil && rec.Won(c) {
				winners.Add(1)
				err = store.Complete(ctx, c.Key, c.Owner, once.Outcome{Data: c.Owner[:]}, Retention)
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
	rec, err := store.Claim(ctx, NewClaim(id))
	if err != nil || rec.State != once.Done || string(rec.Outcome.Data) != string(rec.Owner[:]) {
		return fmt.Errorf("the outcome is not the winner's: %v, %w", rec.State, err)
	}
	return nil
}
