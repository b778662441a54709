package onceredis

import (
	"context"
	"errors"
	"time"

	"github.com/oncehq/once"
)

const (
	// subscribing is how long a wait gives its subscription to be confirmed before it asks
	// without one.
	subscribing = 100 * time.Millisecond

	// Without a subscription a wait asks again and again; the pauses double.
	firstPause = 5 * time.Millisecond
	lastPause  = time.Second

	// With one it asks from time to time all the same. Nothing needs that; but a server, or a
	// proxy before it, that swallows messages must not hold a caller up for ever.
	livePause = 10 * time.Second
)

// Wait implements [once.Waiter]. The end of a claim is published by the very script that brings
// it about, if the claim is marked as waited for; nobody pays for claims that are not. While
// the connection is lost Wait asks again and again.
func (s *Store) Wait(ctx context.Context, k once.Key, o once.Owner) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	name := s.name(k)
	t := s.topics.join(name)
	defer s.topics.leave(t)
	timer := time.NewTimer(subscribing)
	defer timer.Stop()
	for pause, patient := firstPause, true; ; {
		// Looked at before the question: what happens after the answer is news.
		news, live := s.topics.look(t)
		if live || !patient {
			reply, err := s.run(ctx, s.scripts.wait, name, ownerArg(o))
			if err == nil {
				err = s.owned(reply, nil)
			}
			switch {
			case errors.Is(err, once.ErrLost): // not in flight under this owner
				return nil
			case errors.Is(err, once.ErrClosed):
				return err
			case ctx.Err() != nil:
				return ctx.Err()
			case err == nil && live:
				timer.Reset(livePause)
			default:
				timer.Reset(pause)
				pause = min(2*pause, lastPause)
			}
		}
		select {
		case <-news:
		case <-timer.C:
			patient = false
		case <-ctx.Done():
			return ctx.Err()
		case <-s.topics.ctx.Done():
			return once.ErrClosed
		}
	}
}
