package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/oncehq/once"
)

// A sample is what one round gave.
type sample struct {
	rate           float64 // operations per second
	p50, p99       time.Duration
	client, server time.Duration // processor's time per operation
}

// compare lets the contestants take turns, and prints the medians.
func compare(srv *server, contestants []contestant, s settings) error {
	ctx := context.Background()
	done := make([]string, 1000)
	for i := range done {
		done[i] = "done-" + strconv.Itoa(i)
		if err := contestants[0].fresh(ctx, done[i]); err != nil {
			return err
		}
	}
	kinds := []struct {
		name string
		op   func(c contestant, caller, i int) error
	}{
		{"claim+complete", func(c contestant, caller, i int) error { return c.fresh(ctx, once.NewOwner().String()) }},
		{"replay", func(c contestant, caller, i int) error { return c.replay(ctx, done[(caller*31+i)%len(done)]) }},
	}
	for _, kind := range kinds {
		samples := make([][]sample, len(contestants))
		for round := range s.rounds + 1 {
			for i, c := range contestants {
				got, err := drive(srv, s.callers, s.each, func(caller, n int) error { return kind.op(c, caller, n) })
				if err != nil {
					return fmt.Errorf("%s by %s: %w", kind.name, c.name, err)
				}
				if round > 0 { // the first one warms up
					samples[i] = append(samples[i], got)
				}
			}
		}
		fmt.Printf("%s, %d callers, outcome %d bytes, median of %d rounds:\n", kind.name, s.callers, s.outcome, s.rounds)
		for i, c := range contestants {
			report(c.name, samples[i], samples[0])
		}
	}
	return nil
}

// report prints the medians, and how the store compares: by rate, which neighbours on the machine
// disturb, and by the work that an operation takes on both sides, which they hardly do.
func report(name string, samples, ours []sample) {
	of := func(pick func(i int) float64) []float64 {
		values := make([]float64, len(samples))
		for i := range samples {
			values[i] = pick(i)
		}
		slices.Sort(values)
		return values
	}
	mid := len(samples) / 2
	micros := func(pick func(sample) time.Duration) float64 {
		return of(func(i int) float64 { return float64(pick(samples[i])) / 1e3 })[mid]
	}
	rate := of(func(i int) float64 { return ours[i].rate / samples[i].rate })
	work := of(func(i int) float64 {
		return float64(samples[i].client+samples[i].server) / float64(ours[i].client+ours[i].server)
	})
	fmt.Printf("  %-10s %8.0f/s  p50 %6.0f µs  p99 %6.0f µs  processor %5.1f µs client, %5.1f µs server\n",
		name, of(func(i int) float64 { return samples[i].rate })[mid],
		micros(func(s sample) time.Duration { return s.p50 }), micros(func(s sample) time.Duration { return s.p99 }),
		micros(func(s sample) time.Duration { return s.client }), micros(func(s sample) time.Duration { return s.server }))
	if name != "onceredis" {
		fmt.Printf("  %-10s onceredis is %.2fx as fast (%.2f-%.2f), and as thrifty %.2fx (%.2f-%.2f)\n",
			"", rate[mid], rate[0], rate[len(rate)-1], work[mid], work[0], work[len(work)-1])
	}
}

// drive lets callers carry out operations one after the other for the duration.
func drive(srv *server, callers int, each time.Duration, op func(caller, n int) error) (sample, error) {
	var stop atomic.Bool
	var all sync.WaitGroup
	took, errs := make([][]time.Duration, callers), make([]error, callers)
	served, err := srv.cpu()
	if err != nil {
		return sample{}, err
	}
	used, start := cpu(), time.Now()
	for i := range callers {
		all.Go(func() {
			for n := 0; !stop.Load() && errs[i] == nil; n++ {
				began := time.Now()
				errs[i] = op(i, n)
				took[i] = append(took[i], time.Since(began))
			}
		})
	}
	time.Sleep(each)
	stop.Store(true)
	all.Wait()
	spent := time.Since(start)
	used = cpu() - used
	now, err := srv.cpu()
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
		client: used / n,
		server: (now - served) / n,
	}, nil
}

// cpu returns how much of a processor's time this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
