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
	if err := s.usable(ctx); err != nil {
		return err
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	subject := s.target.subject(k)
	e := s.held.get(k, o)
	for tries := 0; ; tries++ {
		if err := s.wire.ready(ctx); err != nil {
			return explain(verb, err)
		}
		if e == nil {
			stood, err := s.seen(ctx, s.look(subject))
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
	stood, err := s.stands(ctx, "load", k)
	if err != nil {
		return once.Record{}, err
	}
	rec, _ := stood.entry.record(stood.now)
	return rec, nil
}

// stands returns a record that is not over, or ErrNotFound.
func (s *Store) stands(ctx context.Context, verb string, k once.Key) (sight, error) {
	if err := s.usable(ctx); err != nil {
		return sight{}, err
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	if err := s.wire.ready(ctx); err != nil {
		return sight{}, explain(verb, err)
	}
	stood, err := s.seen(ctx, s.look(s.target.subject(k)))
	if err != nil {
		return sight{}, explain(verb, err)
	}
	if stood.entry == nil {
		return sight{}, once.ErrNotFound
	}
	rec, stands := stood.entry.record(stood.now)
	switch {
	case !stands:
		return sight{}, once.ErrNotFound
	case rec.Key != k:
		return sight{}, fmt.Errorf("oncenats: %s: another key's record: %w", verb, once.ErrUnreadable)
	}
	return stood, nil
}

// Forget implements [once.Forgetter].
func (s *Store) Forget(ctx context.Context, k once.Key, o once.Owner) error {
	for tries := 0; ; tries++ {
		stood, err := s.stands(ctx, "forget", k)
		if err != nil {
			return err
		}
		if stood.entry.rec.Owner != o {
			return once.ErrLost
		}
		ok, err := s.remove(ctx, k, stood.entry.seq, tries)
		if ok || err != nil {
			return explain("forget", err)
		}
	}
}

// remove removes the record if it is still this one.
func (s *Store) remove(ctx context.Context, k once.Key, seq uint64, tries int) (bool, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	if err := pause(ctx, tries); err != nil {
		return false, err
	}
	_, ok, err := s.written(ctx, s.write(s.target.subject(k), &entry{kind: removed}, seq))
	return ok, err
}

// bounded returns a context that ends when the verb must.
func (s *Store) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, s.cfg.Timeout, errNoAnswer)
}
