package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncedisk"
)

// gate lets 64 callers claim the same key at once, again and again: exactly one may win each. No
// figure counts without that.
func gate(s settings) error {
	store, clean := s.open("gate")
	defer clean()
	rnd := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	for range 100 {
		c := newClaim(rnd)
		var won atomic.Int32
		var all sync.WaitGroup
		start := make(chan struct{})
		for range 64 {
			all.Go(func() {
				mine := c
				mine.Owner = once.NewOwner()
				<-start
				rec, err := store.Claim(context.Background(), mine)
				must(err)
				if rec.Won(mine) {
					won.Add(1)
				}
			})
		}
		close(start)
		all.Wait()
		if n := won.Load(); n != 1 {
			return fmt.Errorf("%d of 64 simultaneous claims of one key won; no figure counts", n)
		}
	}
	return nil
}

// open makes an empty store in a folder of its own; clean removes it.
func (s settings) open(name string) (store *oncedisk.Store, clean func()) {
	dir := filepath.Join(s.dir, name)
	store, err := oncedisk.Open(oncedisk.Config{Dir: dir, SegmentSize: s.segment})
	must(err)
	return store, func() {
		must(store.Close())
		must(os.RemoveAll(dir))
	}
}

// speed compares claim and complete with the bound.
func speed(s settings) error {
	fmt.Printf("\n| callers | bound op/s | oncedisk op/s | of bound | p50 | p99 | CPU/op | bound p50 | bound CPU/op |\n")
	fmt.Printf("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	outcome := make([]byte, s.outcome)
	for _, callers := range s.callers {
		var bound, ours []sample
		var ratios []sample
		for range s.rounds {
			b := s.bareRound(callers, outcome)
			o := s.storeRound(callers, outcome)
			bound, ours = append(bound, b), append(ours, o)
			ratios = append(ratios, sample{rate: 1000 * o.rate / b.rate})
		}
		b, o := middle(bound), middle(ours)
		fmt.Printf("| %d | %.0f | %.0f | %.2f | %v | %v | %v | %v | %v |\n", callers, b.rate, o.rate,
			middle(ratios).rate/1000, round(o.p50), round(o.p99), round(o.cpu), round(b.p50), round(b.cpu))
	}
	return nil
}

func (s settings) bareRound(callers int, outcome []byte) sample {
	dir := filepath.Join(s.dir, "bare")
	must(os.Mkdir(dir, 0o700))
	b, err := openBare(dir, s.segment)
	must(err)
	defer func() {
		b.close()
		must(os.RemoveAll(dir))
	}()
	op := bareOperation(b, outcome)
	drive(callers, s.each/10, op) // warm
	return drive(callers, s.each, op)
}

func (s settings) storeRound(callers int, outcome []byte) sample {
	store, clean := s.open("store")
	defer clean()
	op := operation(store, outcome, time.Hour)
	drive(callers, s.each/10, op)
	return drive(callers, s.each, op)
}

func round(d time.Duration) time.Duration {
	switch {
	case d > 10*time.Millisecond:
		return d.Round(time.Millisecond)
	case d > time.Millisecond:
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(time.Microsecond / 10)
}
