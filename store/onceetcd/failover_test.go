package onceetcd_test

import (
	"context"
	"errors"
	"flag"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/onceetcd"
	clientv3 "go.etcd.io/etcd/client/v3"
)

var failovers = flag.Int("failover", 2, "how often the leader is killed in the test of failover")

// Three members, each a process; the one that leads is killed (kill -9) again and again while
// operations are claimed and completed. Each operation is wanted by two callers through different
// connections, who repeat every verb until they know what came of it. Then exactly one of
// them has got the claim, and all that was acknowledged is there.
func TestFailoverLosesNothing(t *testing.T) {
	t.Parallel()
	members := servers.EtcdCluster(t, etcd)
	cfg := onceetcd.Config{DSN: dsn(members...), Timeout: 5 * time.Second}
	handles := []*onceetcd.Store{open(t, cfg), open(t, cfg)}
	var done, repeated atomic.Int64
	stop := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		defer close(stop)
		killLeaders(t, members, *failovers, func(what string) {
			before := done.Load()
			eventually(t, "operations are done "+what, func() bool { return done.Load() > before+200 })
		})
	})
	var mu sync.Mutex
	owners := make(map[once.Key]once.Owner) // of operations whose completion was acknowledged
	for range 8 {
		all.Go(func() {
			for !closed(stop) && !t.Failed() {
				k := newClaim().Key
				var won [2]once.Owner
				var both sync.WaitGroup
				for i, s := range handles {
					both.Go(func() { won[i] = contend(t, s, k, &repeated) })
				}
				both.Wait()
				if (won[0] == once.Owner{}) == (won[1] == once.Owner{}) {
					t.Errorf("of two claims of one key, won: %t and %t", won[0] != once.Owner{}, won[1] != once.Owner{})
				}
				mu.Lock()
				owners[k] = won[0]
				if (won[0] == once.Owner{}) {
					owners[k] = won[1]
				}
				mu.Unlock()
				done.Add(1)
			}
		})
	}
	all.Wait()
	for k, o := range owners {
		var rec once.Record
		repeat(t, &repeated, func(ctx context.Context) (err error) {
			rec, err = handles[0].Load(ctx, k)
			return err
		})
		if rec.State != once.Done || rec.Owner != o || string(rec.Outcome.Data) != o.String() || rec.Attempt != 1 {
			t.Fatalf("%v: acknowledged as done by %v, and now %v by %v, attempt %d", k, o, rec.State, rec.Owner, rec.Attempt)
		}
	}
	t.Logf("%d leaders killed: %d operations, each claimed twice, nothing lost; %d verbs were repeated",
		*failovers, len(owners), repeated.Load())
}

// contend claims the operation, and completes it if it wins. It returns the owner if so.
func contend(t *testing.T, s *onceetcd.Store, k once.Key, repeated *atomic.Int64) once.Owner {
	c := claimOn(k)
	var rec once.Record
	repeat(t, repeated, func(ctx context.Context) (err error) {
		rec, err = s.Claim(ctx, c)
		return err
	})
	if !rec.Won(c) {
		return once.Owner{}
	}
	out := once.Outcome{Data: []byte(c.Owner.String())}
	repeat(t, repeated, func(ctx context.Context) error {
		return s.Complete(ctx, c.Key, c.Owner, out, time.Hour)
	})
	return c.Owner
}

// repeat carries the verb out until it is known what came of it.
func repeat(t *testing.T, repeated *atomic.Int64, verb func(context.Context) error) {
	deadline := time.Now().Add(2 * time.Minute)
	for {
		err := verb(t.Context())
		if err == nil {
			return
		}
		if errors.Is(err, once.ErrLost) || errors.Is(err, once.ErrNotFound) || time.Now().After(deadline) {
			t.Errorf("a verb that is repeated: %v", err)
			return
		}
		repeated.Add(1)
		time.Sleep(5 * time.Millisecond)
	}
}

// killLeaders kills the leader so many times, and starts it again when another one leads. Progress
// waits until operations are done, with all members and without the one.
func killLeaders(t *testing.T, members []*servers.EtcdServer, times int, progress func(what string)) {
	client := raw(t, members...)
	for range times {
		progress("by three members")
		leader := leaderOf(t, client, members)
		leader.Kill()
		progress("without the former leader")
		leader.Restart(t)
	}
}

// leaderOf returns the member that leads.
func leaderOf(t *testing.T, client *clientv3.Client, members []*servers.EtcdServer) (leader *servers.EtcdServer) {
	eventually(t, "there is a leader", func() bool {
		for _, m := range members {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			status, err := client.Status(ctx, "http://"+m.Addr)
			cancel()
			if err == nil && status.Leader != 0 && status.Leader == status.Header.MemberId {
				leader = m
				return true
			}
		}
		return false
	})
	return leader
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// A change of leader ends no lease and no retention early, those neither that were made to last
// longer by a renewal.
func TestFailoverEndsNothingEarly(t *testing.T) {
	t.Parallel()
	members := servers.EtcdCluster(t, etcd)
	s := open(t, onceetcd.Config{DSN: dsn(members...), Timeout: 5 * time.Second})
	const lasts = 6 * time.Second
	flying, renewed, done := newClaim(), newClaim(), newClaim()
	flying.Lease, renewed.Lease = lasts, time.Second
	for _, c := range []once.Claim{renewed, done, flying} {
		wins(t, s, c)
	}
	ok(t, s.Renew(t.Context(), renewed.Key, renewed.Owner, lasts))
	ok(t, s.Complete(t.Context(), done.Key, done.Owner, result, lasts))
	ends := time.Now().Add(lasts)
	leaderOf(t, raw(t, members...), members).Kill()
	seen := 0
	for time.Now().Before(ends) {
		for c, want := range map[once.Claim]once.State{flying: once.InFlight, renewed: once.InFlight, done: once.Done} {
			rec, err := s.Load(t.Context(), c.Key)
			if !time.Now().Before(ends.Add(-100 * time.Millisecond)) {
				break
			}
			if errors.Is(err, once.ErrNotFound) || err == nil && rec.State != want {
				t.Fatalf("%v before its end it is %v (error %v), want %v", time.Until(ends), rec.State, err, want)
			}
			if err == nil {
				seen++
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	if seen == 0 {
		t.Log("nothing was seen: there was no leader for so long")
	}
}
