package oncepg_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/oncepg"
)

// proxied returns a proxy in front of the shared server, and the configuration that leads through it.
func proxied(t testing.TB) (*servers.Proxy, oncepg.Config) {
	t.Helper()
	cfg := migrated(t, config(t))
	p := servers.NewProxy(t, shared.server.Addr)
	cfg.DSN = through(shared.server, p.Addr)
	return p, cfg
}

func TestClaimWhoseReplyWasLostCountsOnce(t *testing.T) {
	t.Parallel()
	p, cfg := proxied(t)
	s := open(t, cfg)
	for n, lose := range map[string]func(string){"cut": p.CutReply, "dropped": p.DropRequest} {
		c := newClaim("the-" + n + "-claim")
		lose(c.Key.ID)
		if _, err := s.Claim(t.Context(), c); err == nil {
			t.Fatalf("%s: the claim got a reply", n)
		}
		rec := wins(t, s, c)
		again := wins(t, s, c)
		if rec.Attempt != 1 || again.Fence != rec.Fence {
			t.Errorf("%s: repeated claims have attempt %d and fences %d, %d, want one", n, rec.Attempt, rec.Fence, again.Fence)
		}
		if stands, err := s.Claim(t.Context(), newClaim(c.Key.ID)); err != nil || stands.Owner != c.Owner {
			t.Errorf("%s: another claim sees owner %v, error %v, want the first", n, stands.Owner, err)
		}
	}
}

func TestCompletionWhoseReplyWasLostIsRepeated(t *testing.T) {
	t.Parallel()
	p, cfg := proxied(t)
	s := open(t, cfg)
	for n, lose := range map[string]func(string){"cut": p.CutReply, "dropped": p.DropRequest} {
		c, out := newClaim(n), outcome("the outcome that was "+n)
		wins(t, s, c)
		lose(string(out.Data))
		if err := s.Complete(t.Context(), c.Key, c.Owner, out, long); err == nil {
			t.Fatalf("%s: the completion got a reply", n)
		}
		ok(t, s.Complete(t.Context(), c.Key, c.Owner, out, long))
		rec, err := s.Load(t.Context(), c.Key)
		if err != nil || rec.State != once.Done || !rec.Outcome.Equal(out) {
			t.Errorf("%s: the record is %v, error %v", n, rec.State, err)
		}
	}
}

func TestSilentConnectionIsGivenUp(t *testing.T) {
	t.Parallel()
	p, cfg := proxied(t)
	cfg.Timeout = 200 * time.Millisecond
	s := open(t, cfg)
	c := newClaim("silent")
	p.LoseReply(c.Key.ID)
	if _, err := s.Claim(t.Context(), c); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v, want a deadline that is exceeded", err)
	}
	eventually(t, "the claim is repeated on another connection", func() bool {
		rec, err := s.Claim(t.Context(), c)
		return err == nil && rec.Won(c) && rec.Attempt == 1
	})
}

// A transactional claim waits for a lock, and no longer than that for the server.
func TestSilentConnectionIsGivenUpInTransactionalMode(t *testing.T) {
	t.Parallel()
	p, cfg := proxied(t)
	cfg.Timeout, cfg.LockWait = 200*time.Millisecond, 100*time.Millisecond
	s := openTransactional(t, cfg)
	c := newClaim("silent")
	p.LoseReply(c.Key.ID)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := s.Claim(ctx, c); !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		t.Fatalf("got %v and the context's %v, want a deadline that is exceeded, but not the context's", err, ctx.Err())
	}
	eventually(t, "the operation is claimed on another connection", func() bool {
		rec, err := s.Claim(t.Context(), c)
		return err == nil && rec.Won(c)
	})
}

