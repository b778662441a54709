package onceetcd_test

import (
	"context"
	"errors"
	"fmt"
	"path"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/onceetcd"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
)

// raw returns a client that is not the store's.
func raw(t testing.TB, all ...*servers.EtcdServer) *clientv3.Client {
	t.Helper()
	var endpoints []string
	for _, s := range all {
		endpoints = append(endpoints, "http://"+s.Addr)
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: 30 * time.Second})
	ok(t, err)
	t.Cleanup(func() { client.Close() })
	return client
}

// However claims share etcd leases, none is in doubt, and no outcome is gone, earlier than was
// asked for. How late that may be depends on how busy the machine is, but not by more than on that
// and on what the package documentation says.
func TestLeasesEndALittleLate(t *testing.T) {
	t.Parallel()
	s := open(t, onceetcd.Config{DSN: dsn(servers.Etcd(t, etcd))})
	const tooLate = 20 * time.Second
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := range 60 {
		d := []time.Duration{1, time.Second, 1300 * time.Millisecond, 2100 * time.Millisecond}[i%4]
		wg.Go(func() {
			time.Sleep(time.Duration(i) * 40 * time.Millisecond) // in all phases of the leases at hand
			c := newClaim()
			what, is := "the retention", func() bool {
				_, err := s.Load(t.Context(), c.Key)
				return errors.Is(err, once.ErrNotFound)
			}
			began := time.Now()
			switch i / 4 % 3 {
			case 0:
				wins(t, s, c)
				began = time.Now()
				ok(t, s.Complete(t.Context(), c.Key, c.Owner, result, d))
			case 1:
				wins(t, s, c)
				began = time.Now()
				ok(t, s.Renew(t.Context(), c.Key, c.Owner, d))
				fallthrough
			default:
				what, is = "the lease", func() bool {
					rec, err := s.Load(t.Context(), c.Key)
					if err != nil {
						t.Errorf("load: %v", err)
					}
					return rec.State != once.InFlight
				}
				if i/4%3 == 2 {
					c.Lease = d
					wins(t, s, c)
				}
			}
			eventually(t, what+" is over", is)
			if took := time.Since(began); took < d || took > d+tooLate {
				t.Errorf("%s of %v ended after %v", what, d, took)
			}
		})
	}
}

// A record that may be forgotten is not, as long as it is in flight.
func TestRenewalsKeepWhatMayBeForgotten(t *testing.T) {
	t.Parallel()
	s := open(t, onceetcd.Config{DSN: dsn(servers.Etcd(t, etcd))})
	other := open(t, onceetcd.Config{DSN: s.DSN()})
	c := newClaim()
	c.Lease, c.Forget = 100*time.Millisecond, 100*time.Millisecond
	wins(t, s, c)
	for i := range 30 {
		handle := []*onceetcd.Store{s, other}[i%2]
		ok(t, handle.Renew(t.Context(), c.Key, c.Owner, 10*time.Second))
		time.Sleep(100 * time.Millisecond)
	}
	ok(t, s.Renew(t.Context(), c.Key, c.Owner, time.Hour))
	time.Sleep(2 * time.Second) // more than the first lease, and Forget
	if rec, err := s.Load(t.Context(), c.Key); err != nil || rec.State != once.InFlight {
		t.Errorf("got the record %v, error %v", rec.State, err)
	}
	ok(t, s.Renew(t.Context(), c.Key, c.Owner, 1))
	eventually(t, "the record is in doubt", func() bool {
		rec, err := s.Load(t.Context(), c.Key)
		return err == nil && rec.State == once.InDoubt
	})
}

