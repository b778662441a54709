package linear

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/oncehq/once"
)

// A verb is one of the five of [once.Store].
type verb uint8

const (
	claim verb = iota
	renew
	complete
	release
	load
)

var verbNames = [...]string{"claim", "renew", "complete", "release", "load"}

// An input is a call of a verb.
type input struct {
	verb     verb
	key      once.Key
	owner    once.Owner
	fp       once.Fingerprint
	takeover int
	gone     bool // a lease or a retention of zero
	data     string
}

// An output is what came back. Its zero value, with unknown set, says nothing.
type output struct {
	unknown bool
	err     error // one of package once's, or nil
	rec     once.Record
}

// long is a lease or a retention that is not over before the run is.
const long = 24 * time.Hour

func (in *input) lasting() time.Duration {
	if in.gone {
		return 0
	}
	return long
}

// on carries the call out.
func (in *input) on(ctx context.Context, s once.Store) (out output) {
	switch in.verb {
	case claim:
		out.rec, out.err = s.Claim(ctx, once.Claim{
			Key: in.key, Fingerprint: in.fp, Owner: in.owner, Lease: long, Takeover: in.takeover,
		})
	case renew:
		out.err = s.Renew(ctx, in.key, in.owner, in.lasting())
	case complete:
		o := once.Outcome{Type: "text/plain", Data: []byte(in.data)}
		out.err = s.Complete(ctx, in.key, in.owner, o, in.lasting())
	case release:
		out.err = s.Release(ctx, in.key, in.owner)
	case load:
		out.rec, out.err = s.Load(ctx, in.key)
	}
	return out
}

// settled reports whether the error says what happened.
func settled(err error) bool {
	return err == nil || slices.ContainsFunc([]error{
		once.ErrLost, once.ErrMismatch, once.ErrNotFound,
	}, func(known error) bool { return errors.Is(err, known) })
}

// A past is the history of one round: of all its keys, by client.
type past struct {
	clock atomic.Int64 // counts the beginnings and ends of calls
	mu    sync.Mutex
	calls map[once.Key][]porcupine.Operation
}

// record lets the clients loose on keys that nobody has used, and returns the keys' histories.
func record(s once.Store, o Options, round uint64) map[once.Key][]porcupine.Operation {
	scope := "linear/" + once.NewOwner().String()
	p := &past{calls: make(map[once.Key][]porcupine.Operation)}
	keys := make([]once.Key, o.Keys)
	owners := make([]once.Owner, o.Clients)
	for i := range keys {
		keys[i] = once.Key{Scope: scope, ID: fmt.Sprint(i)}
	}
	for i := range owners {
		owners[i] = once.NewOwner()
	}
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range o.Clients {
		rnd := rand.New(rand.NewPCG(o.Seed, round<<16|uint64(i)))
		all.Go(func() {
			<-start
			mine := owners[i]
			for range (o.Keys*o.CallsPerKey + o.Clients - 1) / o.Clients {
				in := choose(rnd, keys[rnd.IntN(len(keys))], mine, owners)
				if in.verb == claim && rnd.IntN(3) == 0 {
					mine = once.NewOwner()
					in.owner = mine
				}
				p.call(s, i, in, rnd, o.Unknown)
			}
		})
	}
	close(start)
	all.Wait()
	for _, h := range p.calls {
		slices.SortFunc(h, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	}
	return p.calls
}

// choose makes a call up: mostly what an owner does, sometimes what it should not.
func choose(rnd *rand.Rand, k once.Key, mine once.Owner, owners []once.Owner) *input {
	in := &input{key: k, owner: mine, fp: once.Fingerprint{1}, gone: rnd.IntN(3) == 0}
	in.verb = []verb{claim, claim, claim, renew, renew, complete, release, load}[rnd.IntN(8)]
	if rnd.IntN(4) == 0 {
		in.owner = owners[rnd.IntN(len(owners))]
	}
	switch rnd.IntN(10) {
	case 0:
		in.fp = once.Fingerprint{2}
	case 1:
		in.fp = once.Fingerprint{}
	}
	if rnd.IntN(2) == 0 {
		in.takeover = 1 + rnd.IntN(4)
	}
	in.data = in.owner.String()[:8]
	if rnd.IntN(4) == 0 {
		in.data += "'"
	}
	return in
}

// call carries the call out, or breaks it off, and notes what came of it.
func (p *past) call(s once.Store, client int, in *input, rnd *rand.Rand, unknown int) {
	ctx, cancel := context.Background(), context.CancelFunc(func() {})
	forget := false
	if rnd.IntN(1000) < unknown {
		if forget = rnd.IntN(2) == 0; !forget {
			ctx, cancel = context.WithTimeout(ctx, time.Duration(rnd.IntN(int(time.Millisecond))))
		}
	}
	c := porcupine.Operation{ClientId: client, Input: in, Call: p.clock.Add(1)}
	out := in.on(ctx, s)
	cancel()
	c.Return = p.clock.Add(1)
	if forget || !settled(out.err) {
		// It may have been carried out, or not, or it still will be.
		out, c.Return = output{unknown: true}, math.MaxInt64
	}
	c.Output = out
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls[in.key] = append(p.calls[in.key], c)
}

func (in *input) String() string {
	return fmt.Sprintf("%s by %.8v (fingerprint %d, takeover %d, data %q, ends at once: %t)",
		verbNames[in.verb], in.owner, in.fp[0], in.takeover, in.data, in.gone)
}

func (o output) String() string {
	switch {
	case o.unknown:
		return "unknown"
	case o.err != nil:
		return o.err.Error()
	case o.rec.State == 0:
		return "ok"
	}
	return fmt.Sprintf("%v of %.8v, attempt %d, fence %d, %q",
		o.rec.State, o.rec.Owner, o.rec.Attempt, o.rec.Fence, o.rec.Outcome.Data)
}
