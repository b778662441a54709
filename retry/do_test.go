package retry_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncehq/once/retry"
)

var errBusy = errors.New("server is busy")

func TestDoTriesMarkedErrorsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		start := time.Now()
		got, err := retry.Do(t.Context(), retry.Policy{Base: time.Second}, func(context.Context) (int, error) {
			tries++
			if tries < 3 {
				return 0, retry.Again(errBusy, 2*time.Second)
			}
			return tries, nil
		})
		if got != 3 || err != nil {
			t.Fatalf("got %d, %v", got, err)
		}
		if took := time.Since(start); took < 4*time.Second || took > 7*time.Second {
			t.Errorf("took %v, want two pauses of 2 s and at most 1 s and 2 s more", took)
		}
	})
}

func TestDoReturnsOtherErrorsAsTheyAre(t *testing.T) {
	tries := 0
	_, err := retry.Do(t.Context(), retry.Policy{}, func(context.Context) (int, error) {
		tries++
		return 0, errBusy
	})
	if err != errBusy || tries != 1 {
		t.Errorf("error is %v after %d tries", err, tries)
	}
	if retry.Again(nil, 0) != nil {
		t.Error("nil was marked")
	}
}

func TestDoGivesUpWithTheLastErrorAndTheReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, err := retry.Do(t.Context(), retry.Policy{Tries: 4}, func(context.Context) (int, error) {
			return 0, retry.Again(errBusy, 0)
		})
		gaveUp, ok := errors.AsType[*retry.GiveUpError](err)
		if !ok || gaveUp.Tries != 4 || !errors.Is(err, errBusy) || !errors.Is(err, retry.ErrTries) {
			t.Errorf("error is %#v", err)
		}
		if want := "retry: gave up after 4 tries (no tries are left): server is busy"; err.Error() != want {
			t.Errorf("text is %q, want %q", err, want)
		}
		if gaveUp.Timeout() {
			t.Error("this was no time-out")
		}
	})
}

func TestDoStopsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, err := retry.Do(ctx, retry.Policy{}, func(context.Context) (int, error) {
			return 0, retry.Again(errBusy, time.Minute/2)
		})
		gaveUp, ok := errors.AsType[*retry.GiveUpError](err)
		if !ok || gaveUp.Tries != 1 || !errors.Is(err, context.Canceled) {
			t.Errorf("error is %#v", err)
		}
	})
}

func TestGiveUpErrorHidesTheKey(t *testing.T) {
	e := &retry.GiveUpError{Key: "secret", Tries: 1, Reason: retry.ErrBudget, Err: errBusy}
	if text := e.Error(); strings.Contains(text, "secret") || !strings.Contains(text, "after 1 try ") {
		t.Errorf("text is %q", text)
	}
}

func TestGiveUpErrorTellsTimeouts(t *testing.T) {
	for _, e := range []*retry.GiveUpError{
		{Reason: retry.ErrElapsed},
		{Reason: retry.ErrDeadline, Err: errBusy},
		{Reason: retry.ErrTries, Err: &net.DNSError{IsTimeout: true}},
		{Reason: context.DeadlineExceeded, Err: context.DeadlineExceeded},
	} {
		if !e.Timeout() {
			t.Errorf("%v is no time-out", e)
		}
	}
}
