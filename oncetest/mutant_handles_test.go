package oncetest

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oncehq/once"
)

// handleMutants are bugs that show only with a second handle, or after the store was reopened.
var handleMutants = []mutant{
	{
		name:  "a handle reads from a cache of its own",
		fails: "two handles see each other's records",
		change: func(o *Options) {
			o.Second = func(_ *testing.T, s once.Store) once.Store { return &caching{Store: s} }
		},
	}, {
		name:  "each handle has records of its own",
		fails: "of many claims over two handles exactly one must win",
		change: func(o *Options) {
			o.Second = func(*testing.T, once.Store) once.Store { return newTwisted(nil) }
		},
	}, {
		name:  "each handle has fences of its own",
		fails: "Fence grows over all handles",
		change: func(o *Options) {
			o.Second = func(_ *testing.T, s once.Store) once.Store { return &fencing{Store: s} }
		},
	}, {
		name:  "claims are not durable",
		fails: "claims are there when the store is opened again",
		change: func(o *Options) {
			o.Reopen = func(_ *testing.T, s once.Store) once.Store {
				return reopened(s, func(e entry) bool { return e.State == once.Done })
			}
		},
	}, {
		name:  "large outcomes are not durable",
		fails: "what was acknowledged is there when the store is opened again",
		change: func(o *Options) {
			o.Reopen = func(_ *testing.T, s once.Store) once.Store {
				return reopened(s, func(e entry) bool { return len(e.Outcome.Data) < 1<<16 })
			}
		},
	}, {
		name:  "fences restart with the process",
		fails: "what is gone stays gone when the store is opened again",
		change: func(o *Options) {
			o.Reopen = func(_ *testing.T, s once.Store) once.Store {
				next := reopened(s, func(entry) bool { return true })
				next.fence = 0
				return next
			}
		},
	}, {
		name:  "the client says when the retention ends",
		fails: "a client's clock that is wrong by hours changes nothing",
		change: func(o *Options) {
			o.SkewedHandle = func(_ *testing.T, s once.Store, skew time.Duration) once.Store {
				return skewed{s, skew}
			}
		},
	},
}

// caching is a handle that remembers what it loaded once.
type caching struct {
	once.Store
	seen sync.Map // of once.Record by once.Key
}

func (s *caching) Load(ctx context.Context, k once.Key) (once.Record, error) {
	if rec, ok := s.seen.Load(k); ok {
		return rec.(once.Record), nil
	}
	rec, err := s.Store.Load(ctx, k)
	if err == nil {
		s.seen.Store(k, rec)
	}
	return rec, err
}

// fencing is a handle that counts claims by itself.
type fencing struct {
	once.Store
	claims atomic.Uint64
}

func (s *fencing) Claim(ctx context.Context, c once.Claim) (once.Record, error) {
	rec, err := s.Store.Claim(ctx, c)
	if err == nil {
		rec.Fence = s.claims.Add(1)
	}
	return rec, err
}

// reopened returns the store with those records that it keeps.
func reopened(s once.Store, keeps func(entry) bool) *twisted {
	before, after := s.(*twisted), newTwisted(nil)
	after.fence = before.fence
	for _, e := range before.records {
		if keeps(e) {
			after.put(e)
		}
	}
	return after
}

// skewed is a handle that tells the store until when to keep an outcome, by its own clock.
type skewed struct {
	once.Store
	skew time.Duration
}

func (s skewed) Complete(
	ctx context.Context, k once.Key, o once.Owner, out once.Outcome, retention time.Duration,
) error {
	return s.Store.Complete(ctx, k, o, out, max(0, retention+s.skew))
}
