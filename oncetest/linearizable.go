package oncetest

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oncehq/once"
)

func linearizable(x *trial) { x.linear(x.store) }

// linear lets a few callers loose on one key, through the handles in turn, and looks for an order
// of their verbs, one after the other, in which the contract gives the replies that the store
// gave. Of two verbs the one that had ended before the other began must come first in it.
func (x *trial) linear(handles ...once.Store) {
	x.Helper()
	rounds := 20
	if x.opt.Bubble {
		rounds = 200
	}
	for range rounds {
		past := x.stampede(handles)
		if !past.explained() {
			x.Fatalf("no order of these verbs explains the replies:\n%s", past)
		}
	}
}

// A call is a step with its reply, and when it began and ended on a clock that only counts.
type call struct {
	step
	reply
	began, ended int64
}

// A past is what happened to one key, at most 64 calls.
type past []call

// stampede lets callers do random verbs on one key at the same time. Some of them share an owner,
// as an attempt does with its heartbeat and with its own requests that were given up too early.
func (x *trial) stampede(handles []once.Store) past {
	const callers, verbs = 4, 5
	k := x.key()
	var clock atomic.Int64
	var all sync.WaitGroup
	done := make(past, callers*verbs)
	start := make(chan struct{})
	owners := make([]once.Owner, callers-1)
	for i := range owners {
		owners[i] = once.NewOwner()
	}
	for i := range callers {
		c := x.claimOn(k)
		c.Owner, c.Takeover = owners[x.rnd.IntN(len(owners))], 100
		out := once.Outcome{Data: fmt.Appendf(nil, "caller %d's", i)}
		steps, pauses := make([]step, verbs), make([]int, verbs)
		for n := range steps {
			steps[n], pauses[n] = x.charge(c, out), x.rnd.IntN(4)
		}
		s := handles[i%len(handles)]
		all.Go(func() {
			<-start
			for n, st := range steps {
				x.hesitate(pauses[n])
				began := clock.Add(1)
				r := st.on(x.ctx, s)
				done[i*verbs+n] = call{st, r, began, clock.Add(1)}
			}
		})
	}
	close(start)
	all.Wait()
	slices.SortFunc(done, func(a, b call) int { return cmp.Compare(a.began, b.began) })
	return done
}

// hesitate lets others run. In a bubble all who hesitate for the same number go on together.
func (x *trial) hesitate(n int) {
	if x.opt.Bubble {
		time.Sleep(time.Duration(n))
		return
	}
	for range n {
		runtime.Gosched()
	}
}

// charge returns a random step of the claim's owner, by which no lease or retention runs out.
func (x *trial) charge(c once.Claim, out once.Outcome) step {
	st := step{key: c.Key, owner: c.Owner}
	switch n := x.rnd.IntN(10); {
	case n < 4:
		st.verb, st.claim = Claim, c
	case n < 5:
		st.verb, st.duration = Renew, long
	case n < 7:
		st.verb = Renew
	case n < 8:
		st.verb, st.outcome, st.duration = Complete, out, long
		if x.rnd.IntN(2) == 0 {
			st.duration = 0
		}
	case n < 9:
		st.verb = Release
	default:
		st.verb = Load
	}
	return st
}

// explained reports whether there is an order that explains the replies. It tries the orders
// depth first, and never twice from the same verbs done and the same state: the algorithm of
// J. M. Wing and C. Gong, "Testing and verifying concurrent objects", 1993, with the memory of
// G. Lowe, "Testing for linearizability", 2017.
func (p past) explained() bool {
	frozen := time.Unix(0, 0)
	s := search{past: p, hopeless: make(map[string]bool)}
	return s.from(0, guess{model: &Model{Now: func() time.Time { return frozen }}})
}

type search struct {
	past
	hopeless map[string]bool // verbs done and state, from which no order goes on
}

// from reports whether the verbs that are not in done can follow on the state.
func (s *search) from(done uint64, g guess) bool {
	if done == 1<<len(s.past)-1 {
		return true
	}
	place := fmt.Sprintf("%x %s", done, g)
	if s.hopeless[place] {
		return false
	}
	first := s.firstEnd(done)
	for i, c := range s.past {
		if done&(1<<i) != 0 || c.began > first {
			continue
		}
		if next, differs := g.after(c.step, c.reply, long); differs == "" && s.from(done|1<<i, next) {
			return true
		}
	}
	s.hopeless[place] = true
	return false
}

// firstEnd returns when the first of the verbs that are not in done ended: no verb that began
// after that can be the next.
func (s *search) firstEnd(done uint64) int64 {
	first := int64(-1)
	for i, c := range s.past {
		if done&(1<<i) == 0 && (first < 0 || c.ended < first) {
			first = c.ended
		}
	}
	return first
}

func (p past) String() string {
	var b strings.Builder
	for _, c := range p {
		fmt.Fprintf(&b, "  from %2d to %2d: %v: %v\n", c.began, c.ended, c.step, c.reply)
	}
	return b.String()
}
