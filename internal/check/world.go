package check

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oncehq/once"
)

// A world is one history under way: a store, processes with callers, and the checks that watch
// them. It begins anew for every history.
type world struct {
	sc        *scenario
	engine    engine
	verbs     verbs
	keys      []once.Key
	entries   []entry
	durable   []entry // what a power cut leaves
	processes []*process
	callers   []*caller
	operator  *caller    // who resolves what is in doubt
	late      []*request // sent by callers that do not wait for the reply any more

	// The store's clock: what it was set to, and when in the time of the bubble.
	set   instant
	setAt time.Time

	mu        sync.Mutex // guards the rest while several callers run
	pending   []*request // of callers that are stopped, in the order of their numbers
	owners    owners
	direct    bool          // requests are served at once: nothing goes wrong any more
	touched   int           // the key of the latest verb, or -1
	changed   chan struct{} // closed after touches has grown; nil while nobody waits
	woken     int           // what touches was then
	seen      int           // what it was when the records were looked at last
	calmUntil instant       // when time will change one of them
	touches   int           // how often a record or the clock has changed
	left      limits

	ledgers   []ledger
	proven    bool // this step was checked in an earlier run
	looked    [len(invariants)]int
	taken     [kinds]int
	violation *violation
	log       *strings.Builder // or nil
	said      []string         // and what is not yet in it
}

func newWorld(sc *scenario, e engine) *world {
	w := &world{sc: sc, engine: e, verbs: contract(), touched: -1, left: sc.limits}
	w.set = instant(1000 * time.Hour) // when it is does not matter
	w.operator = &caller{w: w, index: -1}
	w.setAt = time.Now()
	if sc.transactional {
		w.verbs = transactions()
	}
	if sc.mutant.verbs != nil {
		sc.mutant.verbs(w, &w.verbs)
	}
	for _, k := range sc.keys() {
		w.index(k)
	}
	for i := range sc.calls {
		w.addCaller(i, sc.process[i])
	}
	return w
}

// addCaller adds a caller to that process, which is new if its number is.
func (w *world) addCaller(i, p int) *caller {
	c := &caller{w: w, index: i, last: -1}
	c.ctx, c.cancel = context.WithCancel(context.WithValue(context.Background(), callerKey{}, c))
	if p == len(w.processes) {
		w.processes = append(w.processes, w.newProcess())
	}
	c.process = w.processes[p]
	c.process.callers = append(c.process.callers, c)
	w.callers = append(w.callers, c)
	return c
}

func (w *world) newProcess() *process {
	p := &process{}
	p.boot(w)
	return p
}

// boot gives the process a guard and a connection to the store.
func (p *process) boot(w *world) {
	var store once.Store = handle{w}
	if w.sc.waiter {
		store = waiter{handle{w}}
	}
	if w.sc.mutant.store != nil {
		store = w.sc.mutant.store(store)
	}
	if w.sc.mutant.guard != nil {
		p.do = w.sc.mutant.guard(w, store)
		return
	}
	g := w.newGuard(store)
	p.do, p.lock = guarded(g), locked(g)
}

func (w *world) newGuard(store once.Store) *once.Guard {
	cfg := once.Config{
		Store:                 store,
		InDoubt:               w.sc.policy,
		Lease:                 lease,
		Retention:             w.sc.retention,
		Wait:                  w.sc.wait,
		CacheBytes:            w.sc.cache,
		Codec:                 text{},
		Pause:                 w.pause,
		DangerouslyTrustStore: true,
	}
	if cfg.InDoubt == once.Rerun {
		cfg.MaxAttempts, cfg.Forget = w.sc.attempts, once.Forever
		if w.sc.limits.retirements > 0 {
			cfg.Forget = forgetAfter
		}
	}
	g, err := once.New(cfg)
	if err != nil {
		panic(err)
	}
	return g
}

