package oncenats

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/oncehq/once"
)

const (
	// A wait asks again and again, since what the server tells may be lost; the pauses double.
	firstPause = 5 * time.Millisecond
	lastPause  = 10 * time.Second
)

// Wait implements [once.Waiter]. The stream's leader tells of every state that a record has taken on
// (republish), on a subject that this subscribes to; nobody else gets it. What is told may be
// lost, as everything that NATS does not store: so Wait asks from time to time all the same.
func (s *Store) Wait(ctx context.Context, k once.Key, o once.Owner) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	news := make(chan *nats.Msg, 1) // what does not fit is no news
	told := s.target.told() + strings.TrimPrefix(s.target.subject(k), s.target.subjects())
	sub, err := s.wire.nc.ChanSubscribe(told, news)
	if err != nil {
		return explain("wait", err)
	}
	defer sub.Unsubscribe()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for pause := s.firstPause; ; {
		change := s.wire.changed()
		rec, err := s.Load(ctx, k)
		switch {
		case errors.Is(err, once.ErrNotFound), err == nil && (rec.State != once.InFlight || rec.Owner != o):
			return nil
		case errors.Is(err, once.ErrClosed):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
		timer.Reset(pause)
		pause = min(2*pause, lastPause)
		select {
		case <-news:
		case <-timer.C:
		case <-change: // what was told meanwhile is lost
			pause = s.firstPause
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
