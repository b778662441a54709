package oncesql_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/oncesql"
)

// proxied returns a proxy in front of the shared MariaDB, and the configuration of a database with
// tables that leads through it.
func proxied(t testing.TB) (*servers.Proxy, oncesql.Config) {
	t.Helper()
	cfg := migrated(t, mariadbConfig(t))
	p := servers.NewProxy(t, sharedServer(t).Addr)
	cfg.DSN = through(cfg.DSN, p.Addr)
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
		if rec.Attempt != 1 || again.Attempt != 1 || again.Fence != rec.Fence {
			t.Errorf("%s: repeated claims have attempts %d, %d and fences %d, %d, want one of each",
				n, rec.Attempt, again.Attempt, rec.Fence, again.Fence)
		}
		if stands, err := s.Claim(t.Context(), newClaim(c.Key.ID)); err != nil || stands.Owner != c.Owner {
			t.Errorf("%s: another claim sees owner %v, error %v, want the first", n, stands.Owner, err)
		}
	}
}

// A transactional claim waits for a lock, and no longer than that for the server.
func TestSilentConnectionIsGivenUpInTransactionalMode(t *testing.T) {
	t.Parallel()
	p, cfg := proxied(t)
	cfg.Timeout, cfg.LockWait = 200*time.Millisecond, time.Second
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

func TestTakeoverWhoseReplyWasLostCountsOnce(t *testing.T) {
	t.Parallel()
	p, cfg := proxied(t)
	s := open(t, cfg)
	c := newClaim("taken over")
	wins(t, s, c)
	ok(t, s.Renew(t.Context(), c.Key, c.Owner, 0))
	c.Owner, c.Takeover = once.NewOwner(), 10
	p.CutReply("attempt = attempt + 1")
	if _, err := s.Claim(t.Context(), c); err == nil || p.Faults() != 1 {
		t.Fatalf("the takeover got error %v after %d faults", err, p.Faults())
	}
	if rec := wins(t, s, c); rec.Attempt != 2 {
		t.Errorf("the repeated takeover is attempt %d, want 2", rec.Attempt)
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
	if _, err := s.Claim(t.Context(), c); err == nil {
		t.Fatal("a claim whose reply was lost has no error")
	}
	eventually(t, "the claim is repeated on another connection", func() bool {
		rec, err := s.Claim(t.Context(), c)
		return err == nil && rec.Won(c) && rec.Attempt == 1
	})
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
	cfg.Timeout = 2 * time.Second
	b := newBusiness(t, cfg)
	g := guardOver(t, openTransactional(t, cfg))
	for n, lose := range map[string]func(string){"cut": p.CutReply, "dropped": p.DropRequest, "lost": p.LoseReply} {
		for _, message := range []string{"UPDATE once_records", "COMMIT"} {
			id := n + " " + message[:3]
			runs := 0
			for again := true; again; {
				a, err := g.Begin(t.Context(), key(id), once.Fingerprint{})
				ok(t, err)
				runs++
				ok(t, b.add(a.Context(), id))
				if runs == 1 {
					lose(message)
				}
				err = a.Complete(outcome("outcome of " + id))
				if again = errors.Is(err, once.ErrRolledBack); !again {
					ok(t, err)
				}
			}
			want := 1
			if n == "dropped" || message != "COMMIT" {
				want = 2
			}
			if got := b.count(t, id); got != 1 || runs != want {
				t.Errorf("%s: there are %d effects of %d runs, want 1 of %d", id, got, runs, want)
			}
		}
	}
}

func TestOneExecutionThoughTheServerWasPausedAndKilled(t *testing.T) {
	t.Parallel()
	server := servers.MariaDB(t)
	cfg := migrated(t, mariadbOn(t, server))
	cfg.Timeout = 5 * time.Second
	s := open(t, cfg)
	g, err := once.New(once.Config{Store: s, InDoubt: once.Hold, Lease: 2 * time.Minute})
	ok(t, err)
	for name, disturb := range map[string]func(){
		"paused": func() {
			server.Pause()
			time.AfterFunc(100*time.Millisecond, server.Resume)
		},
		"killed": func() {
			server.Kill()
			server.Restart(t)
		},
	} {
		var ran atomic.Int32
		run := func() (int32, error) {
			return once.Do(t.Context(), g, key(name), once.Fingerprint{}, func(context.Context) (int32, error) {
				disturb() // while the outcome is still to be recorded
				return ran.Add(1), nil
			})
		}
		for range 2 {
			if got, err := run(); err != nil || got != 1 || ran.Load() != 1 {
				t.Fatalf("%s: got %d, error %v; it ran %d times", name, got, err, ran.Load())
			}
		}
	}
}

func TestAcknowledgedRecordsSurviveAKilledServer(t *testing.T) {
	t.Parallel()
	server := servers.MariaDB(t)
	cfg := migrated(t, mariadbOn(t, server))
	cfg.Timeout = 10 * time.Second
	s := open(t, cfg)
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

// A server that does not come back: nothing is run, and nothing is said to have happened.
func TestNothingRunsWithoutTheServer(t *testing.T) {
	t.Parallel()
	p, cfg := proxied(t)
	cfg.Timeout = time.Second
	s := open(t, cfg)
	p.Cut()
	_, err := once.Do(t.Context(), guardOver(t, s), key("a"), once.Fingerprint{}, func(context.Context) (int, error) {
		t.Error("it ran")
		return 0, nil
	})
	if err == nil || errors.Is(err, once.ErrInFlight) || errors.Is(err, once.ErrInDoubt) {
		t.Errorf("got error %v, want the store's", err)
	}
	if _, err := oncesql.Open(t.Context(), cfg); err == nil {
		t.Error("a server that cannot be reached was opened")
	}
}
