package once

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// A Policy says what becomes of an operation in doubt: an attempt has ended without saying
// whether the operation happened. There is no default; it is the owner of the operation who knows.
type Policy uint8

const (
	// Rerun lets the next caller run the operation again: its effect happens at least once.
	// Right if the effect is idempotent, or its provider ignores a repeated [DerivedID].
	Rerun Policy = 1 + iota

	// Hold refuses with ErrInDoubt until somebody has completed or released the record: the
	// effect happens at most once.
	Hold
)

// String returns "rerun" or "hold".
func (p Policy) String() string {
	switch p {
	case Rerun:
		return "rerun"
	case Hold:
		return "hold"
	}
	return fmt.Sprintf("Policy(%d)", uint8(p))
}

// ParsePolicy is the inverse of [Policy.String].
func ParsePolicy(s string) (Policy, error) {
	for _, p := range []Policy{Rerun, Hold} {
		if p.String() == s {
			return p, nil
		}
	}
	return 0, fmt.Errorf("once: unknown policy %q; use rerun or hold", s)
}

// Defaults of [Config].
const (
	DefaultLease       = 10 * time.Second
	DefaultRetention   = 24 * time.Hour
	DefaultMaxAttempts = 10
)

// A Config says how a [Guard] works. It is copied by [New].
type Config struct {
	// Store keeps the records. Required.
	Store Store

	// InDoubt is what becomes of an operation whose attempt ended without an outcome. Required.
	InDoubt Policy

	// Lease is how long a claim stands without renewal: how soon the crash of an owner is
	// noticed. It is renewed while the operation runs, so that it need not be as long as that.
	// Defaults to [DefaultLease].
	Lease time.Duration

	// Retention is how long an outcome answers, counted from its completion. It must be longer
	// than callers may go on retrying. [Forever] is allowed. Defaults to [DefaultRetention].
	Retention time.Duration

	// Wait is how long a caller waits for the outcome if another one is running the operation.
	// Defaults to zero: it is refused at once with ErrInFlight.
	Wait time.Duration

	// MaxAttempts is how many owners an operation may have under Rerun; then it is held. One that
	// was released after an earlier one was left in doubt counts too.
	// Only for Rerun. Defaults to [DefaultMaxAttempts].
	MaxAttempts int

	// Forget is how long a record is kept in doubt before it may be forgotten, and with it the
	// number of its attempts. [Forever] is allowed. Only for Rerun. Defaults to Retention.
	Forget time.Duration

	// CacheBytes bounds a cache in this process of records that are done, so that replaying one
	// again asks no store. An operator who removes a record is not heeded by the caches that
	// have it: they go on replaying until its retention is over.
	// Defaults to zero: no cache.
	CacheBytes int64

	// Codec encodes the results of [Do]. Defaults to [JSON].
	Codec Codec

	// Observe is told of everything that happens, in the caller's goroutine; renewals come from
	// another one. It must return quickly. Defaults to nothing.
	Observe func(context.Context, Event)

	// Pause waits between two tries or polls, and returns early with the context's error when
	// that is done. For simulations. Defaults to a timer.
	Pause func(ctx context.Context, d time.Duration) error

	// DangerouslyTrustStore allows Hold over a store that may forget an acknowledged claim
	// (see [Guarantees.Weakness]), and with it the promise. A forgotten claim runs again.
	// Defaults to false.
	DangerouslyTrustStore bool
}

// A Guard runs operations once, over a [Store]. It may be used by many goroutines at once, and
// there may be many guards over one store, in as many processes as the store can serve. Guards
// that guard the same scope should have the same Config.
type Guard struct {
	store    Store
	waiter   Waiter // nil if the store is none
	binder   Binder // nil if the store is none
	cfg      Config
	takeover int
	forget   time.Duration
	flights  flights
	cache    cache
}

// New returns a guard, or everything that is wrong with cfg.
func New(cfg Config) (*Guard, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	g := &Guard{store: cfg.Store, cfg: cfg, cache: cache{max: cfg.CacheBytes}}
	g.waiter, _ = cfg.Store.(Waiter)
	g.binder, _ = cfg.Store.(Binder)
	if cfg.InDoubt == Rerun {
		g.takeover = cfg.MaxAttempts
		if cfg.Forget != Forever {
			g.forget = cfg.Forget
		}
	}
	return g, nil
}

func (cfg Config) withDefaults() Config {
	if cfg.Lease == 0 {
		cfg.Lease = DefaultLease
	}
	if cfg.Retention == 0 {
		cfg.Retention = DefaultRetention
	}
	if cfg.InDoubt == Rerun {
		if cfg.MaxAttempts == 0 {
			cfg.MaxAttempts = DefaultMaxAttempts
		}
		if cfg.Forget == 0 {
			cfg.Forget = cfg.Retention
		}
	}
	if cfg.Codec == nil {
		cfg.Codec = JSON{}
	}
	if cfg.Pause == nil {
		cfg.Pause = pause
	}
	return cfg
}

func (cfg Config) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("once: config: "+format, args...)) }
	if cfg.Store == nil {
		bad("Store is missing; use for example oncedisk.Open")
	}
	switch cfg.InDoubt {
	case 0:
		bad("InDoubt is missing; choose Rerun (the effect may happen again) or Hold (somebody must find out)")
	case Rerun, Hold:
	default:
		bad("InDoubt is %d; use Rerun or Hold", cfg.InDoubt)
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"Lease", cfg.Lease}, {"Retention", cfg.Retention}, {"Wait", cfg.Wait}, {"Forget", cfg.Forget}} {
		if d.value < 0 {
			bad("%s is %v; it must not be negative", d.name, d.value)
		}
	}
	if cfg.CacheBytes < 0 {
		bad("CacheBytes is %d; it must not be negative", cfg.CacheBytes)
	}
	if cfg.MaxAttempts < 0 {
		bad("MaxAttempts is %d; it must not be negative", cfg.MaxAttempts)
	}
	if cfg.InDoubt == Hold && (cfg.MaxAttempts != 0 || cfg.Forget != 0) {
		bad("MaxAttempts and Forget are for Rerun; under Hold an operation has one attempt and is never forgotten in doubt")
	}
	if cfg.InDoubt == Hold && cfg.Store != nil && !cfg.DangerouslyTrustStore {
		if weakness := weakness(cfg.Store); weakness != "" {
			bad("Hold promises at most one effect, but a claim in this store may not survive %s; "+
				"use a durable store or Rerun, or set DangerouslyTrustStore", weakness)
		}
	}
	return errors.Join(errs...)
}

func weakness(s Store) string {
	if g, ok := s.(Guarantor); ok {
		return g.Guarantees().Weakness()
	}
	return "what its author has not said (it has no Guarantees)"
}

// Store returns the store that the guard was made with.
func (g *Guard) Store() Store { return g.store }

// Config returns the configuration with its defaults filled in.
func (g *Guard) Config() Config { return g.cfg }

// after returns the instant that is d from t, for durations up to [Forever].
func after(t time.Time, d time.Duration) time.Time {
	if d > math.MaxInt64/2 {
		d = math.MaxInt64 / 2
	}
	return t.Add(d)
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
