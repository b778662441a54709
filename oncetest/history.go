package oncetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/oncehq/once"
)

var random = []property{
	{"any history of verbs gives the replies of the model", randomHistories, leases},
}

func randomHistories(x *trial) {
	for n := range x.opt.Histories {
		h := newHistory(x, uint64(n))
		for range x.opt.Steps {
			h.step()
		}
	}
}

// A history does random verbs on a few keys, one after the other, and compares what they come to
// with a model of each key.
type history struct {
	*trial
	*rand.Rand
	n       uint64
	clock   time.Time // of the models
	slow    time.Duration
	rests   int // how many steps may be followed by a rest
	keys    []once.Key
	guesses map[once.Key][]guess
	owners  map[once.Key][]once.Owner // that claimed, latest last
	told    []string                  // steps and replies
}

func newHistory(x *trial, n uint64) *history {
	h := &history{
		trial:   x,
		Rand:    rand.New(rand.NewPCG(x.opt.Seed, n)),
		n:       n,
		rests:   3,
		guesses: make(map[once.Key][]guess),
		owners:  make(map[once.Key][]once.Owner),
	}
	for range 3 {
		k := x.key()
		h.keys = append(h.keys, k)
		h.guesses[k] = []guess{{model: &Model{Now: func() time.Time { return h.clock }}}}
	}
	return h
}

// exact reports whether the models' clock is the store's, so that short leases and retentions may
// end between any two verbs. Otherwise each is followed by a rest, after which it is surely over.
func (h *history) exact() bool { return h.opt.Bubble && h.opt.Slack == 0 }

func (h *history) step() {
	if h.exact() && h.IntN(4) == 0 {
		time.Sleep(h.short())
	}
	if s, ok := h.store.(once.Sweeper); ok && h.IntN(30) == 0 {
		_, err := s.Sweep(h.ctx)
		h.ok(err, "sweep")
	}
	st := h.choose(h.keys[h.IntN(len(h.keys))])
	times := 1
	if h.IntN(8) == 0 {
		times = 2 // repeating any verb with the same arguments is safe
	}
	for range times {
		h.do(st)
	}
	short := st.duration > 0 && st.duration < long || st.verb == Claim && st.claim.Lease < long
	if short && !h.exact() {
		time.Sleep(h.opt.Lease + 2*h.opt.Slack + h.slow)
	}
}

// do carries out the step, and keeps those guesses that explain the reply.
func (h *history) do(st step) {
	from := time.Now()
	got := st.on(h.ctx, h.store)
	to := time.Now()
	h.slow = max(h.slow, to.Sub(from))
	slack := h.opt.Slack + h.slow

	h.clock = to.Add(2 * slack)
	guesses := h.guesses[st.key]
	for _, g := range guesses {
		if g.model.Forgettable(st.key) {
			guesses = append(guesses, g.forgotten(st.key))
		}
	}
	h.clock = from
	h.told = append(h.told, fmt.Sprintf("key %d: %v: %v", slices.Index(h.keys, st.key), st, got))
	var kept []guess
	var wrong string
	for _, g := range guesses {
		next, differs := g.after(st, got, slack)
		if differs != "" {
			wrong += fmt.Sprintf("\n%s differs from the model's: %v", differs, st.on(h.ctx, g.model.Clone()))
		} else if !slices.ContainsFunc(kept, func(o guess) bool { return o.String() == next.String() }) {
			kept = append(kept, next)
		}
	}
	if len(kept) == 0 {
		h.Fatalf("history %d of seed %d, step %d:\n  %s%s",
			h.n, h.opt.Seed, len(h.told), strings.Join(h.told[max(0, len(h.told)-25):], "\n  "), wrong)
	}
	h.guesses[st.key] = kept
}

// choose returns a random step on the key.
func (h *history) choose(k once.Key) step {
	st := step{key: k, cancelled: h.IntN(25) == 0}
	switch n := h.IntN(100); {
	case n < 40:
		st.verb, st.claim = Claim, h.claim(k)
	case n < 55:
		st.verb, st.owner, st.duration = Renew, h.owner(k), h.duration(0, long)
	case n < 72:
		st.verb, st.owner, st.outcome = Complete, h.owner(k), h.outcome()
		st.duration = h.duration(0, long, once.Forever)
	case n < 80:
		st.verb, st.owner = Release, h.owner(k)
	case n < 84 && h.forgets():
		st.verb, st.owner = Forget, h.owner(k)
	default:
		st.verb = Load
	}
	return st
}

func (h *history) forgets() bool {
	_, ok := h.store.(once.Forgetter)
	return ok
}

func (h *history) claim(k once.Key) once.Claim {
	c := once.Claim{
		Key:         k,
		Fingerprint: once.FingerprintOf([]byte("what most ask")),
		Owner:       once.NewOwner(),
		Lease:       h.duration(long, once.Forever),
		Takeover:    h.IntN(4),
	}
	if h.IntN(3) == 0 {
		c.Forget = h.short()
	}
	if h.IntN(4) == 0 {
		c.Owner = h.owner(k)
	}
	switch h.IntN(8) {
	case 0:
		c.Fingerprint = once.Fingerprint{}
	case 1:
		c.Fingerprint = once.FingerprintOf([]byte("what few ask"))
	}
	h.owners[k] = append(h.owners[k], c.Owner)
	return c
}

// owner returns the owner of the key, a former one, or a stranger.
func (h *history) owner(k once.Key) once.Owner {
	if owner := h.guesses[k][0].model.records[k].Owner; owner != (once.Owner{}) && h.IntN(10) < 7 {
		return owner
	}
	if past := h.owners[k]; len(past) > 0 && h.IntN(10) < 7 {
		return past[len(past)-1-h.IntN(min(4, len(past)))]
	}
	return once.NewOwner()
}

// outcome returns one of a few outcomes, so that the same one is recorded twice now and then.
func (h *history) outcome() once.Outcome {
	return []once.Outcome{
		{},
		{Type: "text/plain", Data: []byte("a")},
		{Type: "text/plain", Data: []byte("b")},
		{Failed: true, Type: "text/plain", Data: []byte("a")},
	}[h.IntN(4)]
}

// duration returns one of these, or a short one.
func (h *history) duration(of ...time.Duration) time.Duration {
	switch {
	case h.exact() && h.IntN(3) == 0:
		return h.short()
	case !h.exact() && h.rests > 0 && h.IntN(20) == 0:
		h.rests--
		return h.opt.Lease
	}
	return of[h.IntN(len(of))]
}

func (h *history) short() time.Duration {
	return 1 + time.Duration(h.Int64N(int64(3*h.opt.Lease)))
}
