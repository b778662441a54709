package onceetcd

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/oncehq/once"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// listStep is how many keys are read at a time: at most 2 MiB.
const listStep = 500

// List implements [once.Lister]. It reads the keys of the prefix, or of the scope, in steps that
// do not hold others up, and all of them as they are in the revision in which it began; unless
// that is compacted meanwhile, then the rest is as it is by then.
func (s *Store) List(ctx context.Context, f once.Filter) iter.Seq2[once.Record, error] {
	return func(yield func(once.Record, error) bool) {
		now := time.Now()
		l := listing{s: s, root: s.cfg.Prefix + "r/"}
		from := l.root
		if f.Scope != "" {
			from += scopeName(f.Scope)
		}
		end := clientv3.GetPrefixRangeEnd(from)
		for more := true; more; {
			var recs []record
			var err error
			if recs, from, more, err = l.step(ctx, from, end); err != nil {
				yield(once.Record{}, err)
				return
			}
			for _, rec := range recs {
				if f.State != 0 && rec.State != f.State || now.Sub(rec.Created) < f.OlderThan {
					continue
				}
				rec.Outcome.Data = nil
				if !yield(s.measured(ctx, rec), nil) {
					return
				}
			}
		}
	}
}

// A listing reads records in the order of their names.
type listing struct {
	s        *Store
	root     string // what all names begin with
	revision int64  // 0: the latest
}

// step returns some records, where the next ones begin, and whether there are any.
func (l *listing) step(ctx context.Context, from, end string) ([]record, string, bool, error) {
	get := func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return l.s.client.Txn(ctx).Then(clientv3.OpGet(from, clientv3.WithRange(end),
			clientv3.WithLimit(listStep), clientv3.WithRev(l.revision))).Commit()
	}
	resp, err := l.s.txn(ctx, "list", get, noLeases)
	if errors.Is(err, rpctypes.ErrCompacted) {
		l.revision = 0
		resp, err = l.s.txn(ctx, "list", get, noLeases)
	}
	if err != nil {
		return nil, "", false, err
	}
	l.revision = resp.Header.Revision
	page := resp.Responses[0].GetResponseRange()
	var recs []record
	for kvs := page.Kvs; len(kvs) > 0; {
		of := recordName(kvs[0])
		n := 1
		for n < len(kvs) && recordName(kvs[n]) == of {
			n++
		}
		if n == len(kvs) && page.More && n < len(page.Kvs) {
			return recs, of, true, nil // the rest of it may be in the next step
		}
		k, _, ours := parseName(strings.TrimPrefix(string(kvs[0].Key), l.root))
		if ours {
			rec, err := decode(k, kvs[:n])
			if err != nil {
				return nil, "", false, fmt.Errorf("%v: %w", k, err)
			}
			rec.seenAt = resp.Header.Revision
			if rec.State != 0 {
				recs = append(recs, rec)
			}
		}
		kvs = kvs[n:]
	}
	if len(page.Kvs) > 0 {
		from = string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
	}
	return recs, from, page.More, nil
}

// recordName returns the part of the name that all keys of a record share.
func recordName(kv *mvccpb.KeyValue) string { return string(kv.Key[:len(kv.Key)-1]) }
