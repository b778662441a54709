// Package skew lets a store be used by a process whose clock is wrong.
package skew

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncehq/once"
)

// A skewed store lives where the clock is wrong: in a bubble, in which it was set by sleeping.
// Every verb is carried out by a goroutine of the bubble, which in turn is told by the test.
type skewed struct {
	verbs chan func(once.Store)
}

// Open returns a store whose process has a clock that is wrong by that much, and all whose
// connections were made there. It is for stores in servers: an embedded one has the clock of the
// process that uses it.
func Open(t *testing.T, by time.Duration, open func(context.Context) (once.Store, error)) once.Store {
	t.Helper()
	s := skewed{verbs: make(chan func(once.Store))}
	now := time.Now()
	ready, ended := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(ended)
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(time.Until(now.Add(by))) // the bubble's clock begins in the year 2000
			store, err := open(context.Background())
			ready <- err
			if err != nil {
				return
			}
			defer time.Sleep(time.Minute) // clients close some connections a little later
			defer store.(io.Closer).Close()
			for verb := range s.verbs {
				verb(store)
			}
		})
	}()
	t.Cleanup(func() {
		close(s.verbs)
		<-ended
	})
	if err := <-ready; err != nil {
		t.Fatal(err)
	}
	return s
}

// do has the verb carried out in the bubble.
func (s skewed) do(verb func(once.Store)) {
	done := make(chan struct{})
	s.verbs <- func(store once.Store) { verb(store); close(done) }
	<-done
}

func (s skewed) Claim(ctx context.Context, c once.Claim) (rec once.Record, err error) {
	s.do(func(store once.Store) { rec, err = store.Claim(ctx, c) })
	return rec, err
}

func (s skewed) Renew(ctx context.Context, k once.Key, o once.Owner, lease time.Duration) (err error) {
	s.do(func(store once.Store) { err = store.Renew(ctx, k, o, lease) })
	return err
}

func (s skewed) Complete(
	ctx context.Context, k once.Key, o once.Owner, out once.Outcome, retention time.Duration,
) (err error) {
	s.do(func(store once.Store) { err = store.Complete(ctx, k, o, out, retention) })
	return err
}

func (s skewed) Release(ctx context.Context, k once.Key, o once.Owner) (err error) {
	s.do(func(store once.Store) { err = store.Release(ctx, k, o) })
	return err
}

func (s skewed) Load(ctx context.Context, k once.Key) (rec once.Record, err error) {
	s.do(func(store once.Store) { rec, err = store.Load(ctx, k) })
	return rec, err
}