// index returns the number of the key, and gives it one if it is new.
func (w *world) index(k once.Key) int {
	if i := slices.Index(w.keys, k); i >= 0 {
		return i
	}
	w.keys = append(w.keys, k)
	w.entries = append(w.entries, entry{})
	w.durable = append(w.durable, entry{})
	w.ledgers = append(w.ledgers, ledger{key: k, policy: w.sc.policyOf(k)})
	return len(w.keys) - 1
}

// number is index for callers.
func (w *world) number(k once.Key) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.index(k)
}

// slot returns the entry in which the store keeps the key's record.
func (w *world) slot(key int) int {
	if w.sc.mutant.slot != nil {
		return w.sc.mutant.slot(w, key)
	}
	return key
}

// clock returns the store's time.
func (w *world) clock() instant {
	d := time.Since(w.setAt)
	if w.sc.rate != 0 {
		d = time.Duration(float64(d) * w.sc.rate)
	}
	return w.set.plus(d)
}

// move moves the store's clock forward, and nobody else's.
func (w *world) move(to instant) {
	w.set, w.setAt = to, time.Now()
	w.touches++
}

// peek returns the record as it is now.
func (w *world) peek(key int, now instant) entry {
	e := w.entries[w.slot(key)]
	if w.verbs.over(&e, now) {
		e.remove()
	}
	return e
}

// ask stops the caller until the scheduler has replied.
func (w *world) ask(ctx context.Context, r *request) {
	c := r.caller
	r.ctx = ctx
	w.mu.Lock()
	switch {
	case c.process.dead:
		r.err = errDead
	case w.direct:
		w.serve(r)
	default:
		if r.verb == claim {
			w.owners.name(r.owner, c)
			if a := c.current(r.key); a != nil && w.broken(7, r.claim.Fingerprint == a.fp) {
				w.violate(7, "the claim of %v does not say what it asks for", c)
			}
		}
		if !r.beat {
			c.last = r.key
		}
		w.engine.stop(w, r) // unlocks meanwhile
	}
	w.mu.Unlock()
	if !r.beat {
		c.failing = errors.Is(r.err, errUnknown)
	}
}

// serve carries a request out, and checks what came of it.
func (w *world) serve(r *request) {
	now := w.clock()
	switch {
	case r.verb == effect:
		if r.ending.hasEffect() {
			w.takesEffect(r)
		}
		return
	case !r.verb.isStores():
		return
	}
	before := w.peek(r.key, now)
	w.ledgers[r.key].still(w, now, before)
	e := &w.entries[w.slot(r.key)]
	*e = before
	if w.sc.mutant.lag {
		copy(w.durable, w.entries)
	}
	switch r.verb {
	case claim:
		r.rec, r.err = w.verbs.claim(e, now, r.claim)
	case renew:
		r.err = w.verbs.renew(e, now, r.owner, r.lasting)
	case complete:
		r.err = w.verbs.complete(e, now, r.owner, r.outcome, r.lasting)
	case release:
		r.err = w.verbs.release(e, now, r.owner)
	case load:
		r.rec, r.err = w.verbs.load(e, now)
	}
	if r.rec.State != 0 {
		r.rec.Key = w.keys[w.slot(r.key)]
	}
	w.touched = r.key
	if *e != before {
		w.touches++
	}
	if !w.sc.mutant.lag {
		w.durable[w.slot(r.key)] = *e
	}
	w.verdict(r, now, before, *e)
	w.note(r.key, now)
	if a := r.caller.current(r.key); a != nil && r.err != nil {
		a.failed = true
	}
}

// wake tells those who wait in the store that something has changed.
func (w *world) wake() {
	if w.changed != nil && w.touches != w.woken {
		w.woken = w.touches
		close(w.changed)
		w.changed = nil
		w.engine.rest(w)
	}
}

func (w *world) logf(format string, args ...any) {
	if w.log != nil {
		w.said = append(w.said, fmt.Sprintf("  "+format+"\n", args...))
	}
}

// flush writes the log of a step down. What several callers were told in it comes in no order.
func (w *world) flush() {
	if len(w.said) > 0 {
		slices.Sort(w.said[1:])
		w.log.WriteString(strings.Join(w.said, ""))
		w.said = w.said[:0]
	}
}
