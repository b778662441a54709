package onceetcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oncehq/once"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// txn carries out a verb's transaction within Config.Timeout. It is tried again if an etcd lease
// that it attaches keys to has run out meanwhile, since nothing was written then. Leases returns
// those.
func (s *Store) txn(
	ctx context.Context, verb string,
	commit func(context.Context) (*clientv3.TxnResponse, error), leases func() []clientv3.LeaseID,
) (*clientv3.TxnResponse, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	for {
		resp, err := commit(ctx)
		if err == nil || !isLeaseGone(err) {
			return resp, s.explain(verb, err)
		}
		for _, id := range leases() {
			s.leases.drop(id)
		}
	}
}

func noLeases() []clientv3.LeaseID { return nil }

// Renew implements [once.Store]. A claim that may be forgotten needs a second round trip now and
// then, so that its record does not go before.
func (s *Store) Renew(ctx context.Context, k once.Key, o once.Owner, lease time.Duration) error {
	n := namesOf(s.cfg.Prefix, k)
	if lease <= 0 {
		return s.owned(s.txn(ctx, "renew", func(ctx context.Context) (*clientv3.TxnResponse, error) {
			return s.client.Txn(ctx).If(n.ownedBy(o)...).Then(clientv3.OpDelete(n.flight)).Commit()
		}, noLeases))
	}
	var flight ending
	resp, err := s.txn(ctx, "renew", func(ctx context.Context) (*clientv3.TxnResponse, error) {
		var err error
		if flight, err = s.leases.take(ctx, lease); err != nil {
			return nil, err
		}
		return s.client.Txn(ctx).If(n.ownedBy(o)...).Then(
			clientv3.OpPut(n.flight, encodeFlight(flight), clientv3.WithLease(flight.lease)),
			clientv3.OpGet(n.claim),
		).Commit()
	}, func() []clientv3.LeaseID { return []clientv3.LeaseID{flight.lease} })
	if err := s.owned(resp, err); err != nil {
		return err
	}
	rec, err := decode(k, resp.Responses[1].GetResponseRange().Kvs)
	if err != nil {
		return err
	}
	return s.keep(ctx, n, rec, lease)
}

// keep makes sure that a claim's record is not forgotten too early, now that its lease was renewed. It
// returns ErrLost if that has just happened: the renewal came too late.
func (s *Store) keep(ctx context.Context, n names, rec record, lease time.Duration) error {
	if rec.lease == clientv3.NoLease {
		return nil
	}
	if keepFor(lease, rec.forget) != once.Forever {
		left, err := s.leases.left(ctx, rec.lease)
		if err == nil && left >= lease+rec.forget {
			return nil
		}
	}
	var keep ending
	resp, err := s.txn(ctx, "renew", func(ctx context.Context) (*clientv3.TxnResponse, error) {
		var err error
		if keep, err = s.leases.take(ctx, keepFor(lease, rec.forget)); err != nil {
			return nil, err
		}
		return s.client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(n.claim), "=", rec.revision)).
			Then(clientv3.OpPut(n.claim, "", clientv3.WithIgnoreValue(), clientv3.WithLease(keep.lease))).
			Else(clientv3.OpGet(n.claim)).Commit()
	}, func() []clientv3.LeaseID { return []clientv3.LeaseID{keep.lease} })
	if err != nil || resp.Succeeded {
		return err
	}
	// If the key is there, the owner has seen to that elsewhere, or has completed.
	now, err := decode(rec.Key, resp.Responses[0].GetResponseRange().Kvs)
	if err == nil && now.Owner != rec.Owner {
		err = once.ErrLost
	}
	return err
}

// Complete implements [once.Store]. An outcome with more bytes than Config.MaxOutcome, or than the
// servers take, is refused with [once.ErrTooLarge].
func (s *Store) Complete(
	ctx context.Context, k once.Key, o once.Owner, out once.Outcome, retention time.Duration,
) error {
	if len(out.Type) > 255 {
		return fmt.Errorf("onceetcd: complete: media type has %d bytes, at most 255 are kept: %w",
			len(out.Type), once.ErrTooLarge)
	}
	if len(out.Data) > s.cfg.MaxOutcome {
		return fmt.Errorf("onceetcd: complete: outcome has %d bytes; Config.MaxOutcome is %d: %w",
			len(out.Data), s.cfg.MaxOutcome, once.ErrTooLarge)
	}
	n := namesOf(s.cfg.Prefix, k)
	var end ending
	resp, err := s.txn(ctx, "complete", func(ctx context.Context) (*clientv3.TxnResponse, error) {
		writes := []clientv3.Op{n.remove()}
		if retention > 0 {
			var err error
			if end, err = s.leases.take(ctx, retention); err != nil {
				return nil, err
			}
			writes = n.done(out, end)
		}
		return s.client.Txn(ctx).If(n.ownedBy(o)...).Then(writes...).Else(n.get()...).Commit()
	}, func() []clientv3.LeaseID { return []clientv3.LeaseID{end.lease} })
	err = s.owned(resp, err)
	if err == nil && retention > 0 {
		s.seen.note(k)
	}
	if !errors.Is(err, once.ErrLost) {
		return err
	}
	stands, err := decodeGet(k, resp.Header.Revision, resp.Responses)
	if err != nil {
		return err
	}
	if stands.State == once.Done && stands.Owner == o && stands.Outcome.Equal(out) {
		return nil
	}
	return once.ErrLost
}

