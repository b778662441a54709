package retry

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"time"
)

// Defaults of [Budget].
const (
	DefaultRatio     = 0.1
	DefaultPerSecond = 1
	DefaultBurst     = 10
)

// A Budget bounds how often operations are tried again, over all who share it: as long as few
// fail, each may be tried again; when all fail, the load on the service grows by no more than the
// ratio. It is a token bucket that starts full: in any span of time there are at most
//
//	Burst + Ratio × operations + PerSecond × seconds
//
// tries beside the first ones. ("Handling Overload" in Site Reliability Engineering, Google 2016,
// bounds the retries of a client by their ratio to its requests.)
//
// The zero value is ready for use, by any number of goroutines at once. The fields must not
// change, nor the Budget be copied, after first use.
type Budget struct {
	// Ratio is how many further tries each operation adds to what may be used, as far as Burst
	// allows: a Ratio above Burst adds no more than Burst. Defaults to [DefaultRatio].
	Ratio float64

	// PerSecond is how many further tries each second adds, so that those who call rarely may try
	// again at all. Defaults to [DefaultPerSecond].
	PerSecond float64

	// Burst is what can be saved up, and what there is at first. If many calls fail at a time
	// and each has to be tried again, it must be as large as all those tries together.
	// math.Inf(1) switches the budget off. Defaults to [DefaultBurst].
	Burst float64

	mu   sync.Mutex // guards the rest
	used float64    // tokens missing from a full bucket
	at   time.Time  // when PerSecond was last taken into account
}

func (b *Budget) check() error {
	var errs []error
	for _, f := range []struct {
		name  string
		value float64
	}{{"Ratio", b.Ratio}, {"PerSecond", b.PerSecond}, {"Burst", b.Burst}} {
		if !(f.value >= 0) {
			errs = append(errs, fmt.Errorf("retry: budget: %s is %v; it must be positive", f.name, f.value))
		}
		if math.IsInf(f.value, 1) && f.name != "Burst" {
			errs = append(errs, fmt.Errorf("retry: budget: %s is infinite; make Burst so to have no budget", f.name))
		}
	}
	if 0 < b.Burst && b.Burst < 1 {
		errs = append(errs, fmt.Errorf("retry: budget: Burst is %v; nothing can be tried again with less than 1", b.Burst))
	}
	return errors.Join(errs...)
}

// deposit takes note of a new operation.
func (b *Budget) deposit() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refill()
	b.used = max(0, b.used-orDefault(b.Ratio, DefaultRatio))
}

// withdraw reports whether one more try may be made.
func (b *Budget) withdraw() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refill()
	if orDefault(b.Burst, DefaultBurst)-b.used < 1 {
		return false
	}
	b.used++
	return true
}

// refill adds what the time since the last call is worth. The mutex must be held.
func (b *Budget) refill() {
	now := time.Now()
	if !b.at.IsZero() {
		b.used = max(0, b.used-now.Sub(b.at).Seconds()*orDefault(b.PerSecond, DefaultPerSecond))
	}
	b.at = now
}

func orDefault(v, byDefault float64) float64 {
	if v == 0 {
		return byDefault
	}
	return v
}
