package onceetcd_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/onceetcd"
)

// behindProxy returns a store that reaches the server through a proxy, and one that does not.
func behindProxy(t *testing.T, e *servers.EtcdServer, cfg onceetcd.Config) (s, direct *onceetcd.Store, p *servers.Proxy) {
	t.Helper()
	p = servers.NewProxy(t, e.Addr)
	direct = open(t, onceetcd.Config{DSN: dsn(e)})
	cfg.DSN = "etcd://" + p.Addr
	s = open(t, cfg)
	c := newClaim()
	wins(t, s, c) // so that leases are at hand
	ok(t, s.Complete(t.Context(), c.Key, c.Owner, result, time.Hour))
	return s, direct, p
}

// The requests of all verbs have this in them, and no others.
const anyVerb = "once/r/"

// The request has reached the server, which carries it out, and no reply comes.
func TestClaimWhoseReplyWasLostIsRepeatedByItsOwner(t *testing.T) {
	t.Parallel()
	s, direct, p := behindProxy(t, servers.Etcd(t, etcd), onceetcd.Config{})
	c := newClaim()
	p.LoseReply(anyVerb)
	ctx, cancel := context.WithCancel(t.Context())
	claimed := make(chan error, 1)
	go func() { claimed <- second(s.Claim(ctx, c)) }()
	eventually(t, "the server has the claim", func() bool { return second(direct.Load(t.Context(), c.Key)) == nil })
	before, err := direct.Load(t.Context(), c.Key)
	ok(t, err)
	cancel()
	if err := <-claimed; !errors.Is(err, context.Canceled) || p.Faults() != 1 {
		t.Fatalf("claim whose reply was lost: got error %v after %d faults", err, p.Faults())
	}
	p.Cut()
	p.Mend()
	eventually(t, "the claim is repeated", func() bool {
		rec, err := s.Claim(t.Context(), c)
		if err == nil && (!rec.Won(c) || rec.Attempt != 1 || rec.Fence != before.Fence) {
			t.Errorf("the repeated claim got attempt %d, fence %d, want 1 and %d", rec.Attempt, rec.Fence, before.Fence)
		}
		return err == nil
	})
}

func TestOneExecutionWhateverHappensToTheConnection(t *testing.T) {
	t.Parallel()
	faults := []struct {
		name string
		arm  func(*servers.Proxy)
	}{
		{"request dropped", func(p *servers.Proxy) { p.DropRequest(anyVerb) }},
		{"reply cut off", func(p *servers.Proxy) { p.CutReply(anyVerb) }},
	}
	e := servers.Etcd(t, etcd)
	for _, during := range []string{"claim", "complete"} {
		for _, fault := range faults {
			t.Run(during+" "+fault.name, func(t *testing.T) {
				t.Parallel()
				s, direct, p := behindProxy(t, e, onceetcd.Config{})
				g := guard(t, s, once.Hold)
				var ran atomic.Int32
				k := newClaim().Key
				if during == "claim" {
					fault.arm(p)
				}
				got, err := once.Do(t.Context(), g, k, once.Fingerprint{}, func(context.Context) (int32, error) {
					if during == "complete" {
						fault.arm(p)
					}
					return ran.Add(1), nil
				})
				if p.Faults() != 1 {
					t.Fatalf("%d faults, want one", p.Faults())
				}
				if err != nil && during == "claim" {
					// A guard tries a claim three times within milliseconds, and a connection may take
					// longer. Then nothing ran, and nothing stands in the way.
					eventually(t, "the next caller may run it", func() bool {
						got, err = once.Do(t.Context(), g, k, once.Fingerprint{}, func(context.Context) (int32, error) {
							return ran.Add(1), nil
						})
						return err == nil
					})
				}
				if err != nil || got != 1 || ran.Load() != 1 {
					t.Fatalf("got %d, error %v; it ran %d times; want 1, none, once", got, err, ran.Load())
				}
				again, err := once.Do(t.Context(), guard(t, direct, once.Hold), k, once.Fingerprint{}, func(context.Context) (int32, error) {
					return ran.Add(1), nil
				})
				if err != nil || again != 1 || ran.Load() != 1 {
					t.Errorf("replay: got %d, error %v; it ran %d times", again, err, ran.Load())
				}
			})
		}
	}
}

