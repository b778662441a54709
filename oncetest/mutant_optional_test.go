package oncetest

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
)

// optionalMutants are bugs in optional interfaces: each overrides one of a store that has all.
var optionalMutants = []mutant{
	{
		name:   "a list shows the data",
		fails:  "List yields the records that match with Outcome.Data left out",
		change: opening(func(s *oncemem.Store) once.Store { return listsData{s} }),
	}, {
		name:  "a list takes the scope for a prefix",
		fails: "List yields the records that match with Outcome.Data left out",
		change: opening(func(s *oncemem.Store) once.Store {
			return listsIf{s, func(f once.Filter, r once.Record) bool {
				return len(r.Key.Scope) >= len(f.Scope) && r.Key.Scope[:len(f.Scope)] == f.Scope &&
					(f.State == 0 || f.State == r.State)
			}}
		}),
	}, {
		name:  "a list cannot tell in doubt from in flight",
		fails: "List selects by state",
		change: opening(func(s *oncemem.Store) once.Store {
			return listsIf{s, func(f once.Filter, r once.Record) bool {
				return f.Scope == r.Key.Scope && (f.State == 0 || (f.State == once.Done) == (r.State == once.Done))
			}}
		}),
	}, {
		name:  "a list knows no age",
		fails: "List selects by age",
		change: opening(func(s *oncemem.Store) once.Store {
			return listsIf{s, func(f once.Filter, r once.Record) bool {
				return f.Scope == r.Key.Scope && (f.State == 0 || f.State == r.State)
			}}
		}),
	}, {
		name:   "a list shows what is over",
		fails:  "List yields no record that is over",
		change: func(o *Options) { o.Open = func(*testing.T) once.Store { return listsOver{newTwisted(nil)} } },
	}, {
		name:   "a sweep removes what is in doubt",
		fails:  "Sweep removes nothing that is not over",
		change: func(o *Options) { o.Open = func(*testing.T) once.Store { return sweepsDoubt{newTwisted(nil)} } },
	}, {
		name:   "a wait sees outcomes only",
		fails:  "Wait notices every change that happens after it was called",
		change: opening(func(s *oncemem.Store) once.Store { return waitsForDone{s} }),
	}, {
		name:   "a wait sees only what happens later",
		fails:  "Wait notices every change that happened before",
		change: opening(func(s *oncemem.Store) once.Store { return waitsForChange{s} }),
	}, {
		name:   "a wait outlives its context",
		fails:  "Wait ends with its context",
		change: opening(func(s *oncemem.Store) once.Store { return waitsOn{s} }),
	}, {
		name:   "a batch answers in another order",
		fails:  "ClaimBatch does what Claim does for each of the claims",
		change: opening(func(s *oncemem.Store) once.Store { return reversesBatch{s} }),
	}, {
		name:   "a batch gets, then sets",
		fails:  "of many batches exactly one must win each key",
		change: opening(func(s *oncemem.Store) once.Store { return trustsBatch{s} }),
	}, {
		name:   "an operator may forget another owner's record",
		fails:  "Forget must return ErrLost if the owner is another, else ErrNotFound",
		change: opening(func(s *oncemem.Store) once.Store { return forgetsAny{s} }),
	}, {
		name:   "a store promises without a name",
		fails:  "Guarantees name the engine and every survival",
		change: opening(func(s *oncemem.Store) once.Store { return nameless{s} }),
	},
}

func opening(wrap func(*oncemem.Store) once.Store) func(*Options) {
	return func(o *Options) {
		o.Open = func(*testing.T) once.Store { return wrap(new(oncemem.Store)) }
	}
}

type listsData struct{ *oncemem.Store }

func (s listsData) List(ctx context.Context, f once.Filter) iter.Seq2[once.Record, error] {
	return func(yield func(once.Record, error) bool) {
		for rec, err := range s.Store.List(ctx, f) {
			if err == nil {
				rec, err = s.Load(ctx, rec.Key)
			}
			if !yield(rec, err) {
				return
			}
		}
	}
}

