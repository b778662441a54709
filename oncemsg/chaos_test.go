package oncemsg_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/oncetest"
)

// A world is a broker that delivers at least once, processes that crash, a store and a broker
// that lose requests and replies, and handlers that fail, panic and outlive their leases. It keeps the
// books of what each of them has seen.
type world struct {
	t     *testing.T
	store *oncemem.Store

	mu        sync.Mutex
	rng       *rand.Rand
	copies    []*delivery
	effects   map[string]int             // how often a handler has succeeded
	published map[string]map[string]bool // the ids of what was published for a message
	crashes   int
}

// A delivery is one copy of a message with the broker.
type delivery struct {
	id      string
	visible time.Time // from when on it is delivered again
	gone    bool
}

const visibility = 30 * time.Second

func (w *world) chance(p float64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rng.Float64() < p
}

func (w *world) upTo(d time.Duration) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Duration(w.rng.Int64N(int64(d)))
}

// receive returns a copy that is visible, or nil, and whether there is any left.
func (w *world) receive() (*delivery, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	left := false
	for _, i := range w.rng.Perm(len(w.copies)) {
		c := w.copies[i]
		if c.gone {
			continue
		}
		left = true
		if !time.Now().Before(c.visible) {
			c.visible = time.Now().Add(visibility)
			return c, true
		}
	}
	return nil, left
}

// A process is a consumer that may crash: from then on nothing that it says gets anywhere.
type process struct {
	w    *world
	dead atomic.Bool
	c    *oncemsg.Consumer
}

func (w *world) start() *process {
	p := &process{w: w}
	fault := func(oncetest.Verb, int) oncetest.Fault {
		switch {
		case p.dead.Load(), w.chance(0.05):
			return oncetest.Fault{Before: errNet}
		case w.chance(0.05):
			return oncetest.Fault{After: errNet}
		}
		return oncetest.Fault{}
	}
	p.c = newConsumer(w.t, oncemsg.Config{
		Guard: newGuard(w.t, once.Config{
			Store: plain{oncetest.Faulty(w.store, fault)}, MaxAttempts: 1000, Retention: 365 * day,
		}),
		Publish: p.publish,
	})
	return p
}

func (p *process) publish(ctx context.Context, outputs []oncemsg.Output) error {
	if p.dead.Load() || p.w.chance(0.1) {
		return errNet
	}
	p.w.mu.Lock()
	for _, o := range outputs {
		if p.w.published[o.To] == nil {
			p.w.published[o.To] = map[string]bool{}
		}
		p.w.published[o.To][o.ID] = true
	}
	p.w.mu.Unlock()
	if p.w.chance(0.1) {
		return errNet // the reply was lost
	}
	return nil
}

func (p *process) handle(ctx context.Context, m oncemsg.Message) error {
	if err := oncemsg.Emit(ctx, oncemsg.Output{To: m.ID}); err != nil {
		return err
	}
	switch w := p.w; {
	case w.chance(0.05):
		p.dead.Store(true)
		return errNet
	case w.chance(0.1):
		return errNet
	case w.chance(0.05):
		return once.NoEffect(errNet)
	case w.chance(0.05):
		panic("no")
	case w.chance(0.3):
		time.Sleep(w.upTo(2 * time.Minute))
	}
	if p.w.chance(0.03) {
		p.dead.Store(true) // after the effect: it will be repeated
	}
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.w.effects[m.ID]++
	return nil
}

// message describes the delivery. Verbs of a dead process get nowhere, and any may be lost.
func (p *process) message(d *delivery) oncemsg.Message {
	verb := func(f func()) error {
		if p.dead.Load() || p.w.chance(0.1) {
			return errNet
		}
		p.w.mu.Lock()
		defer p.w.mu.Unlock()
		f()
		return nil
	}
	return oncemsg.Message{
		ID: d.id, Lease: visibility,
		Verbs: oncemsg.Verbs{
			Ack: func(context.Context) error {
				return verb(func() {
					d.gone = true
					if p.w.effects[d.id] == 0 || len(p.w.published[d.id]) == 0 {
						p.w.t.Errorf("%s was acknowledged after %d effects and %d outputs",
							d.id, p.w.effects[d.id], len(p.w.published[d.id]))
					}
				})
			},
			Nak: func(_ context.Context, after time.Duration) error {
				return verb(func() { d.visible = time.Now().Add(after) })
			},
			Delays: true,
			Extend: func(context.Context) error {
				return verb(func() { d.visible = time.Now().Add(visibility) })
			},
		},
	}
}

// work consumes until nothing is left; a process that has crashed is replaced.
func (w *world) work(ctx context.Context) {
	p := w.start()
	for {
		d, left := w.receive()
		switch {
		case !left:
			return
		case d == nil:
			time.Sleep(time.Second)
			continue
		}
		p.c.Consume(ctx, p.message(d), p.handle)
		if p.dead.Load() {
			w.mu.Lock()
			w.crashes++
			w.mu.Unlock()
			p = w.start()
		}
	}
}

// Whatever goes wrong, every message is handled and its output published before it is acknowledged, and what
// is published for it is one message with one id.
func TestNothingIsLostWhateverFails(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { surviveChaos(t, seed, 200) })
		})
	}
}

func surviveChaos(t *testing.T, seed uint64, messages int) {
	w := &world{
		t: t, store: new(oncemem.Store), rng: rand.New(rand.NewPCG(seed, 1)),
		effects: map[string]int{}, published: map[string]map[string]bool{},
	}
	for i := range messages {
		for range 1 + w.rng.IntN(3) { // the producer sends again, too
			w.copies = append(w.copies, &delivery{id: fmt.Sprint(i)})
		}
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 30*day, errors.New("it takes too long"))
	defer cancel()
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() { w.work(ctx) })
	}
	workers.Wait()
	if ctx.Err() != nil {
		t.Fatal(context.Cause(ctx))
	}
	again := 0
	for i := range messages {
		id := fmt.Sprint(i)
		if n := len(w.published[id]); n != 1 {
			t.Errorf("message %s was published under %d ids", id, n)
		}
		again += w.effects[id] - 1
	}
	if w.crashes == 0 || slices.ContainsFunc(w.copies, func(d *delivery) bool { return !d.gone }) {
		t.Errorf("%d crashes; or messages are left", w.crashes)
	}
	t.Logf("%d messages in %d copies, %d crashes, %d effects more than messages", messages, len(w.copies), w.crashes, again)
}
