package onceredis_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/onceredis"
)

// waiting starts a wait for the claim's end, and returns once the server knows of it.
func waiting(t *testing.T, r *servers.RedisServer, s *onceredis.Store, c once.Claim) <-chan error {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- s.Wait(t.Context(), c.Key, c.Owner) }()
	eventually(t, "the claim is marked as waited for", func() bool {
		return r.Command(t, "GETRANGE", keyName(c.Key), "1", "1") == "1" && subscribers(t, r, c) == "1"
	})
	return ended
}

func keyName(k once.Key) string { return "once{}:4:" + k.Scope + ":" + k.ID }

func subscribers(t *testing.T, r *servers.RedisServer, c once.Claim) string {
	name := keyName(c.Key)
	return r.Command(t, "PUBSUB", "NUMSUB", name)[len(name)+1:]
}

func TestWaitIsToldByAnotherHandle(t *testing.T) {
	t.Parallel()
	r := servers.Redis(t)
	s, other := open(t, onceredis.Config{DSN: dsn(r)}), open(t, onceredis.Config{DSN: dsn(r)})
	ctx := t.Context()
	for name, end := range map[string]func(c once.Claim) error{
		"complete":                   func(c once.Claim) error { return other.Complete(ctx, c.Key, c.Owner, result, time.Hour) },
		"complete without retention": func(c once.Claim) error { return other.Complete(ctx, c.Key, c.Owner, result, 0) },
		"release":                    func(c once.Claim) error { return other.Release(ctx, c.Key, c.Owner) },
		"end of the lease":           func(c once.Claim) error { return other.Renew(ctx, c.Key, c.Owner, 0) },
		"forget":                     func(c once.Claim) error { return other.Forget(ctx, c.Key, c.Owner) },
	} {
		c := newClaim()
		wins(t, s, c)
		ended := waiting(t, r, s, c)
		r.Command(t, "CONFIG", "RESETSTAT")
		ok(t, end(c))
		if err := <-ended; err != nil {
			t.Errorf("%s: wait returned %v", name, err)
		}
		if n := r.Calls(t)["publish"]; n != 1 {
			t.Errorf("%s: %d messages were published, want one", name, n)
		}
	}
}

func TestRenewalsKeepWaitersWaiting(t *testing.T) {
	t.Parallel()
	r := servers.Redis(t)
	s := open(t, onceredis.Config{DSN: dsn(r)})
	c := newClaim()
	wins(t, s, c)
	ended := waiting(t, r, s, c)
	ok(t, s.Renew(t.Context(), c.Key, c.Owner, time.Hour))
	if mark := r.Command(t, "GETRANGE", keyName(c.Key), "1", "1"); mark != "1" {
		t.Errorf("the mark of being waited for is %q after a renewal", mark)
	}
	ok(t, s.Complete(t.Context(), c.Key, c.Owner, result, time.Hour))
	ok(t, <-ended)
}

// The message is lost while the connection is, and the wait finds out nevertheless.
func TestWaitSurvivesTheLossOfItsConnection(t *testing.T) {
	t.Parallel()
	r := servers.Redis(t)
	s, direct, p := behindProxy(t, r)
	c := newClaim()
	wins(t, direct, c)
	ended := waiting(t, r, s, c)
	p.Cut()
	eventually(t, "the subscription is gone", func() bool { return subscribers(t, r, c) == "0" })
	ok(t, direct.Complete(t.Context(), c.Key, c.Owner, result, time.Hour))
	select {
	case err := <-ended:
		t.Fatalf("wait returned %v without a connection", err)
	default:
	}
	p.Mend()
	ok(t, <-ended)
}

func TestWaitSubscribesAnewAfterTheServerWasRestarted(t *testing.T) {
	t.Parallel()
	r := servers.Redis(t, "appendfsync always")
	s := open(t, onceredis.Config{DSN: dsn(r)})
	c := newClaim()
	wins(t, s, c)
	ended := waiting(t, r, s, c)
	r.Kill()
	r.Restart(t)
	eventually(t, "the subscription is back", func() bool { return subscribers(t, r, c) == "1" })
	ok(t, s.Complete(t.Context(), c.Key, c.Owner, result, time.Hour))
	ok(t, <-ended)
}

func TestWaitsShareOneSubscriptionAndLeaveNone(t *testing.T) {
	t.Parallel()
	r := servers.Redis(t)
	s := open(t, onceredis.Config{DSN: dsn(r)})
	c := newClaim()
	wins(t, s, c)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	for range 10 {
		go func() { ended <- s.Wait(ctx, c.Key, c.Owner) }()
	}
	eventually(t, "all have subscribed", func() bool { return subscribers(t, r, c) == "1" })
	cancel()
	for range 10 {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("wait returned %v, want the context's error", err)
		}
	}
	eventually(t, "nobody is subscribed", func() bool { return subscribers(t, r, c) == "0" })
	ended2 := waiting(t, r, s, c) // it is possible again
	ok(t, s.Complete(t.Context(), c.Key, c.Owner, result, time.Hour))
	ok(t, <-ended2)
}

// eventually asks again and again until it is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !so(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}
