package onceredis

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/oncehq/once"
	"github.com/redis/rueidis"
)

// listStep is about how many keys a server looks at for one step of a list.
const listStep = 500

// List implements [once.Lister]. It looks at every key of the servers' database (SCAN), in steps
// that do not hold others up, and so takes as long as there are keys, of other prefixes too. A
// record may be yielded twice if a server resizes its table meanwhile, or moves a slot to another.
func (s *Store) List(ctx context.Context, f once.Filter) iter.Seq2[once.Record, error] {
	return func(yield func(once.Record, error) bool) {
		if err := s.usable(ctx); err != nil {
			yield(once.Record{}, err)
			return
		}
		masters, err := inspect(ctx, s.client)
		if err != nil {
			yield(once.Record{}, err)
			return
		}
		nodes := s.client.Nodes()
		for _, m := range masters {
			node, ok := nodes[m.addr]
			if !ok {
				yield(once.Record{}, fmt.Errorf("onceredis: list: server %s is gone; list again", m.addr))
				return
			}
			if !s.listNode(ctx, node, f, yield) {
				return
			}
		}
	}
}

// listNode yields the records of one server. It reports false if the iteration is over.
func (s *Store) listNode(
	ctx context.Context, node rueidis.Client, f once.Filter, yield func(once.Record, error) bool,
) bool {
	ctx = patient{ctx}
	match := pattern(s.cfg.Prefix, f.Scope)
	for cursor := uint64(0); ; {
		if err := s.usable(ctx); err != nil {
			yield(once.Record{}, err)
			return false
		}
		next := node.B().Scan().Cursor(cursor).Match(match).Count(listStep).Type("string").Build()
		scan, err := node.Do(ctx, next).AsScanEntry()
		var found []once.Record
		if err == nil {
			found, err = s.peek(ctx, node, scan.Elements, f)
		}
		if err != nil {
			yield(once.Record{}, s.explain("list", err))
			return false
		}
		for _, rec := range found {
			if !yield(rec, nil) {
				return false
			}
		}
		if cursor = scan.Cursor; cursor == 0 {
			return true
		}
	}
}

// peek returns the records behind the names that the filter selects, without the data.
func (s *Store) peek(
	ctx context.Context, node rueidis.Client, names []string, f once.Filter,
) ([]once.Record, error) {
	if len(names) == 0 {
		return nil, nil
	}
	cmds := rueidis.Commands{node.B().Time().Build()}
	for _, name := range names {
		cmds = append(cmds,
			node.B().Getrange().Key(name).Start(0).End(minRecord+maxType-1).Build(),
			node.B().Pttl().Key(name).Build())
	}
	replies := node.DoMulti(ctx, cmds...)
	clock, err := replies[0].AsIntSlice()
	if err != nil {
		return nil, err
	}
	now := clock[0]*1e6 + clock[1]
	var found []once.Record
	for i, name := range names {
		v, err := replies[1+2*i].AsBytes()
		if err != nil {
			return nil, err
		}
		left, err := replies[2+2*i].ToInt64()
		if err != nil {
			return nil, err
		}
		k, ours := parseName(s.cfg.Prefix, name)
		if !ours || len(v) == 0 || left == -2 { // another's, or gone since
			continue
		}
		if v[0] == claimed {
			left = now
		}
		rec, err := decode(k, v, left)
		if err != nil {
			return nil, fmt.Errorf("%v: %w", k, err)
		}
		rec.Outcome.Data = nil
		if selected(rec, f, time.UnixMicro(now)) {
			found = append(found, rec)
		}
	}
	return found, nil
}

func selected(rec once.Record, f once.Filter, now time.Time) bool {
	return (f.Scope == "" || f.Scope == rec.Key.Scope) &&
		(f.State == 0 || f.State == rec.State) &&
		now.Sub(rec.Created) >= f.OlderThan
}
