package main

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncedisk"
)

// retained fills a store and compares it with an empty one: rate, memory, disk, opening, expiry.
func retained(s settings) error {
	const callers = 64
	dir := filepath.Join(s.dir, "full")
	defer os.RemoveAll(dir)
	store := openFull(dir, s)
	outcome := make([]byte, s.outcome)
	base, before := rss(), diskUse(dir)
	fill(store, s.retained, outcome, 24*time.Hour)
	must(store.Close())

	fmt.Printf("\n| with %d records retained | figure | goal |\n| --- | ---: | ---: |\n", s.retained)
	payload := int64(s.outcome + len("application/json") + len(scope) + 25)
	disk := (diskUse(dir) - before) / int64(s.retained)
	fmt.Printf("| bytes on disk per record (payload %d) | %d | ≤ %d |\n", payload, disk, payload*115/100+64)

	store = nil
	debug.FreeOSMemory()
	base = min(base, rss())
	start := time.Now()
	store = openFull(dir, s)
	opened := time.Since(start)
	fmt.Printf("| opening | %v | ≤ 3s for 10 million |\n", round(opened))
	debug.FreeOSMemory()
	fmt.Printf("| memory per record (resident) | %.1f B | ≤ 50 B |\n", float64(rss()-base)/float64(s.retained))

	ratio := s.compareRates(store, callers, outcome)
	fmt.Printf("| rate at %d callers against an empty store | %.2f | ≥ 0.90 |\n", callers, ratio)
	s.expireMany(store, dir, callers, outcome)
	return store.Close()
}

func openFull(dir string, s settings) *oncedisk.Store {
	store, err := oncedisk.Open(oncedisk.Config{Dir: dir, SegmentSize: s.segment})
	must(err)
	return store
}

// fill completes n operations.
func fill(store *oncedisk.Store, n int, outcome []byte, retention time.Duration) {
	const callers = 512
	op := operation(store, outcome, retention)
	var left atomic.Int64
	left.Store(int64(n))
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
			for left.Add(-1) >= 0 {
				op(rnd)
			}
		})
	}
	all.Wait()
}

// compareRates alternates rounds on the full store and on an empty one.
func (s settings) compareRates(full *oncedisk.Store, callers int, outcome []byte) float64 {
	var ratios []sample
	op := operation(full, outcome, time.Hour)
	for range s.rounds {
		empty := s.storeRound(callers, outcome)
		drive(callers, s.each/10, op)
		ratios = append(ratios, sample{rate: 1000 * drive(callers, s.each, op).rate / empty.rate})
	}
	return middle(ratios).rate / 1000
}

// expireMany lets many records expire at once while operations go on.
func (s settings) expireMany(store *oncedisk.Store, dir string, callers int, outcome []byte) {
	before := diskUse(dir)
	// All of them expire at one instant, which is after the last one was written.
	start := time.Now()
	fill(store, s.expire/10, outcome, time.Second)
	life := max(5*time.Second, 15*time.Since(start))
	end := time.Now().Add(life)
	const writers = 512
	var left atomic.Int64
	left.Store(int64(s.expire))
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
			for left.Add(-1) >= 0 {
				operation(store, outcome, time.Until(end))(rnd)
			}
		})
	}
	all.Wait()
	full := diskUse(dir)
	idle := cpu()
	time.Sleep(max(0, time.Until(end.Add(-time.Second))))
	idle = cpu() - idle
	quiet := s.burst(store, callers, outcome, time.Second/2)

	time.Sleep(max(0, time.Until(end)))
	began, used := time.Now(), cpu()
	busy := s.burst(store, callers, outcome, 3*time.Second)
	time.Sleep(max(0, time.Until(began.Add(5*time.Second))))
	used = cpu() - used - time.Duration(float64(busy.cpu)*busy.rate*3) // what the operations took
	back := full - diskUse(dir) + int64(quiet.rate/2+busy.rate*3)*int64(s.outcome+250)
	fmt.Printf("| space back 5 s after %d records expired | %.0f %% | ≥ 95 %% |\n", s.expire,
		100*float64(back)/float64(full-before))
	fmt.Printf("| CPU beside the operations meanwhile | %v | ≤ 1s for a million |\n", round(max(0, used)))
	fmt.Printf("| p99 of operations meanwhile | %v, before %v: %.2f | ≤ 1.5 |\n", round(busy.p99),
		round(quiet.p99), float64(busy.p99)/float64(quiet.p99))
	_ = idle
}

func (s settings) burst(store once.Store, callers int, outcome []byte, d time.Duration) sample {
	return drive(callers, d, operation(store, outcome, time.Hour))
}

// diskUse returns the bytes that the folder's files take up on the disk.
func diskUse(dir string) (sum int64) {
	must(filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return nil // deleted meanwhile
		}
		sum += allocated(info)
		return nil
	}))
	return sum
}

// rss returns the resident memory of this process.
func rss() int64 {
	runtime.GC()
	text, err := os.ReadFile("/proc/self/statm")
	must(err)
	fields := strings.Fields(string(text))
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	must(err)
	return pages * int64(os.Getpagesize())
}

var _ = context.Background
