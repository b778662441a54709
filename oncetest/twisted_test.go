package oncetest

import (
	"context"
	"sync"
	"time"

	"github.com/oncehq/once"
)

// A twisted store is the model behind a mutex, in which a test may replace verbs by wrong ones.
// Without a twist it is a correct store.
type twisted struct {
	mu sync.Mutex // held while a verb runs, also one of a twist
	Model

	claim    func(context.Context, once.Claim) (once.Record, error)
	renew    func(context.Context, once.Key, once.Owner, time.Duration) error
	complete func(context.Context, once.Key, once.Owner, once.Outcome, time.Duration) error
	release  func(context.Context, once.Key, once.Owner) error
	load     func(context.Context, once.Key) (once.Record, error)
}

func newTwisted(twist func(*twisted)) *twisted {
	s := new(twisted)
	s.claim, s.renew, s.complete = s.Model.Claim, s.Model.Renew, s.Model.Complete
	s.release, s.load = s.Model.Release, s.Model.Load
	if twist != nil {
		twist(s)
	}
	return s
}

func (s *twisted) Claim(ctx context.Context, c once.Claim) (once.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.claim(ctx, c)
}

func (s *twisted) Renew(ctx context.Context, k once.Key, o once.Owner, lease time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.renew(ctx, k, o, lease)
}

func (s *twisted) Complete(
	ctx context.Context, k once.Key, o once.Owner, out once.Outcome, retention time.Duration,
) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.complete(ctx, k, o, out, retention)
}

func (s *twisted) Release(ctx context.Context, k once.Key, o once.Owner) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.release(ctx, k, o)
}

func (s *twisted) Load(ctx context.Context, k once.Key) (once.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.load(ctx, k)
}

func (s *twisted) Forget(ctx context.Context, k once.Key, o once.Owner) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Model.Forget(ctx, k, o)
}

// gap lets other goroutines in where a correct store lets none in.
func (s *twisted) gap() {
	s.mu.Unlock()
	time.Sleep(time.Microsecond) // of the bubble's time: all others run until they block
	s.mu.Lock()
}

// owner returns the recorded owner of the key, whoever asks.
func (s *twisted) owner(k once.Key) once.Owner {
	e, _ := s.find(k, s.now())
	return e.Owner
}

// state returns the state of the key, or zero if it is absent.
func (s *twisted) state(k once.Key) once.State {
	rec, _ := s.Model.Load(context.Background(), k)
	return rec.State
}

// rename makes the store confuse keys for which f returns the same.
func (s *twisted) rename(f func(once.Key) once.Key) {
	name := func(k once.Key) once.Key {
		d := f(k).Digest()
		return once.Key{Scope: "-", ID: string(d[:])}
	}
	s.claim = func(ctx context.Context, c once.Claim) (once.Record, error) {
		if err := c.Check(); err != nil {
			return once.Record{}, err
		}
		k := c.Key
		c.Key = name(k)
		return renamed(k)(s.Model.Claim(ctx, c))
	}
	s.load = func(ctx context.Context, k once.Key) (once.Record, error) {
		return renamed(k)(s.Model.Load(ctx, name(k)))
	}
	s.renew = func(ctx context.Context, k once.Key, o once.Owner, d time.Duration) error {
		return s.Model.Renew(ctx, name(k), o, d)
	}
	s.complete = func(ctx ctx, k key, o owner, out outcome, d time.Duration) error {
		return s.Model.Complete(ctx, name(k), o, out, d)
	}
	s.release = func(ctx context.Context, k once.Key, o once.Owner) error {
		return s.Model.Release(ctx, name(k), o)
	}
}

func renamed(k once.Key) func(once.Record, error) (once.Record, error) {
	return func(r once.Record, err error) (once.Record, error) {
		if err == nil {
			r.Key = k
		}
		return r, err
	}
}