// A caller that is patient itself waits no longer than its context, though its statement travels
// with those of others.
func TestCallersLeaveABatchOneByOne(t *testing.T) {
	t.Parallel()
	p, cfg := proxied(t)
	s := open(t, cfg)
	wins(t, s, newClaim("warm"))
	p.Pause()
	var all sync.WaitGroup
	for n := range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(20+n)*time.Millisecond)
		defer cancel()
		all.Go(func() {
			if _, err := s.Claim(ctx, newClaim(fmt.Sprint("left", n))); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want a deadline that is exceeded", err)
			}
		})
	}
	all.Wait()
	p.Resume()
	eventually(t, "the store works again", func() bool {
		c := newClaim("after")
		rec, err := s.Claim(t.Context(), c)
		return err == nil && (rec.Won(c) || rec.State == once.InFlight)
	})
}

func TestAcknowledgedRecordsSurviveAKilledServer(t *testing.T) {
	t.Parallel()
	server := servers.Postgres(t, "recovery_init_sync_method = syncfs")
	s := open(t, migrated(t, oncepg.Config{DSN: server.DSN, Sweep: -1}))
	var done, held sync.Map
	var stop atomic.Bool
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for !stop.Load() {
				c := newClaim(once.NewOwner().String())
				rec, err := s.Claim(context.Background(), c)
				if err != nil || !rec.Won(c) {
					continue
				}
				held.Store(c, true)
				out := outcome(c.Owner.String())
				if s.Complete(context.Background(), c.Key, c.Owner, out, long) == nil {
					done.Store(c, out)
				}
			}
		})
	}
	count := func(m *sync.Map) (n int) { m.Range(func(any, any) bool { n++; return true }); return n }
	eventually(t, "some are done", func() bool { return count(&done) > 100 })
	server.Kill()
	stop.Store(true)
	all.Wait()
	server.Restart(t)
	held.Range(func(k, _ any) bool {
		c := k.(once.Claim)
		var rec once.Record
		eventually(t, "the record is loaded", func() bool {
			var err error
			rec, err = s.Load(context.Background(), c.Key)
			if errors.Is(err, once.ErrNotFound) {
				t.Fatal("an acknowledged claim is gone")
			}
			return err == nil
		})
		if out, was := done.Load(c); was && !rec.Outcome.Equal(out.(once.Outcome)) {
			t.Fatalf("an acknowledged outcome is gone: the record is %v", rec.State)
		}
		return true
	})
	t.Logf("%d claims and %d outcomes were acknowledged", count(&held), count(&done))
}

// With connections being cut all the time, every operation gets one outcome, which all callers
// are given, and whoever is refused is told so.
func TestCallersAgreeWhileConnectionsAreCut(t *testing.T) {
	t.Parallel()
	p, cfg := proxied(t)
	cfg.Timeout = time.Second
	guards := make([]*once.Guard, 2)
	for i := range guards {
		var err error
		guards[i], err = once.New(once.Config{Store: open(t, cfg), InDoubt: once.Hold, Wait: 5 * time.Second})
		ok(t, err)
	}
	var mended atomic.Bool
	var all sync.WaitGroup
	all.Go(func() {
		for range 12 {
			time.Sleep(50*time.Millisecond + rand.N(250*time.Millisecond))
			p.Cut()
			p.Mend()
		}
		mended.Store(true)
	})
	var effects, answers [30]atomic.Int32
	var outcomes [30]sync.Map
	for n := range effects {
		for caller := range 4 {
			all.Go(func() {
				for left := 10; left > 0; { // tries from when nothing is cut any more
					if mended.Load() {
						left--
					}
					got, err := once.Do(context.Background(), guards[caller%2], key(fmt.Sprint(n)), once.Fingerprint{},
						func(context.Context) (string, error) {
							effects[n].Add(1)
							return once.NewOwner().String(), nil
						})
					if err == nil {
						answers[n].Add(1)
						outcomes[n].Store(got, true)
					}
					if err == nil || errors.Is(err, once.ErrInDoubt) {
						return
					}
				}
			})
		}
	}
	all.Wait()
	answered := 0
	for n := range effects {
		different := 0
		outcomes[n].Range(func(any, any) bool { different++; return true })
		if effects[n].Load() > 1 || different > 1 {
			t.Errorf("operation %d has %d effects and %d different outcomes, want at most one", n, effects[n].Load(), different)
		}
		answered += int(answers[n].Load())
	}
	if answered == 0 {
		t.Error("nobody was given an answer")
	}
	t.Logf("%d of %d callers were given an answer", answered, 4*len(effects))
}