// A renewal of what may be forgotten can come too late by so little that the record goes between its two
// transactions. Then somebody else may have the operation, and the former owner must learn it.
func TestRenewalsOfWhatIsForgottenMeanwhileAreLost(t *testing.T) {
	t.Parallel()
	e := servers.Etcd(t, etcd)
	client, next := raw(t, e), open(t, onceetcd.Config{DSN: dsn(e)})
	for name, meanwhile := range map[string]func(once.Claim){
		"nothing else":  func(once.Claim) {},
		"another claim": func(c once.Claim) { wins(t, next, claimOn(c.Key)) },
	} {
		var armed atomic.Bool
		var c once.Claim
		txns := 0
		between := func(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn,
			invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
		) error {
			if armed.Load() && path.Base(method) == "Txn" {
				if txns++; txns == 2 { // as the end of the claim's etcd lease does
					name := fmt.Sprintf("once/r/%d:%s%d:%s/c", len(c.Key.Scope), c.Key.Scope, len(c.Key.ID), c.Key.ID)
					r, err := client.Delete(t.Context(), name)
					if err != nil || r.Deleted != 1 {
						t.Errorf("removal of the claim: %d removed, error %v", r.Deleted, err)
					}
					meanwhile(c)
				}
			}
			return invoke(ctx, method, req, reply, conn, opts...)
		}
		s, err := onceetcd.OpenWith(t.Context(), onceetcd.Config{DSN: dsn(e), Timeout: 30 * time.Second},
			grpc.WithChainUnaryInterceptor(between))
		ok(t, err)
		t.Cleanup(func() { s.Close() })
		c = newClaim()
		c.Lease, c.Forget = 100*time.Millisecond, 100*time.Millisecond
		wins(t, s, c)
		armed.Store(true)
		if err := s.Renew(t.Context(), c.Key, c.Owner, time.Hour); !errors.Is(err, once.ErrLost) || txns != 2 {
			t.Errorf("%s: got error %v after %d transactions, want ErrLost after 2", name, err, txns)
		}
		armed.Store(false)
		rec, err := s.Load(t.Context(), c.Key)
		if name == "nothing else" && !errors.Is(err, once.ErrNotFound) || name != "nothing else" && rec.State != once.InFlight {
			t.Errorf("%s: then there is %v, error %v", name, rec.State, err)
		}
	}
}

// An etcd lease that somebody has revoked, or that ran out while this process was not looking, is
// replaced; what was attached to it has ended with it.
func TestLeasesThatAreGoneAreReplaced(t *testing.T) {
	t.Parallel()
	e := servers.Etcd(t, etcd)
	s, client := open(t, onceetcd.Config{DSN: dsn(e)}), raw(t, e)
	done := newClaim()
	wins(t, s, done)
	ok(t, s.Complete(t.Context(), done.Key, done.Owner, result, time.Hour))
	for range 3 {
		list, err := client.Leases(t.Context())
		ok(t, err)
		for _, l := range list.Leases {
			client.Revoke(t.Context(), l.ID) // the store may just have given it back
		}
		if _, err := s.Load(t.Context(), done.Key); !errors.Is(err, once.ErrNotFound) {
			t.Errorf("load of what was attached to a revoked lease: got error %v", err)
		}
		c := newClaim()
		wins(t, s, c)
		ok(t, s.Renew(t.Context(), c.Key, c.Owner, time.Hour))
		ok(t, s.Complete(t.Context(), c.Key, c.Owner, result, time.Hour))
		done = c
	}
}

// What is closed leaves no leases behind but those that are needed.
func TestCloseGivesBackWhatIsNotUsed(t *testing.T) {
	t.Parallel()
	e := servers.Etcd(t, etcd)
	s, client := open(t, onceetcd.Config{DSN: dsn(e)}), raw(t, e)
	c := newClaim()
	wins(t, s, c)
	leases := func() int {
		list, err := client.Leases(t.Context())
		ok(t, err)
		return len(list.Leases)
	}
	eventually(t, "a second lease is at hand", func() bool { return leases() == 2 })
	ok(t, s.Close())
	if n := leases(); n != 1 {
		t.Errorf("%d leases are left, want the one that is used", n)
	}
}
