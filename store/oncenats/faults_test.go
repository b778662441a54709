package oncenats_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/oncenats"
)

// behindProxy returns a store that reaches the server through a proxy, and one that does not.
func behindProxy(t *testing.T) (s, direct *oncenats.Store, p *servers.Proxy) {
	t.Helper()
	n := startMigrated(t)
	p = servers.NewProxy(t, n.addr())
	return open(t, oncenats.Config{DSN: "nats://" + p.Addr}), open(t, oncenats.Config{DSN: n.dsn()}), p
}

// The messages that change a record have this in them, and no others.
const anyChange = "Nats-Expected-Last-Subject-Sequence"

func TestClaimWhoseReplyWasLostIsRepeatedByItsOwner(t *testing.T) {
	t.Parallel()
	s, direct, p := behindProxy(t)
	c := newClaim()
	p.CutReply(anyChange)
	_, err := s.Claim(t.Context(), c)
	if err == nil || p.Faults() != 1 {
		t.Fatalf("claim whose reply was cut: got error %v after %d faults", err, p.Faults())
	}
	eventually(t, "the claim is there", func() bool {
		rec, err := direct.Load(t.Context(), c.Key)
		return err == nil && rec.Owner == c.Owner
	})
	fence := wins(t, direct, c).Fence
	if rec := wins(t, s, c); rec.Attempt != 1 || rec.Fence != fence {
		t.Errorf("the repeated claim has attempt %d and fence %d, want 1 and %d", rec.Attempt, rec.Fence, fence)
	}
	// The owner goes on from there, though this process has not heard what the record's state is.
	ok(t, s.Complete(t.Context(), c.Key, c.Owner, result, time.Hour))
	ok(t, s.Complete(t.Context(), c.Key, c.Owner, result, time.Hour))
}

func TestOneExecutionWhateverHappensToTheConnection(t *testing.T) {
	t.Parallel()
	for _, fault := range []struct {
		name string
		arm  func(*servers.Proxy)
	}{
		{"request dropped", func(p *servers.Proxy) { p.DropRequest(anyChange) }},
		{"reply cut off", func(p *servers.Proxy) { p.CutReply(anyChange) }},
	} {
		for _, during := range []string{"claim", "complete"} {
			t.Run(during+" "+fault.name, func(t *testing.T) {
				t.Parallel()
				s, direct, p := behindProxy(t)
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
	n := startMigrated(t)
	p := servers.NewProxy(t, n.addr())
	s := open(t, oncenats.Config{DSN: "nats://" + p.Addr, Timeout: time.Second})
	c := newClaim()
	p.LoseReply(anyChange)
	if _, err := s.Claim(context.WithoutCancel(t.Context()), c); err == nil || p.Faults() != 1 {
		t.Fatalf("claim whose reply was lost: got error %v after %d faults", err, p.Faults())
	}
	eventually(t, "the silent connection is replaced", func() bool {
		rec, err := s.Claim(t.Context(), c)
		return err == nil && rec.Won(c) && rec.Attempt == 1
	})
}

// What a caller has given up is not sent later.
func TestNothingIsSentForCallersWhoAreGone(t *testing.T) {
	t.Parallel()
	s, direct, p := behindProxy(t)
	p.Cut()
	c := newClaim()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	eventually(t, "the claim fails", func() bool { return second(s.Claim(ctx, c)) != nil })
	p.Mend()
	wins(t, s, newClaim()) // over the new connection, after whatever else would be sent over it
	if _, err := direct.Load(t.Context(), c.Key); !errors.Is(err, once.ErrNotFound) {
		t.Errorf("the claim of the caller who is gone: got error %v, want ErrNotFound", err)
	}
}

func TestOneExecutionThoughTheServerWasPaused(t *testing.T) {
	t.Parallel()
	n := startNodes(t, 1, false)[0]
	g := guard(t, open(t, oncenats.Config{DSN: "nats://" + n.addr()}), once.Hold)
	var ran atomic.Int32
	n.pause()
	done := make(chan error, 1)
	go func() {
		_, err := once.Do(t.Context(), g, newClaim().Key, once.Fingerprint{}, func(context.Context) (int, error) {
			ran.Add(1)
			n.pause() // again, while the outcome is recorded
			time.AfterFunc(100*time.Millisecond, n.resume)
			return 0, nil
		})
		done <- err
	}()
	select {
	case err := <-done:
		t.Errorf("it ended while the server was paused: error %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	n.resume()
	ok(t, <-done)
	if ran.Load() != 1 {
		t.Errorf("it ran %d times", ran.Load())
	}
}

// The outcome is kept from its owner until the server is back and has it.
func TestOneExecutionThoughTheServerWasKilled(t *testing.T) {
	t.Parallel()
	n := startNodes(t, 1, true)[0]
	tries := make(chan struct{}, 1)
	g, err := once.New(once.Config{
		Store:                 open(t, oncenats.Config{DSN: "nats://" + n.addr(), Timeout: time.Second}),
		InDoubt:               once.Hold,
		DangerouslyTrustStore: true,
		Lease:                 10 * time.Minute,
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
			n.kill()
			return ran.Add(1), nil
		})
	}
	done := make(chan error, 1)
	go func() { done <- second(run()) }()
	<-tries // to record the outcome, in vain
	n.start(t)
	ok(t, <-done)
	eventually(t, "there is a replay", func() bool {
		got, err := run()
		return err == nil && got == 1
	})
	if ran.Load() != 1 {
		t.Errorf("it ran %d times", ran.Load())
	}
}

// However many claims there are, they wait for a connection once.
func TestBatchWithoutAConnectionEndsWithTheTimeout(t *testing.T) {
	t.Parallel()
	n := startMigrated(t)
	s := open(t, oncenats.Config{DSN: n.dsn(), Timeout: time.Second})
	n.stop()
	eventually(t, "the connection is lost", s.Disconnected)
	claims := make([]once.Claim, 2000)
	for i := range claims {
		claims[i] = newClaim()
	}
	claims[1000].Owner = once.Owner{}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for i, res := range s.ClaimBatch(ctx, claims) {
		if res.Err == nil {
			t.Fatalf("claim %d: no error without a server", i)
		}
	}
	ok(t, ctx.Err()) // it was not this that ended it
}

// A server that does not come back: nothing may be run, and nothing is said to have happened.
func TestNothingRunsWithoutTheServer(t *testing.T) {
	t.Parallel()
	n := startMigrated(t)
	g := guard(t, open(t, oncenats.Config{DSN: n.dsn(), Timeout: time.Second}), once.Hold)
	n.stop()
	_, err := once.Do(t.Context(), g, newClaim().Key, once.Fingerprint{}, func(context.Context) (int, error) {
		t.Error("it ran")
		return 0, nil
	})
	if err == nil || errors.Is(err, once.ErrInFlight) || errors.Is(err, once.ErrInDoubt) {
		t.Errorf("got error %v, want the store's", err)
	}
}

func TestDoctorWithoutTheServerSaysSo(t *testing.T) {
	t.Parallel()
	n := startMigrated(t)
	s := open(t, oncenats.Config{DSN: n.dsn(), Timeout: time.Second})
	n.stop()
	eventually(t, "the connection is lost", s.Disconnected)
	if _, err := s.Doctor(t.Context()); err == nil || !strings.Contains(err.Error(), "no answer in time") {
		t.Errorf("got error %v", err)
	}
}

func TestVerbsAfterCloseReturnErrClosed(t *testing.T) {
	t.Parallel()
	s := open(t, oncenats.Config{DSN: startMigrated(t).dsn()})
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
