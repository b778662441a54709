package oncesql

import (
	"context"
	"iter"

	"github.com/oncehq/once"
)

// listPage is how many records are read at a time, so that neither side holds many of them.
const listPage = 500

// List implements [once.Lister]. It reads scope by scope, in the order of keys, a page at a time,
// each as it is at that moment.
func (s *Store) List(ctx context.Context, f once.Filter) iter.Seq2[once.Record, error] {
	return func(yield func(once.Record, error) bool) {
		for scope, err := range s.scopes(ctx, f.Scope) {
			for after, more := "", true; more && err == nil; {
				var page []once.Record
				page, err = s.page(ctx, f, scope, after)
				for _, rec := range page {
					if !yield(rec, nil) {
						return
					}
					after = rec.Key.ID
				}
				more = len(page) == listPage
			}
			if err != nil {
				yield(once.Record{}, explain(err))
				return
			}
		}
	}
}

// scopes yields the scopes that there are, or the one that is asked for.
func (s *Store) scopes(ctx context.Context, only string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if only != "" {
			yield(only, nil)
			return
		}
		for last := ""; ; {
			if s.closed.Load() {
				yield("", once.ErrClosed)
				return
			}
			var next []byte
			err := s.engine.reader().QueryRowContext(ctx, s.sql.nextScope, []byte(last)).Scan(&next)
			if err == nil && next == nil {
				return
			}
			if last = string(next); !yield(last, err) || err != nil {
				return
			}
		}
	}
}

// page returns the first records of the scope behind the id.
func (s *Store) page(ctx context.Context, f once.Filter, scope, after string) ([]once.Record, error) {
	if s.closed.Load() {
		return nil, once.ErrClosed
	}
	rows, err := s.engine.reader().QueryContext(ctx, s.sql.list, []byte(scope), []byte(after),
		micros(max(f.OlderThan, 0)), int(f.State), listPage)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var page []once.Record
	for rows.Next() {
		var id []byte
		var r row
		if err := rows.Scan(append([]any{&id}, r.columns()...)...); err != nil {
			return nil, err
		}
		page = append(page, r.record(once.Key{Scope: scope, ID: string(id)}))
	}
	return page, rows.Err()
}
