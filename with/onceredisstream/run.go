package onceredisstream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/oncehq/once/retry"
)

const (
	blockTime = time.Second     // the server holds a read of an empty stream so long
	replyTime = 5 * time.Second // for the server to answer what was asked before Run ends
	noCursor  = "0-0"           // of a scan: its beginning, and its end
)

// Run consumes as one consumer of a group until ctx is done. Then it waits for the read under way, a
// second at most if the server answers, lets the entries being handled finish, as Config.Drain
// says, and returns nil. Otherwise it returns an error at once if
// something is wrong with cfg, or if the group does not exist.
//
// Other errors of the server do not end it: they are logged, and tried again for ever.
func Run(ctx context.Context, cfg Config) error {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return err
	}
	random := cfg.Name == ""
	if random {
		cfg.Name = randomName()
	}
	r := &reader{cfg: cfg, slots: make(chan struct{}, cfg.Concurrency), cursor: noCursor}
	// Handlers outlive ctx for as long as Drain says.
	handling, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	r.handling = handling

	reading, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// What the server gives to a read that was given up would wait for a lease.
	calls, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	defer context.AfterFunc(reading, func() { time.AfterFunc(replyTime, giveUp) })()
	r.calls = calls
	var loops sync.WaitGroup
	for _, loop := range []func(context.Context) error{r.readNew, r.takeOver} {
		loops.Go(func() {
			if err := loop(reading); err != nil {
				cancel(err)
			}
		})
	}
	loops.Wait()
	drained := time.AfterFunc(cfg.Drain, stop)
	defer drained.Stop()
	r.handlers.Wait()
	if ctx.Err() == nil {
		return context.Cause(reading) // there is no group to leave
	}
	if random {
		r.leave(ctx)
	}
	return nil
}

// A reader is one consumer of the group.
type reader struct {
	cfg      Config
	handling context.Context // of handlers
	calls    context.Context // of reads; outlives that of Run for a short time
	cursor   string          // where taking over goes on
	slots    chan struct{}   // holds a token for each entry being handled
	handlers sync.WaitGroup
}

var errNoGroup = errors.New("onceredisstream: the stream has no such group; make it with CreateGroup")

