package onceetcd

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/oncehq/once"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Claim implements [once.Store]: one transaction that makes the claim if there is no record, and
// else reads it. Taking over a record in doubt is a second one. What this process has seen done is
// read first.
func (s *Store) Claim(ctx context.Context, c once.Claim) (once.Record, error) {
	if err := c.Check(); err != nil {
		return once.Record{}, err
	}
	if !s.seen.has(c.Key) {
		return s.claim(ctx, c, record{})
	}
	stands, err := s.load(ctx, c.Key)
	switch {
	case errors.Is(err, once.ErrNotFound):
		stands = record{}
	case err != nil:
		return once.Record{}, err
	case !open(c, stands):
		return s.standing(ctx, c, stands)
	}
	return s.claim(ctx, c, stands)
}

// claim makes the claim, given what was seen of the operation. It asks again as long as that is
// no longer so.
func (s *Store) claim(ctx context.Context, c once.Claim, seen record) (once.Record, error) {
	n := namesOf(s.cfg.Prefix, c.Key)
	for {
		var t turn
		resp, err := s.txn(ctx, "claim", func(ctx context.Context) (*clientv3.TxnResponse, error) {
			var err error
			if t, err = s.turn(ctx, n, c, seen); err != nil {
				return nil, err
			}
			return s.client.Txn(ctx).If(t.conditions...).Then(t.writes...).Else(n.get()...).Commit()
		}, func() []clientv3.LeaseID { return t.leases })
		if errors.Is(err, rpctypes.ErrNoSpace) {
			return s.full(ctx, c, err)
		}
		if err != nil {
			return once.Record{}, err
		}
		if resp.Succeeded {
			return t.won(resp.Header.Revision), nil
		}
		seen, err = decodeGet(c.Key, resp.Header.Revision, resp.Responses)
		if err != nil {
			return once.Record{}, err
		}
		if !open(c, seen) {
			return s.standing(ctx, c, seen)
		}
	}
}

// open reports whether the claim may become that of the operation's owner.
func open(c once.Claim, seen record) bool {
	return seen.State == 0 || seen.State == once.InDoubt && seen.Owner != c.Owner &&
		seen.Attempt < min(c.Takeover, math.MaxInt32) && seen.Fingerprint.Matches(c.Fingerprint)
}

// standing shows the claim the record that stands in its way.
func (s *Store) standing(ctx context.Context, c once.Claim, seen record) (once.Record, error) {
	if !seen.Fingerprint.Matches(c.Fingerprint) {
		return once.Record{}, once.ErrMismatch
	}
	if seen.State == once.Done {
		s.seen.note(c.Key)
	}
	return s.measured(ctx, seen), nil
}

// A turn is the attempt to become the owner of an operation of which something was seen.
type turn struct {
	rec        record // as it is if that succeeds
	conditions []clientv3.Cmp
	writes     []clientv3.Op
	leases     []clientv3.LeaseID
}

// turn returns what the claim has to write, if nothing has changed since the operation was seen.
func (s *Store) turn(ctx context.Context, n names, c once.Claim, seen record) (turn, error) {
	t := turn{rec: seen}
	if seen.State == 0 {
		t.conditions = []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(n.claim), "=", 0)}
		t.rec.Key, t.rec.Fingerprint, t.rec.Created = c.Key, c.Fingerprint, time.Now()
		t.rec.Created = time.UnixMicro(t.rec.Created.UnixMicro()) // as it is read back
	} else {
		t.conditions = []clientv3.Cmp{
			clientv3.Compare(clientv3.ModRevision(n.claim), "=", seen.revision),
			clientv3.Compare(clientv3.CreateRevision(n.flight), "=", 0),
			clientv3.Compare(clientv3.CreateRevision(n.outcome), "=", 0),
		}
		// More than any before, which are of earlier revisions, and less than any later one: the
		// takeover is of a later revision itself.
		t.rec.Fence = uint64(seen.seenAt) + 1
	}
	t.rec.Owner, t.rec.forget = c.Owner, c.Forget
	t.rec.State, t.rec.Attempt = once.InFlight, seen.Attempt+1
	flight, err := s.leases.take(ctx, c.Lease)
	if err != nil {
		return t, err
	}
	t.rec.end, t.rec.Lease = flight, c.Lease
	keep, err := s.leases.take(ctx, keepFor(c.Lease, c.Forget))
	if err != nil {
		return t, err
	}
	t.leases = []clientv3.LeaseID{flight.lease, keep.lease}
	t.writes = []clientv3.Op{
		clientv3.OpPut(n.claim, encodeClaim(&t.rec), clientv3.WithLease(keep.lease)),
		clientv3.OpPut(n.flight, encodeFlight(flight), clientv3.WithLease(flight.lease)),
	}
	return t, nil
}

// keepFor returns how long a claim's key has to last: for ever, if it may not be forgotten. It is
// some leases more than the claim asks for, so that few renewals need to make it last longer.
func keepFor(lease, forget time.Duration) time.Duration {
	const renewals = 8
	if forget <= 0 || forget > longestLease/4 || lease > longestLease/4/renewals {
		return once.Forever
	}
	return renewals*lease + forget
}

// won returns the record after the turn was carried out in the revision.
func (t turn) won(revision int64) once.Record {
	if t.rec.Fence == 0 {
		t.rec.Fence = uint64(revision)
	}
	return t.rec.Record
}

// full answers a claim when the cluster's quota is used up. It refuses all transactions then that
// might write, also those that would not, but still shows what it has.
func (s *Store) full(ctx context.Context, c once.Claim, cause error) (once.Record, error) {
	seen, err := s.load(ctx, c.Key)
	switch {
	case err == nil && !open(c, seen):
		return s.standing(ctx, c, seen)
	case err != nil && !errors.Is(err, once.ErrNotFound):
		return once.Record{}, err
	}
	return once.Record{}, fmt.Errorf("%w: %w", cause, once.ErrFull)
}
