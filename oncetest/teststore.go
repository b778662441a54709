package oncetest

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

// TestStore checks the store against the contract in the documentation of [once.Store], one
// subtest for each property. Optional interfaces are checked if the store has them.
func TestStore(t *testing.T, o Options) {
	t.Helper()
	if o.Open == nil {
		t.Fatal("oncetest: Options.Open is nil; it must return the store to be tested")
	}
	o = o.withDefaults()
	var alone []property
	var running sync.WaitGroup
	turns := make(chan struct{}, max(o.Parallel, 1))
	for _, p := range slices.Concat(chapters...) {
		if p.needs&(reopening|skewing) != 0 {
			alone = append(alone, p)
			continue
		}
		turns <- struct{}{}
		running.Go(func() {
			defer func() { <-turns }()
			p.test(t, o)
		})
	}
	running.Wait()
	for _, p := range alone {
		p.test(t, o)
	}
}

// A property is a sentence of the contract and the story that shows whether it holds.
type property struct {
	name  string
	story func(*trial)
	needs need
}

// A need is something that not every store under test has.
type need uint8

const (
	leases    need = 1 << iota // claims can be seen and be in doubt: not Options.Transactional
	second                     // Options.Second
	reopening                  // Options.Reopen
	skewing                    // Options.SkewedHandle
)

// missing says why a store of these options cannot be asked for n, or is empty.
func (n need) missing(o Options) string {
	switch {
	case n&leases != 0 && o.Transactional:
		return "a transactional store's claims have no lease, and are never in doubt"
	case n&second != 0 && o.Second == nil:
		return "Options.Second is nil"
	case n&reopening != 0 && o.Reopen == nil:
		return "Options.Reopen is nil"
	case n&skewing != 0 && o.SkewedHandle == nil:
		return "Options.SkewedHandle is nil"
	}
	return ""
}

func (p property) test(t *testing.T, o Options) {
	t.Run(p.name, func(t *testing.T) {
		if reason := p.needs.missing(o); reason != "" {
			t.Skip(reason)
		}
		if !o.Bubble {
			p.story(newTrial(t, o))
			return
		}
		synctest.Test(t, func(t *testing.T) { p.story(newTrial(t, o)) })
	})
}

var chapters = [][]property{
	claiming,
	takingOver,
	leasing,
	completing,
	releasing,
	expiring,
	mismatching,
	naming,
	cancelling,
	concurring,
	random,
	sharing,
	listing,
	sweeping,
	waiting,
	batching,
	forgetting,
	promising,
}
