package once_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
)

var errHungUp = errors.New("hung up")

type whoKey struct{}

// slowClaims is a store whose claims take a second, and are never cut short unless their context
// is done.
type slowClaims struct{ oncemem.Store }

func (s *slowClaims) Claim(ctx context.Context, c once.Claim) (once.Record, error) {
	select {
	case <-time.After(time.Second):
		return s.Store.Claim(ctx, c)
	case <-ctx.Done():
		return once.Record{}, context.Cause(ctx)
	}
}

func detachedGuard(t *testing.T, s once.Store) *once.Guard {
	t.Helper()
	g, err := once.New(once.Config{Store: s, InDoubt: once.Rerun, Wait: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestDetachedAttemptOutlivesItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := detachedGuard(t, new(slowClaims))
		caller, hangUp := context.WithCancelCause(context.WithValue(t.Context(), whoKey{}, "alice"))
		time.AfterFunc(time.Second/2, func() { hangUp(errHungUp) }) // in the middle of the claim
		a, err := g.BeginDetached(caller, once.Key{Scope: "s", ID: "1"}, once.Fingerprint{})
		if err != nil {
			t.Fatal(err)
		}
		ctx := a.Context()
		time.Sleep(time.Minute) // longer than the lease: renewals go on too
		if err := ctx.Err(); err != nil {
			t.Errorf("the operation's context is done: %v", err)
		}
		select {
		case <-ctx.Done():
			t.Error("the operation's context is done")
		default:
		}
		if _, ok := ctx.Deadline(); ok || ctx.Value(whoKey{}) != "alice" {
			t.Error("the operation's context has a deadline, or not the caller's values")
		}
		if err := a.Complete(once.Outcome{}); err != nil {
			t.Error(err)
		}
	})
}

func TestDetachedClaimIsNotMadeForACallerWhoIsGone(t *testing.T) {
	g := detachedGuard(t, new(oncemem.Store))
	caller, hangUp := context.WithCancelCause(t.Context())
	hangUp(errHungUp)
	k := once.Key{Scope: "s", ID: "1"}
	if _, err := g.BeginDetached(caller, k, once.Fingerprint{}); !errors.Is(err, errHungUp) {
		t.Errorf("BeginDetached returned %v, want the caller's cause", err)
	}
	if _, err := g.Store().Load(t.Context(), k); !errors.Is(err, once.ErrNotFound) {
		t.Errorf("Load returned %v, want ErrNotFound", err)
	}
}

func TestDetachedWaitEndsWithItsCaller(t *testing.T) {
	for _, where := range []string{"this process", "another process"} {
		t.Run(where, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := new(oncemem.Store)
				g := detachedGuard(t, s)
				owner, waiter := g, g
				if where == "another process" {
					owner = detachedGuard(t, s)
				}
				k := once.Key{Scope: "s", ID: "1"}
				a, err := owner.BeginDetached(t.Context(), k, once.Fingerprint{})
				if err != nil {
					t.Fatal(err)
				}
				caller, hangUp := context.WithCancelCause(t.Context())
				time.AfterFunc(time.Second, func() { hangUp(errHungUp) })
				start := time.Now()
				if _, err := waiter.BeginDetached(caller, k, once.Fingerprint{}); !errors.Is(err, errHungUp) {
					t.Errorf("BeginDetached returned %v, want the caller's cause", err)
				}
				if waited := time.Since(start); waited != time.Second {
					t.Errorf("it returned after %v, want 1s", waited)
				}
				if err := a.Complete(once.Outcome{}); err != nil {
					t.Error("the owner lost its claim to a waiter that gave up:", err)
				}
			})
		})
	}
}