// A reply that does not come, on a connection that stays open, is not waited for for ever.
func TestLostRepliesEndWithTheTimeout(t *testing.T) {
	t.Parallel()
	s, _, p := behindProxy(t, servers.Etcd(t, etcd), onceetcd.Config{Timeout: 5 * time.Second})
	p.LoseReply(anyVerb)
	if _, err := s.Claim(context.WithoutCancel(t.Context()), newClaim()); err == nil || p.Faults() != 1 {
		t.Fatalf("claim whose reply was lost: got error %v after %d faults", err, p.Faults())
	}
}

func TestOneExecutionThoughTheServerWasPaused(t *testing.T) {
	t.Parallel()
	e := servers.Etcd(t, etcd)
	s := open(t, onceetcd.Config{DSN: dsn(e)})
	g := guard(t, s, once.Hold)
	var ran atomic.Int32
	e.Pause()
	done := make(chan error, 1)
	go func() {
		_, err := once.Do(t.Context(), g, newClaim().Key, once.Fingerprint{}, func(context.Context) (int, error) {
			ran.Add(1)
			e.Pause() // again, while the outcome is recorded
			time.AfterFunc(100*time.Millisecond, e.Resume)
			return 0, nil
		})
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("it ended while the server was paused: error %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	e.Resume()
	ok(t, <-done)
	if ran.Load() != 1 {
		t.Errorf("it ran %d times", ran.Load())
	}
}

// The outcome is kept from its owner until the server is back and has it.
func TestOneExecutionThoughTheServerWasKilled(t *testing.T) {
	t.Parallel()
	e := servers.Etcd(t, etcd)
	tries := make(chan struct{}, 1)
	g, err := once.New(once.Config{
		Store:   open(t, onceetcd.Config{DSN: dsn(e)}),
		InDoubt: once.Hold,
		Lease:   2 * time.Minute,
		Pause: func(ctx context.Context, d time.Duration) error {
			select {
			case tries <- struct{}{}:
			default:
			}
			time.Sleep(d)
			return ctx.Err()
		},
	})
	ok(t, err)
	var ran atomic.Int32
	k := newClaim().Key
	run := func() (int32, error) {
		return once.Do(t.Context(), g, k, once.Fingerprint{}, func(context.Context) (int32, error) {
			e.Kill()
			return ran.Add(1), nil
		})
	}
	done := make(chan error, 1)
	go func() { done <- second(run()) }()
	<-tries // to record the outcome, in vain
	e.Restart(t)
	ok(t, <-done)
	if got, err := run(); err != nil || got != 1 || ran.Load() != 1 {
		t.Errorf("replay: got %d, error %v; it ran %d times", got, err, ran.Load())
	}
}

// A server that does not come back: nothing may be run, and nothing is said to have happened.
func TestNothingRunsWithoutTheServer(t *testing.T) {
	t.Parallel()
	e := servers.Etcd(t, etcd)
	g := guard(t, open(t, onceetcd.Config{DSN: dsn(e)}), once.Hold)
	e.Kill()
	_, err := once.Do(t.Context(), g, newClaim().Key, once.Fingerprint{}, func(context.Context) (int, error) {
		t.Error("it ran")
		return 0, nil
	})
	if err == nil || errors.Is(err, once.ErrInFlight) || errors.Is(err, once.ErrInDoubt) {
		t.Errorf("got error %v, want the store's", err)
	}
}

func TestVerbsAfterCloseReturnErrClosed(t *testing.T) {
	t.Parallel()
	s := open(t, onceetcd.Config{DSN: dsn(servers.Etcd(t, etcd))})
	c := newClaim()
	wins(t, s, c)
	waited := make(chan error, 1)
	go func() { waited <- s.Wait(t.Context(), c.Key, c.Owner) }()
	ok(t, s.Close())
	ok(t, s.Close())
	for i, err := range []error{
		<-waited,
		second(s.Claim(t.Context(), c)),
		s.Renew(t.Context(), c.Key, c.Owner, time.Hour),
		s.Complete(t.Context(), c.Key, c.Owner, result, time.Hour),
		s.Release(t.Context(), c.Key, c.Owner),
		second(s.Load(t.Context(), c.Key)),
		s.Forget(t.Context(), c.Key, c.Owner),
		s.ClaimBatch(t.Context(), []once.Claim{c})[0].Err,
		s.Wait(t.Context(), c.Key, c.Owner),
		second(s.Doctor(t.Context())),
	} {
		if !errors.Is(err, once.ErrClosed) {
			t.Errorf("%d: got error %v, want ErrClosed", i, err)
		}
	}
	for _, err := range s.List(t.Context(), once.Filter{}) {
		if !errors.Is(err, once.ErrClosed) {
			t.Errorf("list: got error %v, want ErrClosed", err)
		}
	}
}