func TestLostCommitIsSettledByTheRecord(t *testing.T) {
	t.Parallel()
	p, cfg := proxied(t)
	b := newBusiness(t, shared.server.DSN)
	for n, lose := range map[string]func(string){"cut": p.CutReply, "dropped": p.DropRequest, "lost": p.LoseReply} {
		cfg.Timeout = time.Minute // a server that is slow must not be given up
		if n == "lost" {
			cfg.Timeout = 3 * time.Second // this one is
		}
		g := guardOver(t, openTransactional(t, cfg))
		for _, retention := range []time.Duration{long, 0} {
			id := fmt.Sprint(n, "/", retention)
			runs := 0
			for again := true; again; {
				a, err := g.Begin(t.Context(), key(id), once.Fingerprint{})
				ok(t, err)
				runs++
				ok(t, b.add(a.Context(), id))
				if runs == 1 {
					// Whatever is sent next is the completion: it contains the key.
					lose(id)
				}
				err = a.CompleteFor(outcome("outcome of "+id), retention)
				if again = errors.Is(err, once.ErrRolledBack); !again {
					ok(t, err)
				}
			}
			want := 1
			if n == "dropped" {
				want = 2
			}
			if got := b.count(t, id); got != 1 || runs != want {
				t.Errorf("%s: there are %d effects of %d runs, want 1 of %d", id, got, runs, want)
			}
		}
	}
}

func TestStandbyIsRefused(t *testing.T) {
	t.Parallel()
	primary := servers.Postgres(t)
	cfg := migrated(t, oncepg.Config{DSN: primary.DSN, Sweep: -1})
	standby := primary.Standby(t)
	_, err := oncepg.Open(t.Context(), oncepg.Config{DSN: standby.DSN})
	if err == nil || !strings.Contains(err.Error(), "standby") {
		t.Errorf("open on a standby: got %v, want an error that says so", err)
	}

	// Asynchronous replication may forget; synchronous may not.
	if g := open(t, cfg).Guarantees(); g.Failover != once.Lost {
		t.Errorf("with an asynchronous standby a failover is said to leave claims %v", g.Failover)
	}
	admin := newBusiness(t, primary.DSN)
	ok(t, admin.exec("ALTER SYSTEM SET synchronous_standby_names = '*'"))
	ok(t, admin.exec("SELECT pg_reload_conf()"))
	eventually(t, "replication is synchronous", func() bool {
		var state string
		err := admin.pool.QueryRow(t.Context(), "SELECT sync_state FROM pg_stat_replication").Scan(&state)
		return err == nil && state == "sync"
	})
	s := open(t, cfg)
	if g := s.Guarantees(); g.Failover != once.Survives || g.Weakness() != "" {
		t.Errorf("with a synchronous standby a failover is said to leave claims %v", g.Failover)
	}

	// And so it is: the standby takes over with all that was acknowledged.
	claims := make([]once.Claim, 50)
	for n := range claims {
		claims[n] = newClaim(fmt.Sprint(n))
		wins(t, s, claims[n])
	}
	ok(t, s.Complete(t.Context(), claims[0].Key, claims[0].Owner, outcome("done"), long))
	primary.Kill()
	standby.Promote(t)
	after := open(t, oncepg.Config{DSN: standby.DSN, Sweep: -1})
	for n, c := range claims {
		rec, err := after.Load(t.Context(), c.Key)
		if err != nil || rec.Owner != c.Owner || (rec.State == once.Done) != (n == 0) {
			t.Fatalf("after the failover claim %d is %v, error %v", n, rec.State, err)
		}
	}
	if rec := wins(t, after, newClaim("new")); rec.Fence == 0 {
		t.Error("after the failover a claim has no fence")
	}
}
