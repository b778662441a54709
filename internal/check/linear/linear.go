// Package linear checks that a store's verbs are atomic: that callers who use it at the same time
// see what they would see if the verbs happened one after the other.
//
// Clients carry out random verbs on few keys, with owners of their own and of each other. Some
// calls are broken off, some replies are thrown away. Of each key's history porcupine
// (github.com/anishathalye/porcupine) then looks for an order of the verbs, in which those come
// first that had ended before others began, and in which the state machine of docs/DESIGN.md gives
// every reply that was received. If there is none, the store does not keep the contract.
//
// Leases and retentions are long, so that nothing depends on time: a lease ends only by a renewal
// with zero. What time does is checked elsewhere.
package linear

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/oncehq/once"
)

// Options say how much is asked of the store.
type Options struct {
	// Calls is about how many verbs are carried out in all. Defaults to 4000.
	Calls int

	// Clients is how many callers use the store at a time. Defaults to 8.
	Clients int

	// Keys is how many keys they use at a time. Defaults to 3.
	Keys int

	// CallsPerKey is how many verbs are carried out on a key before the clients go on to another
	// one. The search takes longer the more there are. At least as many as Clients.
	// Defaults to 60.
	CallsPerKey int

	// Unknown is how many calls of a thousand are broken off, or have their reply thrown away.
	// Defaults to 40; a negative number stands for none.
	Unknown int

	// Seed repeats the random choices of an earlier run, though not its timing.
	// Defaults to a new one in each run.
	Seed uint64

	// Timeout bounds the search for an order, for each key. Defaults to 5 s, and to 20 s with
	// more than 10000 calls.
	Timeout time.Duration

	// Disturb is run beside the clients until stop is closed: it restarts the server, say.
	// Errors that the clients get meanwhile leave open what happened. Defaults to nothing.
	Disturb func(stop <-chan struct{})
}

func (o Options) withDefaults() Options {
	o.Calls = cmp.Or(o.Calls, 4000)
	o.Clients = cmp.Or(o.Clients, 8)
	o.Keys = cmp.Or(o.Keys, 3)
	o.CallsPerKey = max(cmp.Or(o.CallsPerKey, 60), o.Clients)
	o.Unknown = cmp.Or(o.Unknown, 40)
	o.Seed = cmp.Or(o.Seed, rand.Uint64())
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
		if o.Calls > 10_000 {
			o.Timeout = 20 * time.Second
		}
	}
	return o
}

// Check runs clients against the store and fails the test if there is no order that explains what
// they saw. The store must be able to show claims, that is, not be a transactional one.
func Check(t testing.TB, s once.Store, o Options) {
	t.Helper()
	o = o.withDefaults()
	t.Logf("linear: Options.Seed: %d", o.Seed)
	start := time.Now()
	r := Run(s, o)
	if r.Bad != "" {
		t.Fatalf("no order of these verbs explains the replies:\n%s", r.Bad)
	}
	if r.Undecided > 0 {
		t.Logf("%d of %d keys could not be decided in %v each", r.Undecided, r.Keys, o.Timeout)
	}
	// On a machine that is very busy most calls are disturbed, and few keys decided: that is no
	// fault of the store.
	if 2*r.Undecided > r.Keys {
		t.Error("that is too many to prove anything; set CallsPerKey or Unknown lower")
	}
	t.Logf("%d calls on %d keys by %d clients, %d of them with an unknown end, explained in %v",
		r.Calls, r.Keys, o.Clients, r.Unknown, time.Since(start).Round(time.Millisecond))
}

// A Result is what came of a run.
type Result struct {
	Calls, Keys int
	Unknown     int    // calls of which the client does not know whether they were carried out
	Undecided   int    // keys for which the search took too long
	Bad         string // the first history that no order explains, or empty
}

// Run is Check without a test.
func Run(s once.Store, o Options) Result {
	o = o.withDefaults()
	var r Result
	if o.Disturb != nil {
		stop := make(chan struct{})
		var disturbed sync.WaitGroup
		disturbed.Go(func() { o.Disturb(stop) })
		defer disturbed.Wait()
		defer close(stop)
	}
	rounds := (o.Calls + o.Keys*o.CallsPerKey - 1) / (o.Keys * o.CallsPerKey)
	for round := range max(rounds, 1) {
		for _, h := range record(s, o, uint64(round)) {
			r.Calls += len(h)
			r.Keys++
			for _, c := range h {
				if c.Return == math.MaxInt64 {
					r.Unknown++
				}
			}
			switch porcupine.CheckOperationsTimeout(model, h, o.Timeout) {
			case porcupine.Illegal:
				r.Bad = tell(h)
				return r
			case porcupine.Unknown:
				r.Undecided++
			}
		}
	}
	return r
}

// tell writes a history down, a call a line, in the order in which they began.
func tell(h []porcupine.Operation) string {
	var b strings.Builder
	for _, c := range h {
		until := fmt.Sprint(c.Return)
		if c.Return == math.MaxInt64 {
			until = "?"
		}
		fmt.Fprintf(&b, "  %6d to %6s  client %d: %v -> %v\n", c.Call, until, c.ClientId, c.Input, c.Output)
	}
	return b.String()
}
