package oncemsg

import (
	"context"
	"errors"

	"github.com/oncehq/once"
)

// Forget removes what is recorded of the message, so that its next copy is run as if it were the
// first, with the same derived ids: for a message that was dead-lettered, before it is moved
// back. It returns once.ErrInFlight, in a [*once.KeyError], if a copy is being run, and once.ErrNotFound
// if there is no record.
//
// A record that is done is removed only from stores that are a [once.Forgetter].
func (c *Consumer) Forget(ctx context.Context, m Message) error {
	k, ok := c.Key(m)
	if !ok {
		return errUnnamed
	}
	store := c.cfg.Guard.Store()
	rec, err := store.Load(ctx, k)
	switch {
	case err != nil:
	case rec.State == once.InFlight:
		return &once.KeyError{Key: k, Err: once.ErrInFlight, RetryAfter: rec.Lease}
	case rec.State == once.InDoubt:
		err = store.Release(ctx, k, rec.Owner)
	default:
		forgetter, ok := store.(once.Forgetter)
		if !ok {
			return errors.New("oncemsg: forget: the store cannot remove what is done; set Message.Replay instead")
		}
		err = forgetter.Forget(ctx, k, rec.Owner)
	}
	if err != nil {
		return &once.KeyError{Key: k, Err: err}
	}
	return nil
}