type listsIf struct {
	*oncemem.Store
	match func(once.Filter, once.Record) bool
}

func (s listsIf) List(ctx context.Context, f once.Filter) iter.Seq2[once.Record, error] {
	return func(yield func(once.Record, error) bool) {
		for rec, err := range s.Store.List(ctx, once.Filter{}) {
			if (err != nil || f == once.Filter{} || s.match(f, rec)) && !yield(rec, err) {
				return
			}
		}
	}
}

type listsOver struct{ *twisted }

func (s listsOver) List(_ context.Context, f once.Filter) iter.Seq2[once.Record, error] {
	s.mu.Lock()
	defer s.mu.Unlock()
	records := slices.Collect(maps.Values(maps.Clone(s.records)))
	return func(yield func(once.Record, error) bool) {
		for _, e := range records {
			e.Outcome.Data = nil
			if e.Key.Scope == f.Scope && !yield(e.at(s.now()), nil) {
				return
			}
		}
	}
}

func (s listsOver) Load(ctx context.Context, k once.Key) (once.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Clone().Load(ctx, k) // which removes from the clone what is over
}

type sweepsDoubt struct{ *twisted }

func (s sweepsDoubt) Sweep(context.Context) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.records)
	maps.DeleteFunc(s.records, func(_ once.Key, e entry) bool { return e.over(s.now()) })
	return before - len(s.records), nil
}

type waitsForDone struct{ *oncemem.Store }

func (s waitsForDone) Wait(ctx context.Context, k once.Key, o once.Owner) error {
	for ctx.Err() == nil {
		if rec, err := s.Load(ctx, k); err == nil && rec.State == once.Done {
			return nil
		}
		time.Sleep(time.Second)
	}
	return ctx.Err()
}

type waitsForChange struct{ *oncemem.Store }

func (s waitsForChange) Wait(ctx context.Context, k once.Key, o once.Owner) error {
	first, _ := s.Load(ctx, k)
	for ctx.Err() == nil {
		if rec, _ := s.Load(ctx, k); rec.State != first.State || rec.Owner != first.Owner {
			return nil
		}
		time.Sleep(time.Second)
	}
	return ctx.Err()
}

type waitsOn struct{ *oncemem.Store }

func (s waitsOn) Wait(ctx context.Context, k once.Key, o once.Owner) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*patience)
	defer cancel()
	return s.Store.Wait(ctx, k, o)
}

type reversesBatch struct{ *oncemem.Store }

func (s reversesBatch) ClaimBatch(ctx context.Context, claims []once.Claim) []once.ClaimResult {
	results := s.Store.ClaimBatch(ctx, claims)
	slices.Reverse(results)
	return results
}

type trustsBatch struct{ *oncemem.Store }

func (s trustsBatch) ClaimBatch(ctx context.Context, claims []once.Claim) []once.ClaimResult {
	results := make([]once.ClaimResult, len(claims))
	for i, c := range claims {
		results[i].Record, results[i].Err = s.Load(ctx, c.Key)
	}
	time.Sleep(time.Microsecond)
	for i, c := range claims {
		if results[i].Err == nil {
			results[i].Record, results[i].Err = s.Claim(ctx, c)
			continue
		}
		won, err := s.Claim(ctx, c)
		won.Owner = cmp.Or(c.Owner, won.Owner)
		results[i] = once.ClaimResult{Record: won, Err: err}
	}
	return results
}

type forgetsAny struct{ *oncemem.Store }

func (s forgetsAny) Forget(ctx context.Context, k once.Key, _ once.Owner) error {
	rec, err := s.Load(ctx, k)
	if err != nil {
		return err
	}
	return s.Store.Forget(ctx, k, rec.Owner)
}

type nameless struct{ *oncemem.Store }

func (s nameless) Guarantees() once.Guarantees {
	g := s.Store.Guarantees()
	g.Store = ""
	return g
}
