package rpc

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncehq/once/retry"
)

func TestWhichErrorsAreTriedAgain(t *testing.T) {
	delay := Hints{HasDelay: true}
	for code := OK; code <= Unauthenticated; code++ {
		plain := code == Unavailable || code == DeadlineExceeded
		if Again(code, Hints{}) != plain {
			t.Errorf("%d is tried again: %t", code, !plain)
		}
		delayed := plain || code == Aborted || code == ResourceExhausted
		if Again(code, delay) != delayed {
			t.Errorf("%d with RetryInfo is tried again: %t", code, !delayed)
		}
		if !Again(code, Hints{Retryable: "true"}) || Again(code, Hints{Retryable: "false", HasDelay: true}) {
			t.Errorf("%d: what the server says is not heeded", code)
		}
	}
}

func TestCallTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := errors.New("busy")
		var tries []Try
		start, n := time.Now(), 0
		call := &Call{
			Key:        "k",
			TryTimeout: 5 * time.Second,
			Observe:    func(_ context.Context, try Try) { tries = append(tries, try) },
			Replayed:   func(err error) bool { return err == nil },
			Judge:      func(error) (bool, time.Duration) { return true, 3 * time.Second },
			Do: func(ctx context.Context) error {
				switch n++; n {
				case 1:
					return busy
				case 2:
					<-ctx.Done()
					return ctx.Err()
				}
				return nil
			},
		}
		if err := call.Run(t.Context()); err != nil || n != 3 {
			t.Fatalf("error is %v after %d tries", err, n)
		}
		if took := time.Since(start); took < 11*time.Second || took > 12*time.Second {
			t.Errorf("took %v, want two pauses of 3 s, and 5 s until the time-out", took)
		}
		if len(tries) != 3 || tries[0].Stop != nil || tries[0].Pause < 3*time.Second || tries[2].Stop != retry.ErrAnswered {
			t.Errorf("observed %+v", tries)
		}
		for i, try := range tries {
			if !try.Keyed || try.Replayed != (i == 2) {
				t.Errorf("observed %+v", try)
			}
		}
	})
}

func TestCallGivesUpWithTheKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := errors.New("busy")
		again := true
		call := &Call{
			Key: "k", Policy: retry.Policy{Tries: 2},
			Judge: func(error) (bool, time.Duration) { return again, 0 },
			Do:    func(context.Context) error { return busy },
		}
		gaveUp, ok := errors.AsType[*retry.GiveUpError](call.Run(t.Context()))
		if !ok || gaveUp.Key != "k" || gaveUp.Tries != 2 || gaveUp.Err != busy || gaveUp.Reason != retry.ErrTries {
			t.Errorf("error is %#v", gaveUp)
		}
		again = false
		if err := call.Run(t.Context()); err != busy {
			t.Errorf("error is %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		gaveUp, ok = errors.AsType[*retry.GiveUpError](call.Run(ctx))
		if !ok || gaveUp.Key != "k" || gaveUp.Reason != context.Canceled {
			t.Errorf("error is %#v", gaveUp)
		}
		call.Key = ""
		if err := call.Run(ctx); err != busy {
			t.Errorf("error without a key is %v", err)
		}
	})
}
