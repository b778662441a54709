package onceetcd_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/store/onceetcd"
)

// A skewed store lives where the clock is wrong: in a bubble, in which it was set by sleeping.
// Every verb is carried out by a goroutine of the bubble, which in turn is told by the test.
type skewed struct {
	verbs chan func(*onceetcd.Store)
}

// openSkewed returns a store whose process has a clock that is wrong by skew, and all whose
// connections were made there.
func openSkewed(t *testing.T, cfg onceetcd.Config, skew time.Duration) once.Store {
	t.Helper()
	s := skewed{verbs: make(chan func(*onceetcd.Store))}
	now := time.Now()
	ready, ended := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(ended)
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(time.Until(now.Add(skew))) // the bubble's clock begins in the year 2000
			store, err := onceetcd.Open(context.Background(), cfg)
			ready <- err
			if err != nil {
				return
			}
			defer time.Sleep(time.Minute) // the client closes some connections a little later
			defer store.Close()
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
func (s skewed) do(verb func(*onceetcd.Store)) {
	done := make(chan struct{})
	s.verbs <- func(store *onceetcd.Store) { verb(store); close(done) }
	<-done
}

func (s skewed) Claim(ctx context.Context, c once.Claim) (rec once.Record, err error) {
	s.do(func(store *onceetcd.Store) { rec, err = store.Claim(ctx, c) })
	return rec, err
}

func (s skewed) Renew(ctx context.Context, k once.Key, o once.Owner, lease time.Duration) (err error) {
	s.do(func(store *onceetcd.Store) { err = store.Renew(ctx, k, o, lease) })
	return err
}

func (s skewed) Complete(
	ctx context.Context, k once.Key, o once.Owner, out once.Outcome, retention time.Duration,
) (err error) {
	s.do(func(store *onceetcd.Store) { err = store.Complete(ctx, k, o, out, retention) })
	return err
}

func (s skewed) Release(ctx context.Context, k once.Key, o once.Owner) (err error) {
	s.do(func(store *onceetcd.Store) { err = store.Release(ctx, k, o) })
	return err
}

func (s skewed) Load(ctx context.Context, k once.Key) (rec once.Record, err error) {
	s.do(func(store *onceetcd.Store) { rec, err = store.Load(ctx, k) })
	return rec, err
}