// again reports an error of the server, waits, and returns nil if it should be tried again.
func (r *reader) again(ctx context.Context, what string, failures int, err error) error {
	if strings.HasPrefix(err.Error(), "NOGROUP") {
		return errNoGroup
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r.cfg.Logger.Error("onceredisstream: "+what+" failed; it is tried again", "stream", r.cfg.Stream, "err", err)
	return retry.Sleep(ctx, min(100*time.Millisecond<<min(failures, 6), 5*time.Second))
}

// readNew reads entries that nobody was given, as many as can be handled.
func (r *reader) readNew(ctx context.Context) error {
	c := r.cfg.Client
	for failures := 0; ; {
		n, err := r.acquire(ctx)
		if err != nil {
			return err
		}
		cmd := c.B().Xreadgroup().Group(r.cfg.Group, r.cfg.Name).Count(int64(n)).
			Block(blockTime.Milliseconds()).Streams().Key(r.cfg.Stream).Id(">").Build()
		streams, err := c.Do(r.calls, cmd).AsXRead()
		entries := streams[r.cfg.Stream]
		r.release(n - len(entries))
		for _, e := range entries {
			r.handle(e, 1)
		}
		switch {
		case err == nil || rueidis.IsRedisNil(err):
			failures = 0
		default:
			failures++
			if err := r.again(ctx, "reading", failures, err); err != nil {
				return err
			}
		}
	}
}

// takeOver takes over what has been idle for a lease: what other consumers have died with, and
// what is to be delivered again.
func (r *reader) takeOver(ctx context.Context) error {
	for failures := 0; ; {
		found, err := r.takeOverSome(ctx)
		switch {
		case err != nil:
			failures++
			if err := r.again(ctx, "taking over", failures, err); err != nil {
				return err
			}
		case found == 0:
			failures = 0
			if err := retry.Sleep(ctx, max(min(r.cfg.Lease/10, time.Second), time.Millisecond)); err != nil {
				return err
			}
		}
	}
}

// takeOverSome looks for idle entries until it has found some, or has come to the last.
func (r *reader) takeOverSome(ctx context.Context) (found int, err error) {
	n, err := r.acquire(ctx)
	if err != nil {
		return 0, err
	}
	free := n
	defer func() { r.release(free) }()
	for {
		entries, err := r.claimIdle(n)
		if err != nil {
			return 0, err
		}
		for i, attempt := range r.deliveries(entries) {
			free--
			r.handle(entries[i], attempt)
		}
		if len(entries) > 0 || r.cursor == noCursor || ctx.Err() != nil {
			return len(entries), nil
		}
	}
}

// claimIdle takes over up to n idle entries from the cursor on, and moves that. Redis looks at ten
// entries for each that it is asked for, so that it may find none although there are some behind.
func (r *reader) claimIdle(n int) ([]rueidis.XRangeEntry, error) {
	c := r.cfg.Client
	reply, err := c.Do(r.calls, c.B().Xautoclaim().Key(r.cfg.Stream).Group(r.cfg.Group).Consumer(r.cfg.Name).
		MinIdleTime(fmt.Sprint(r.cfg.Lease.Milliseconds())).Start(r.cursor).Count(int64(n)).Build()).ToArray()
	if err != nil {
		return nil, err
	}
	if len(reply) < 2 {
		return nil, fmt.Errorf("XAUTOCLAIM returned %d parts, want 2", len(reply))
	}
	if r.cursor, err = reply[0].ToString(); err != nil {
		r.cursor = noCursor
		return nil, err
	}
	claimed, err := reply[1].ToArray()
	if err != nil {
		return nil, err
	}
	lost := 0
	entries := make([]rueidis.XRangeEntry, 0, len(claimed))
	for _, value := range claimed {
		if value.IsNil() { // before Redis 7, which names them apart
			lost++
			continue
		}
		e, err := value.AsXRangeEntry()
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	if len(reply) > 2 {
		gone, _ := reply[2].AsStrSlice()
		lost += len(gone)
	}
	if lost > 0 {
		r.cfg.Logger.Error("onceredisstream: entries were trimmed from the stream before they were handled, "+
			"and are lost unless a consumer has them in hand",
			"stream", r.cfg.Stream, "group", r.cfg.Group, "entries", lost)
	}
	return entries, nil
}

// deliveries returns how often each of the entries was delivered, or zero if that cannot be found
// out.
func (r *reader) deliveries(entries []rueidis.XRangeEntry) []int {
	c := r.cfg.Client
	asked := make(rueidis.Commands, len(entries))
	for i, e := range entries {
		asked[i] = c.B().Xpending().Key(r.cfg.Stream).Group(r.cfg.Group).Start(e.ID).End(e.ID).Count(1).Build()
	}
	counts := make([]int, len(entries))
	for i, reply := range c.DoMulti(r.calls, asked...) {
		pending, err := reply.ToArray()
		if err != nil || len(pending) != 1 {
			continue
		}
		if parts, err := pending[0].ToArray(); err == nil && len(parts) == 4 {
			n, _ := parts[3].AsInt64()
			counts[i] = int(n)
		}
	}
	return counts
}

// handle hands an entry to the consumer, in a goroutine that has a slot.
func (r *reader) handle(e rueidis.XRangeEntry, attempt int) {
	r.handlers.Go(func() {
		defer r.release(1)
		m := r.deliver(e, attempt)
		d := r.cfg.Consumer.Handle(r.handling, m, r.cfg.Handler)
		if err := r.settle(e, m, d); err != nil {
			r.cfg.Logger.Error("onceredisstream: the server was not told what came of an entry; it comes again "+
				"if it is still in the stream", "stream", r.cfg.Stream, "entry", e.ID, "kind", d.Kind.String(), "err", err)
		}
	})
}

// acquire takes at least one slot, and what else is free up to a half of all, so that new entries and
// those taken over do not shut each other out.
func (r *reader) acquire(ctx context.Context) (n int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	select {
	case r.slots <- struct{}{}:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	for n = 1; n < (r.cfg.Concurrency+1)/2; n++ {
		select {
		case r.slots <- struct{}{}:
			continue
		default:
		}
		break
	}
	return n, nil
}

func (r *reader) release(n int) {
	for range n {
		<-r.slots
	}
}
