package onceredis_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/onceredis"
)

// behindProxy returns a store that reaches the server through a proxy, and one that does not.
func behindProxy(t *testing.T, r *servers.RedisServer) (s, direct *onceredis.Store, p *servers.Proxy) {
	t.Helper()
	p = servers.NewProxy(t, r.Addr)
	direct = open(t, onceredis.Config{DSN: dsn(r)})
	warm(t, direct)
	return open(t, onceredis.Config{DSN: "redis://" + p.Addr}), direct, p
}

// The requests of all verbs have this in them, and no others.
const anyVerb = "EVALSHA"

func TestClaimWhoseReplyWasLostIsRepeatedByItsOwner(t *testing.T) {
	t.Parallel()
	r := servers.Redis(t)
	s, _, p := behindProxy(t, r)
	c := newClaim()
	p.CutReply(anyVerb)
	_, err := s.Claim(t.Context(), c)
	if err == nil || p.Faults() != 1 {
		t.Fatalf("claim whose reply was cut: got error %v after %d faults", err, p.Faults())
	}
	if rec := wins(t, s, c); rec.Attempt != 1 {
		t.Errorf("the repeated claim has attempt %d, want 1", rec.Attempt)
	}
	if n := r.Calls(t)["set"]; n != setsOfWarm+1 {
		t.Errorf("the server wrote the record %d times, want once", n-setsOfWarm)
	}
}

// setsOfWarm is how many records warm writes.
const setsOfWarm = 2*2 + 2

func TestOneExecutionWhateverHappensToTheConnection(t *testing.T) {
	t.Parallel()
	faults := []struct {
		name string
		arm  func(*servers.Proxy)
	}{
		{"request dropped", func(p *servers.Proxy) { p.DropRequest(anyVerb) }},
		{"reply cut off", func(p *servers.Proxy) { p.CutReply(anyVerb) }},
	}
	for _, during := range []string{"claim", "complete"} {
		for _, fault := range faults {
			t.Run(during+" "+fault.name, func(t *testing.T) {
				t.Parallel()
				s, direct, p := behindProxy(t, servers.Redis(t))
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
				if err != nil || got != 1 || ran.Load() != 1 || p.Faults() != 1 {
					t.Fatalf("got %d, error %v; it ran %d times, with %d faults; want 1, none, once, one",
						got, err, ran.Load(), p.Faults())
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
	p := servers.NewProxy(t, servers.Redis(t).Addr)
	s := open(t, onceredis.Config{DSN: "redis://" + p.Addr, Timeout: 200 * time.Millisecond, MinReplicasTimeout: 1})
	warm(t, s)
	c := newClaim()
	p.LoseReply(anyVerb)
	if _, err := s.Claim(context.WithoutCancel(t.Context()), c); err == nil || p.Faults() != 1 {
		t.Fatalf("claim whose reply was lost: got error %v after %d faults", err, p.Faults())
	}
	wins(t, s, c)
}

// A connection is made for all who need it. That the first of them gives up is not their affair.
func TestNobodySuffersFromTheImpatienceOfOthers(t *testing.T) {
	t.Parallel()
	r := servers.Redis(t)
	s, _, p := behindProxy(t, r)
	p.Delay(20 * time.Millisecond) // of the handshake too
	stop := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(stop)
	for range 16 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
				s.Claim(ctx, newClaim())
				cancel()
			}
		})
	}
	for range 3 {
		p.Cut()
		p.Mend()
		// Of its own connection being cut a claim may hear, and be repeated.
		eventually(t, "a patient claim is made", func() bool {
			err := second(s.Claim(t.Context(), newClaim()))
			if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
				t.Errorf("a patient claim got the error of others: %v", err)
			}
			return err == nil
		})
		for _, res := range s.ClaimBatch(t.Context(), []once.Claim{newClaim(), newClaim()}) {
			if errors.Is(res.Err, context.DeadlineExceeded) || errors.Is(res.Err, context.Canceled) {
				t.Errorf("a patient batch got the error of others: %v", res.Err)
			}
		}
	}
}

func TestOneExecutionThoughTheServerWasPaused(t *testing.T) {
	t.Parallel()
	r := servers.Redis(t)
	s := open(t, onceredis.Config{DSN: dsn(r)})
	g := guard(t, s, once.Hold)
	var ran atomic.Int32
	r.Pause()
	done := make(chan error, 1)
	go func() {
		_, err := once.Do(t.Context(), g, newClaim().Key, once.Fingerprint{}, func(context.Context) (int, error) {
			ran.Add(1)
			r.Pause() // again, while the outcome is recorded
			time.AfterFunc(100*time.Millisecond, r.Resume)
			return 0, nil
		})
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("it ended while the server was paused: error %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	r.Resume()
	ok(t, <-done)
	if ran.Load() != 1 {
		t.Errorf("it ran %d times", ran.Load())
	}
}

// The outcome is kept from its owner until the server is back and has it.
func TestOneExecutionThoughTheServerWasKilled(t *testing.T) {
	t.Parallel()
	r := servers.Redis(t, "appendfsync always")
	tries := make(chan struct{}, 1)
	g, err := once.New(once.Config{
		Store:   open(t, onceredis.Config{DSN: dsn(r)}),
		InDoubt: once.Hold,
		Lease:   time.Minute,
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
			r.Kill()
			return ran.Add(1), nil
		})
	}
	done := make(chan error, 1)
	go func() { done <- second(run()) }()
	<-tries // to record the outcome, in vain
	r.Restart(t)
	ok(t, <-done)
	if got, err := run(); err != nil || got != 1 || ran.Load() != 1 {
		t.Errorf("replay: got %d, error %v; it ran %d times", got, err, ran.Load())
	}
}

// A server that does not come back: nothing may be run, and nothing is said to have happened.
func TestNothingRunsWithoutTheServer(t *testing.T) {
	t.Parallel()
	r := servers.Redis(t)
	g := guard(t, open(t, onceredis.Config{DSN: dsn(r)}), once.Hold)
	r.Kill()
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
	s := open(t, onceredis.Config{DSN: dsn(servers.Redis(t))})
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

// guard returns one that gives the store time on a busy machine.
func guard(t testing.TB, s once.Store, p once.Policy) *once.Guard {
	t.Helper()
	g, err := once.New(once.Config{Store: s, InDoubt: p, Lease: time.Minute, DangerouslyTrustStore: true})
	ok(t, err)
	return g
}
