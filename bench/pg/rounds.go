package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/oncehq/once/internal/servers"
)

// contestants are ways to do the same. The first is ours.
type contestants []struct {
	name string
	op   func(caller, n int) error
}

// A sample is what one round gave.
type sample struct {
	rate           float64 // operations per second
	p50, p99       time.Duration
	client, server time.Duration // processor's time per operation
}

// compare lets the contestants take turns, and prints the medians.
func compare(server *servers.PostgresServer, callers int, s settings, all contestants) error {
	samples := make([][]sample, len(all))
	for round := range s.rounds + 1 {
		for i, c := range all {
			got, err := drive(server, callers, s.each, c.op)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			if round > 0 { // the first one warms up
				samples[i] = append(samples[i], got)
			}
		}
	}
	for i, c := range all {
		report(c.name, samples[i], samples[0])
	}
	return nil
}

func report(name string, samples, ours []sample) {
	ratios := make([]float64, len(samples))
	for i := range samples {
		ratios[i] = ours[i].rate / samples[i].rate
	}
	of := func(pick func(sample) float64) float64 {
		values := make([]float64, len(samples))
		for i, s := range samples {
			values[i] = pick(s)
		}
		return median(values)
	}
	micros := func(pick func(sample) time.Duration) float64 {
		return of(func(s sample) float64 { return float64(pick(s)) / 1e3 })
	}
	fmt.Printf("  %-8s %8.0f/s  p50 %6.0f µs  p99 %6.0f µs  processor %5.1f µs client, %5.1f µs server  oncepg is %.2fx (%.2f-%.2f)\n",
		name, of(func(s sample) float64 { return s.rate }),
		micros(func(s sample) time.Duration { return s.p50 }), micros(func(s sample) time.Duration { return s.p99 }),
		micros(func(s sample) time.Duration { return s.client }), micros(func(s sample) time.Duration { return s.server }),
		median(ratios), slices.Min(ratios), slices.Max(ratios))
}

func median(v []float64) float64 {
	v = slices.Clone(v)
	slices.Sort(v)
	return v[len(v)/2]
}

// drive lets callers carry out operations one after the other for the duration.
func drive(server *servers.PostgresServer, callers int, each time.Duration, op func(caller, n int) error) (sample, error) {
	var stop atomic.Bool
	var all sync.WaitGroup
	took, errs := make([][]time.Duration, callers), make([]error, callers)
	served, used, start := serverCPU(server), cpu(), time.Now()
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
	used, served = cpu()-used, serverCPU(server)-served
	if err := errors.Join(errs...); err != nil {
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
		server: served / n,
	}, nil
}

// cpu returns how much of a processor's time this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// serverCPU returns how much of a processor's time the server's processes have used, those that have ended included
// (proc(5), /proc/pid/stat).
func serverCPU(server *servers.PostgresServer) time.Duration {
	file, _ := os.ReadFile(filepath.Join(server.Dir, "data", "postmaster.pid"))
	parent, _, _ := strings.Cut(string(file), "\n")
	const user, waited, tick = 11, 14, time.Second / 100
	var ticks int64
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		stat, _ := os.ReadFile(path)
		_, rest, found := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest)
		last := user + 2
		switch {
		case !found:
			continue
		case filepath.Base(filepath.Dir(path)) == parent:
			last = waited + 1
		case fields[1] != parent:
			continue
		}
		for _, f := range fields[user:last] {
			n, _ := strconv.ParseInt(f, 10, 64)
			ticks += n
		}
	}
	return time.Duration(ticks) * tick
}
