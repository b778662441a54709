package oncenats_test

import (
	"context"
	"flag"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/store/oncenats"
)

var failovers = flag.Int("failover", 1, "how often the leader is killed in the test of failover")

// Three servers, each a process; the one that leads the stream is killed again and again while
// operations are claimed and completed. Each operation is wanted by two callers through different
// connections, who repeat every verb until its outcome is known. Then exactly one of them has got
// the claim, and all that was acknowledged is there.
func TestFailoverLosesNothing(t *testing.T) {
	t.Parallel()
	nodes := startNodes(t, 3, true)
	cfg := oncenats.Config{DSN: nodesDSN(nodes), Timeout: 3 * time.Second}
	handles := []*oncenats.Store{open(t, cfg), open(t, cfg)}
	stop := make(chan struct{})
	var disturbed, callers sync.WaitGroup
	disturbed.Go(func() {
		defer close(stop)
		killLeaders(t, nodes, *failovers, nil)
	})
	var mu sync.Mutex
	owners := make(map[once.Key]once.Owner) // of operations whose completion was acknowledged
	var unknown atomic.Int64                // verbs that had to be repeated
	for range 4 {
		callers.Go(func() {
			for !closed(stop) {
				k := newClaim().Key
				var won [2]once.Owner
				var both sync.WaitGroup
				for i, s := range handles {
					both.Go(func() { won[i] = contend(t, s, k, &unknown) })
				}
				both.Wait()
				if (won[0] == once.Owner{}) == (won[1] == once.Owner{}) {
					t.Errorf("of two claims of one key, won: %t and %t", won[0] != once.Owner{}, won[1] != once.Owner{})
				}
				mu.Lock()
				owners[k] = oneOf(won[0], won[1])
				mu.Unlock()
			}
		})
	}
	callers.Wait()
	disturbed.Wait()
	for k, o := range owners {
		var rec once.Record
		repeat(t, &unknown, func(ctx context.Context) (err error) {
			rec, err = handles[0].Load(ctx, k)
			return err
		})
		if rec.State != once.Done || rec.Owner != o || string(rec.Outcome.Data) != o.String() || rec.Attempt != 1 {
			t.Fatalf("%v: acknowledged as done by %v, and now %v by %v, attempt %d", k, o, rec.State, rec.Owner, rec.Attempt)
		}
	}
	t.Logf("%d failovers: %d operations, each claimed twice, nothing lost; %d verbs were repeated",
		*failovers, len(owners), unknown.Load())
}

// oneOf returns the one that is not zero.
func oneOf(a, b once.Owner) once.Owner {
	if a == (once.Owner{}) {
		return b
	}
	return a
}

// contend claims the operation, and completes it if it wins. It returns the owner if so.
func contend(t *testing.T, s *oncenats.Store, k once.Key, unknown *atomic.Int64) once.Owner {
	c := claimOn(k)
	var rec once.Record
	repeat(t, unknown, func(ctx context.Context) (err error) {
		rec, err = s.Claim(ctx, c)
		return err
	})
	if !rec.Won(c) {
		return once.Owner{}
	}
	out := once.Outcome{Data: []byte(c.Owner.String())}
	repeat(t, unknown, func(ctx context.Context) error {
		return s.Complete(ctx, k, c.Owner, out, time.Hour)
	})
	return c.Owner
}

// repeat repeats the verb until it is known what came of it.
func repeat(t *testing.T, unknown *atomic.Int64, verb func(context.Context) error) {
	t.Helper()
	eventually(t, "a verb is acknowledged", func() bool {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 5*time.Second)
		defer cancel()
		err := verb(ctx)
		if err != nil {
			unknown.Add(1)
		}
		return err == nil
	})
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// killLeaders kills the stream's leader n times, and starts it again when another one leads.
// It ends earlier if stop is closed.
func killLeaders(t *testing.T, nodes []*node, n int, stop <-chan struct{}) {
	for range n {
		var old *node
		eventually(t, "there is a leader", func() bool {
			old = leader(t, nodes)
			return old != nil || closed(stop)
		})
		time.Sleep(300 * time.Millisecond) // under load
		if closed(stop) {
			return
		}
		old.kill()
		eventually(t, "there is another leader", func() bool {
			now := leader(t, nodes)
			return now != nil && now != old || closed(stop)
		})
		if closed(stop) {
			return
		}
		time.Sleep(300 * time.Millisecond)
		old.start(t)
	}
}
