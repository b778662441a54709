package oncemem

import (
	"context"
	"iter"

	"github.com/oncehq/once"
)

// List implements [once.Lister]. It copies one shard at a time, and holds no lock while it yields.
func (s *Store) List(ctx context.Context, f once.Filter) iter.Seq2[once.Record, error] {
	return func(yield func(once.Record, error) bool) {
		s.init()
		var found []once.Record
		for i := range s.shards {
			err := ctx.Err()
			if err == nil {
				found, err = s.shards[i].list(s, f, found[:0])
			}
			if err != nil {
				yield(once.Record{}, err)
				return
			}
			for _, rec := range found {
				if !yield(rec, nil) {
					return
				}
			}
		}
	}
}

func (sh *shard) list(s *Store, f once.Filter, found []once.Record) ([]once.Record, error) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.closed {
		return nil, once.ErrClosed
	}
	now := s.now()
	for _, slot := range sh.records.slots {
		if r := slot.r; r != nil && !r.over(now) && r.selected(f, now) {
			rec := r.view(s, r.key(), now)
			rec.Outcome.Data = nil
			found = append(found, rec)
		}
	}
	return found, nil
}

func (r *record) selected(f once.Filter, now instant) bool {
	return (f.Scope == "" || f.Scope == string(r.text[:r.scope])) &&
		(f.State == 0 || f.State == r.state(now)) &&
		r.created.until(now) >= f.OlderThan
}
