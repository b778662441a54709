// Package contest lets several ways to do the same thing take turns on one machine, and tells how
// they compare. Rates drift there with whatever else is running, which the ratios of rounds that
// follow each other do not; and the processor time that an operation takes, in the client and in
// the servers that it has started, hardly depends on it.
package contest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A Contestant carries out operations in one way. Op is called by many callers at once; n counts the
// calls of one.
type Contestant struct {
	Name string
	Op   func(caller, n int) error
}

// Rounds says how the contestants take turns.
type Rounds struct {
	Count   int           // of measured rounds; one more, before them, warms up
	Each    time.Duration // how long one contestant's turn is
	Callers int           // concurrent ones, each carrying out one operation after the other
}

// A sample is what one turn gave.
type sample struct {
	rate           float64 // operations per second
	p50, p99       time.Duration
	client, server time.Duration // of the processors, per operation
}

// Run prints the medians of all contestants, and how the first one, which is ours, compares with
// each of the others.
func (r Rounds) Run(all ...Contestant) error {
	samples := make([][]sample, len(all))
	for round := range r.Count + 1 {
		for i, c := range all {
			got, err := r.turn(c.Op)
			if err != nil {
				return fmt.Errorf("%s: %w", c.Name, err)
			}
			if round > 0 {
				samples[i] = append(samples[i], got)
			}
		}
	}
	for i, c := range all {
		fmt.Printf("  %-10s %8.0f/s  p50 %6.0f µs  p99 %6.0f µs  processor %5.1f µs client, %5.1f µs server\n", c.Name,
			median(samples[i], func(s sample) float64 { return s.rate }),
			median(samples[i], func(s sample) float64 { return micros(s.p50) }),
			median(samples[i], func(s sample) float64 { return micros(s.p99) }),
			median(samples[i], func(s sample) float64 { return micros(s.client) }),
			median(samples[i], func(s sample) float64 { return micros(s.server) }))
		if i > 0 {
			report(all[0].Name, samples[0], samples[i])
		}
	}
	return nil
}

// report prints how ours compares with another one, round by round.
func report(name string, ours, other []sample) {
	var fast, thrifty []float64
	for i := range ours {
		fast = append(fast, ours[i].rate/other[i].rate)
		thrifty = append(thrifty, float64(other[i].client+other[i].server)/float64(ours[i].client+ours[i].server))
	}
	same := func(f float64) float64 { return f }
	fmt.Printf("  %-10s %s is %.2fx as fast (%.2f-%.2f), and %.2fx as thrifty (%.2f-%.2f)\n", "", name,
		median(fast, same), slices.Min(fast), slices.Max(fast),
		median(thrifty, same), slices.Min(thrifty), slices.Max(thrifty))
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func median[T any](samples []T, pick func(T) float64) float64 {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = pick(s)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// turn lets callers carry out operations.
func (r Rounds) turn(op func(caller, n int) error) (sample, error) {
	var stop atomic.Bool
	var all sync.WaitGroup
	took, errs := make([][]time.Duration, r.Callers), make([]error, r.Callers)
	client, server, err := Processor()
	if err != nil {
		return sample{}, err
	}
	start := time.Now()
	for i := range r.Callers {
		all.Go(func() {
			for n := 0; !stop.Load() && errs[i] == nil; n++ {
				began := time.Now()
				errs[i] = op(i, n)
				took[i] = append(took[i], time.Since(began))
			}
		})
	}
	time.Sleep(r.Each)
	stop.Store(true)
	all.Wait()
	spent := time.Since(start)
	clientAfter, serverAfter, err := Processor()
	if err := errors.Join(append(errs, err)...); err != nil {
		return sample{}, err
	}
	times := slices.Concat(took...)
	slices.Sort(times)
	n := time.Duration(len(times))
	return sample{
		rate:   float64(n) / spent.Seconds(),
		p50:    times[n/2],
		p99:    times[n*99/100],
		client: (clientAfter - client) / n,
		server: (serverAfter - server) / n,
	}, nil
}
