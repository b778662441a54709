package oncenats

import (
	"context"
	"fmt"
	"time"

	"github.com/oncehq/once"
)

// Renew implements [once.Store].
func (s *Store) Renew(ctx context.Context, k once.Key, o once.Owner, lease time.Duration) error {
	return s.change(ctx, "renew", k, o, nil, func(e *entry) *entry {
		next := *e
		next.term = max(lease, 0)
		return &next
	})
}

// Complete implements [once.Store]. An outcome that is larger than [Store.MaxOutcome] says is refused
// with [once.ErrTooLarge].
func (s *Store) Complete(
	ctx context.Context, k once.Key, o once.Owner, out once.Outcome, retention time.Duration,
) error {
	if len(out.Type) > maxType {
		return fmt.Errorf("oncenats: complete: media type has %d bytes, at most %d are kept: %w",
			len(out.Type), maxType, once.ErrTooLarge)
	}
	if most := s.MaxOutcome(k); len(out.Data) > most {
		return fmt.Errorf("oncenats: complete: outcome has %d bytes, at most %d are kept (Config.MaxOutcome, "+
			"the server's max_payload, the stream's max_msg_size): %w", len(out.Data), most, once.ErrTooLarge)
	}
	return s.change(ctx, "complete", k, o, &out, func(e *entry) *entry {
		if retention <= 0 {
			return &entry{kind: removed, rec: once.Record{Key: k}}
		}
		next := *e
		next.kind = done
		if out.Failed {
			next.kind = doneFailed
		}
		next.rec.Outcome, next.payload = out, out.Data
		next.term, next.forget = retention, 0
		return &next
	})
}

// Release implements [once.Store].
func (s *Store) Release(ctx context.Context, k once.Key, o once.Owner) error {
	return s.change(ctx, "release", k, o, nil, func(*entry) *entry {
		return &entry{kind: removed, rec: once.Record{Key: k}}
	})
}

// change writes the record's next state, if o is its owner and there is no outcome. If there is one,
// it must be the same.
//
// Where the claim was made through this store, its state is known, and the server has but to
// consent that it still is: one round trip. Otherwise the record is read first.
func (s *Store) change(
	ctx context.Context, verb string, k once.Key, o once.Owner, out *once.Outcome, next func(*entry) *entry,
) error {
	ctx, cancel, err := s.begin(ctx, verb)
	if err != nil {
		return err
	}
	defer cancel()
	subject := s.target.subject(k)
	e := s.held.get(k, o)
	for tries := 0; ; tries++ {
		if e == nil {
			stood, err := s.seen(ctx, s.look(subject, s.clock.ask()))
			if err != nil {
				return explain(verb, err)
			}
			var finished bool
			if e, finished, err = stood.owned(o, out); finished || err != nil {
				return explain(verb, err)
			}
		}
		n := next(e)
		seq, ok, err := s.written(ctx, s.write(subject, n, e.seq))
		if err != nil {
			return explain(verb, err)
		}
		s.held.drop(e)
		if ok {
			if n.kind == claimed {
				n.seq = seq
				s.held.put(n)
			}
			return nil
		}
		e = nil
		if err := pause(ctx, tries); err != nil {
			return explain(verb, err)
		}
	}
}

// owned returns the record if o is its owner and there is no outcome. It reports that nothing is
// left to do if there is, and it is the same as out.
func (v sight) owned(o once.Owner, out *once.Outcome) (e *entry, finished bool, err error) {
	if v.entry == nil {
		return nil, false, once.ErrLost
	}
	rec, stands := v.entry.record(v.now)
	switch {
	case !stands || rec.Owner != o:
		return nil, false, once.ErrLost
	case rec.State != once.Done:
		return v.entry, false, nil
	case out != nil && rec.Outcome.Equal(*out):
		return nil, true, nil
	}
	return nil, false, once.ErrLost
}

// Load implements [once.Store]. It asks the stream's leader.
func (s *Store) Load(ctx context.Context, k once.Key) (once.Record, error) {
	ctx, cancel, err := s.begin(ctx, "load")
	if err != nil {
		return once.Record{}, err
	}
	defer cancel()
	subject := s.target.subject(k)
	stood, err := s.seen(ctx, s.look(subject, s.clock.ask()))
	if err == nil {
		stood, err = s.confirmed(ctx, subject, stood)
	}
	if err != nil {
		return once.Record{}, explain("load", err)
	}
	return stood.record(k)
}

// record returns the record, or ErrNotFound if it is over.
func (v sight) record(k once.Key) (once.Record, error) {
	if v.entry == nil {
		return once.Record{}, once.ErrNotFound
	}
	rec, stands := v.entry.record(v.now)
	switch {
	case !stands:
		return once.Record{}, once.ErrNotFound
	case rec.Key != k:
		return once.Record{}, fmt.Errorf("oncenats: another key's record: %w", once.ErrUnreadable)
	}
	return rec, nil
}

// Forget implements [once.Forgetter].
func (s *Store) Forget(ctx context.Context, k once.Key, o once.Owner) error {
	ctx, cancel, err := s.begin(ctx, "forget")
	if err != nil {
		return err
	}
	defer cancel()
	subject := s.target.subject(k)
	for tries := 0; ; tries++ {
		if err := pause(ctx, tries); err != nil {
			return explain("forget", err)
		}
		stood, err := s.seen(ctx, s.look(subject, s.clock.ask()))
		if err != nil {
			return explain("forget", err)
		}
		switch rec, err := stood.record(k); {
		case err != nil:
			return err
		case rec.Owner != o:
			return once.ErrLost
		}
		_, ok, err := s.written(ctx, s.write(subject, &entry{kind: removed}, stood.entry.seq))
		if ok || err != nil {
			return explain("forget", err)
		}
	}
}

// begin returns when there is a connection, with a context that ends when the verb must.
func (s *Store) begin(ctx context.Context, verb string) (context.Context, context.CancelFunc, error) {
	if err := s.usable(ctx); err != nil {
		return ctx, func() {}, err
	}
	ctx, cancel := s.bounded(ctx)
	if err := s.wire.ready(ctx); err != nil {
		cancel()
		return ctx, func() {}, explain(verb, err)
	}
	return ctx, cancel, nil
}

// bounded returns a context that ends when the verb must.
func (s *Store) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, s.cfg.Timeout, errNoAnswer)
}
