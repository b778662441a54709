package main

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/oncehq/once"
)

// A sample is what one round gave.
type sample struct {
	rate     float64       // operations per second
	p50, p99 time.Duration // of one operation
	cpu      time.Duration // of the process, per operation
}

// drive lets callers carry out operations one after the other for the duration.
func drive(callers int, each time.Duration, op func(rnd *rand.Rand)) sample {
	var stop atomic.Bool
	var all sync.WaitGroup
	took := make([][]time.Duration, callers)
	before, start := cpu(), time.Now()
	for i := range callers {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
			for !stop.Load() {
				began := time.Now()
				op(rnd)
				took[i] = append(took[i], time.Since(began))
			}
		})
	}
	time.Sleep(each)
	stop.Store(true)
	all.Wait()
	spent, used := time.Since(start), cpu()-before
	times := slices.Concat(took...)
	slices.Sort(times)
	return sample{
		rate: float64(len(times)) / spent.Seconds(),
		p50:  times[len(times)/2],
		p99:  times[len(times)*99/100],
		cpu:  used / time.Duration(len(times)),
	}
}

// cpu returns what the process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// operation claims a new key and completes it.
func operation(s once.Store, outcome []byte, retention time.Duration) func(*rand.Rand) {
	ctx := context.Background()
	out := once.Outcome{Type: "application/json", Data: outcome}
	return func(rnd *rand.Rand) {
		c := newClaim(rnd)
		rec, err := s.Claim(ctx, c)
		must(err)
		if !rec.Won(c) {
			panic("a claim of a new key did not win")
		}
		must(s.Complete(ctx, c.Key, c.Owner, out, retention))
	}
}

const scope = "tenant-17/POST /payments"

// newClaim is what a request with a random key would make.
func newClaim(rnd *rand.Rand) once.Claim {
	var id [16]byte
	binary.LittleEndian.PutUint64(id[:], rnd.Uint64())
	binary.LittleEndian.PutUint64(id[8:], rnd.Uint64())
	var text [32]byte
	hex.Encode(text[:], id[:])
	c := once.Claim{
		Key:   once.Key{Scope: scope, ID: string(text[:])},
		Owner: once.Owner(id),
		Lease: 10 * time.Second,
	}
	binary.LittleEndian.PutUint64(c.Fingerprint[:], rnd.Uint64())
	return c
}

// The sizes of what the store writes for an operation.
const claimRecord, outcomeOverhead = 144, 48

// bareOperation appends two records, the second after the first is durable.
func bareOperation(b *bare, outcome []byte) func(*rand.Rand) {
	claim, done := make([]byte, claimRecord), make([]byte, outcomeOverhead+len(outcome))
	for i := range done {
		done[i] = byte(i)
	}
	return func(*rand.Rand) {
		b.append(claim)
		b.append(done)
	}
}

// middle returns the medians of the samples.
func middle(samples []sample) sample {
	median := func(less func(a, b sample) int) sample {
		slices.SortFunc(samples, less)
		return samples[len(samples)/2]
	}
	return sample{
		rate: median(func(a, b sample) int { return int(a.rate - b.rate) }).rate,
		p50:  median(func(a, b sample) int { return int(a.p50 - b.p50) }).p50,
		p99:  median(func(a, b sample) int { return int(a.p99 - b.p99) }).p99,
		cpu:  median(func(a, b sample) int { return int(a.cpu - b.cpu) }).cpu,
	}
}