// done returns what records the outcome: the keys that remain are attached to the same lease, so
// that they go together.
func (n names) done(out once.Outcome, end ending) []clientv3.Op {
	lease := clientv3.WithLease(end.lease)
	value, data := encodeOutcome(out, end)
	ops := []clientv3.Op{
		clientv3.OpPut(n.claim, "", clientv3.WithIgnoreValue(), lease),
		clientv3.OpDelete(n.flight),
		clientv3.OpPut(n.outcome, value, lease),
	}
	if data != "" {
		ops = append(ops, clientv3.OpPut(n.data, data, lease))
	}
	return ops
}

// Release implements [once.Store].
func (s *Store) Release(ctx context.Context, k once.Key, o once.Owner) error {
	n := namesOf(s.cfg.Prefix, k)
	return s.owned(s.txn(ctx, "release", func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return s.client.Txn(ctx).If(n.ownedBy(o)...).Then(n.remove()).Commit()
	}, noLeases))
}

// Forget implements [once.Forgetter].
func (s *Store) Forget(ctx context.Context, k once.Key, o once.Owner) error {
	n := namesOf(s.cfg.Prefix, k)
	resp, err := s.txn(ctx, "forget", func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return s.client.Txn(ctx).If(n.claimedBy(o)...).Then(n.remove(), clientv3.OpDelete(n.data)).
			Else(clientv3.OpGet(n.claim, clientv3.WithKeysOnly())).Commit()
	}, noLeases)
	if err == nil && !resp.Succeeded && len(resp.Responses[0].GetResponseRange().Kvs) == 0 {
		return once.ErrNotFound
	}
	return s.owned(resp, err)
}

// owned reads the reply of a transaction that is carried out if the caller is the owner.
func (s *Store) owned(resp *clientv3.TxnResponse, err error) error {
	if err == nil && !resp.Succeeded {
		return once.ErrLost
	}
	return err
}

// Load implements [once.Store]. The read is linearizable.
func (s *Store) Load(ctx context.Context, k once.Key) (once.Record, error) {
	rec, err := s.load(ctx, k)
	if err != nil {
		return once.Record{}, err
	}
	return s.measured(ctx, rec), nil
}

func (s *Store) load(ctx context.Context, k once.Key) (record, error) {
	n := namesOf(s.cfg.Prefix, k)
	resp, err := s.txn(ctx, "load", func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return s.client.Txn(ctx).Then(n.get()...).Commit()
	}, noLeases)
	if err != nil {
		return record{}, err
	}
	rec, err := decodeGet(k, resp.Header.Revision, resp.Responses)
	if err == nil && rec.State == 0 {
		err = once.ErrNotFound
	}
	return rec, err
}

// decodeGet reads the record from the responses to names.get.
func decodeGet(k once.Key, revision int64, responses []*pb.ResponseOp) (record, error) {
	rec, err := decode(k, responses[0].GetResponseRange().Kvs)
	rec.seenAt = revision
	if rec.apart && err == nil {
		data := responses[1].GetResponseRange().Kvs
		if len(data) != 1 {
			return rec, errDamaged
		}
		rec.Outcome.Data = data[0].Value
	}
	return rec, err
}

// measured fills in what is left of the lease or the retention. If an etcd lease of another
// process has to be asked for that takes another round trip, once for all records that share it.
// When that fails, the least is said that can be true.
func (s *Store) measured(ctx context.Context, rec record) once.Record {
	if rec.State == once.InDoubt {
		return rec.Record
	}
	left := once.Forever
	if e := rec.end; e.lease != clientv3.NoLease {
		ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
		defer cancel()
		all, _ := s.leases.left(ctx, e.lease)
		left = all - e.excess
		if left <= 0 { // over but for the excess: it stands until etcd says otherwise
			left = min(all, e.excess)
		}
		left = max(min(left, e.lasts), time.Millisecond)
	}
	if rec.State == once.Done {
		rec.Retention = left
	} else {
		rec.Lease = left
	}
	return rec.Record
}
