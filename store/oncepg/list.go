package oncepg

import (
	"context"
	"iter"

	"github.com/jackc/pgx/v5"

	"github.com/oncehq/once"
)

// listPage is how many records are read at a time, so that neither side holds many of them.
const listPage = 500

// List implements [once.Lister]. It reads in the order of keys, a page at a time, each as it is
// at that moment.
func (s *Store) List(ctx context.Context, f once.Filter) iter.Seq2[once.Record, error] {
	return func(yield func(once.Record, error) bool) {
		var after once.Key
		for {
			page, err := s.page(ctx, f, after)
			if err != nil {
				yield(once.Record{}, explain(err))
				return
			}
			for _, rec := range page {
				if !yield(rec, nil) {
					return
				}
			}
			if len(page) < listPage {
				return
			}
			after = page[len(page)-1].Key
		}
	}
}

// page returns the first records behind the key.
func (s *Store) page(ctx context.Context, f once.Filter, after once.Key) ([]once.Record, error) {
	if s.batcher.isClosed() {
		return nil, once.ErrClosed
	}
	sql, scope := s.sql.list, after.Scope
	if f.Scope != "" {
		sql, scope = s.sql.listScope, f.Scope
	}
	rows, err := s.pool.Query(ctx, sql, []byte(scope), []byte(after.ID),
		interval(max(f.OlderThan, 0)), int32(f.State), int32(listPage))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(found pgx.CollectableRow) (once.Record, error) {
		var scope, id []byte
		var r row
		err := found.Scan(append([]any{&scope, &id}, r.columns()...)...)
		return r.record(once.Key{Scope: string(scope), ID: string(id)}), err
	})
}
