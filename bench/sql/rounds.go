package main

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A sample is what one round gave.
type sample struct {
	rate     float64 // operations per second
	p50, p99 time.Duration
}

// compare lets the store and the bare writes take turns, and prints the medians.
func compare(callers int, s settings, store, bare func() error) error {
	ways := []struct {
		name    string
		op      func() error
		samples []sample
	}{{name: "oncesql", op: store}, {name: "bare", op: bare}}
	var ratios []float64
	for round := range s.rounds + 1 {
		for i := range ways {
			got, err := drive(callers, s.each, ways[i].op)
			if err != nil {
				return fmt.Errorf("%s: %w", ways[i].name, err)
			}
			if round > 0 { // the first one warms up
				ways[i].samples = append(ways[i].samples, got)
			}
		}
		if round > 0 {
			ratios = append(ratios, ways[0].samples[round-1].rate/ways[1].samples[round-1].rate)
		}
	}
	for _, w := range ways {
		of := func(pick func(sample) float64) float64 {
			values := make([]float64, len(w.samples))
			for i, s := range w.samples {
				values[i] = pick(s)
			}
			return median(values)
		}
		fmt.Printf("  %-8s %8.0f/s  p50 %7.0f µs  p99 %7.0f µs\n", w.name, of(func(s sample) float64 { return s.rate }),
			of(func(s sample) float64 { return float64(s.p50) / 1e3 }),
			of(func(s sample) float64 { return float64(s.p99) / 1e3 }))
	}
	fmt.Printf("  oncesql is %.2fx (%.2f-%.2f)\n", median(ratios), slices.Min(ratios), slices.Max(ratios))
	return nil
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// drive lets callers carry out operations one after the other for the duration.
func drive(callers int, each time.Duration, op func() error) (sample, error) {
	var stop atomic.Bool
	var all sync.WaitGroup
	took, errs := make([][]time.Duration, callers), make([]error, callers)
	start := time.Now()
	for i := range callers {
		all.Go(func() {
			for !stop.Load() && errs[i] == nil {
				began := time.Now()
				errs[i] = op()
				took[i] = append(took[i], time.Since(began))
			}
		})
	}
	time.Sleep(each)
	stop.Store(true)
	all.Wait()
	spent := time.Since(start)
	if err := errors.Join(errs...); err != nil {
		return sample{}, err
	}
	times := slices.Concat(took...)
	slices.Sort(times)
	return sample{
		rate: float64(len(times)) / spent.Seconds(),
		p50:  times[len(times)/2],
		p99:  times[len(times)*99/100],
	}, nil
}
