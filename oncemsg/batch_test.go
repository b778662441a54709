package oncemsg_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
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

func messages(ids ...string) []oncemsg.Message {
	ms := make([]oncemsg.Message, len(ids))
	for i, id := range ids {
		ms[i] = oncemsg.Message{ID: id, Payload: []byte(id)}
	}
	return ms
}

func kinds(decisions []oncemsg.Decision) string {
	var all []string
	for _, d := range decisions {
		all = append(all, d.Kind.String())
	}
	return strings.Join(all, " ")
}

func wantKinds(t *testing.T, decisions []oncemsg.Decision, want string) {
	t.Helper()
	if got := kinds(decisions); got != want {
		t.Fatalf("decisions are %s; want %s", got, want)
	}
}

// counting counts the round trips of claims, with and without a Batcher.
type counting struct {
	*oncemem.Store
	claims, batches atomic.Int64
}

func (s *counting) Claim(ctx context.Context, c once.Claim) (once.Record, error) {
	s.claims.Add(1)
	return s.Store.Claim(ctx, c)
}

func (s *counting) ClaimBatch(ctx context.Context, cs []once.Claim) []once.ClaimResult {
	s.batches.Add(1)
	return s.Store.ClaimBatch(ctx, cs)
}

// A way hands a batch to a consumer.
type way func(*oncemsg.Consumer, context.Context, []oncemsg.Message, oncemsg.Handler) []oncemsg.Decision

// ways are the two kinds of handler that a batch can be given.
var ways = map[string]way{
	"HandleEach": (*oncemsg.Consumer).HandleEach,
	"HandleBatch": func(c *oncemsg.Consumer, ctx context.Context, ms []oncemsg.Message, h oncemsg.Handler) []oncemsg.Decision {
		return c.HandleBatch(ctx, ms, func(_ context.Context, items []oncemsg.Item) []error {
			errs := make([]error, len(items))
			for i, item := range items {
				errs[i] = h(item.Context, item.Message)
			}
			return errs
		})
	},
}

func eachWay(t *testing.T, f func(*testing.T, way)) {
	for name, handle := range ways {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f(t, handle) })
		})
	}
}

func TestBatchIsClaimedInOneRoundTrip(t *testing.T) {
	eachWay(t, func(t *testing.T, handle way) {
		for _, mode := range []oncemsg.Mode{oncemsg.ClaimRunDone, oncemsg.DropOnlyMayLose} {
			store, r := &counting{Store: new(oncemem.Store)}, new(runs)
			c := newConsumer(t, oncemsg.Config{Guard: newGuard(t, once.Config{Store: store}), Mode: mode})
			var ids []string
			for i := range 1000 {
				ids = append(ids, fmt.Sprint(i))
			}
			for range 2 {
				for i, d := range handle(c, t.Context(), messages(ids...), r.handle) {
					if d.Verb != oncemsg.Ack || d.Key.ID != ids[i] {
						t.Fatalf("%v: message %d: %+v", mode, i, d)
					}
				}
			}
			r.want(t, 1000)
			if store.batches.Load() != 2 || store.claims.Load() != 0 {
				t.Errorf("%v: %d batches, %d claims", mode, store.batches.Load(), store.claims.Load())
			}
		}
	})
}

func TestEachMessageOfABatchHasItsOwnDecision(t *testing.T) {
	eachWay(t, func(t *testing.T, handle way) {
		store, r := new(oncemem.Store), new(runs)
		c := newConsumer(t, oncemsg.Config{
			Guard:       newGuard(t, once.Config{Store: store, MaxAttempts: 2}),
			Fingerprint: oncemsg.ContentFingerprint, TooOld: 12 * time.Hour,
		})
		other := newConsumer(t, oncemsg.Config{Guard: newGuard(t, once.Config{Store: store})})
		c.Handle(t.Context(), messages("done")[0], r.handle)
		c.Handle(t.Context(), messages("poison")[0], func(context.Context, oncemsg.Message) error { return errNet })
		go other.Handle(t.Context(), messages("running")[0], sleeping(time.Hour, r.handle))
		synctest.Wait()

		ms := messages("new", "done", "running", "poison", "bad", "", "old", "new", "new", "done")
		ms[6].Time = time.Now().Add(-24 * time.Hour)
		ms[8].Payload = []byte("something else")
		order := ""
		decisions := handle(c, t.Context(), ms, func(ctx context.Context, m oncemsg.Message) error {
			order += m.ID + " "
			if a, ok := once.FromContext(ctx); !ok || a.Key().ID != m.ID {
				t.Errorf("context of %s carries another attempt", m.ID)
			}
			switch m.ID {
			case "bad":
				return once.Final(errors.New("bad"))
			case "poison":
				return errNet
			}
			return nil
		})
		wantKinds(t, decisions, "ran duplicate in-flight poisoned rejected unnamed too-old duplicate mismatch duplicate")
		for i, d := range decisions {
			if ok := i == 0 || i == 1 || i == 7 || i == 9; ok != (d.Verb == oncemsg.Ack) {
				t.Errorf("message %d: %v, %v", i, d.Kind, d.Verb)
			}
		}
		if order != "new poison bad " {
			t.Errorf("handled %s", order)
		}
		time.Sleep(2 * time.Hour)
	})
}

func TestCopiesInABatchShareItsFate(t *testing.T) {
	eachWay(t, func(t *testing.T, handle way) {
		letters := 0
		c, r := newConsumer(t, oncemsg.Config{DeadLetter: func(context.Context, oncemsg.Message, oncemsg.Decision) error {
			letters++
			return nil
		}}), &runs{errs: []error{errNet, nil, once.Final(errNet)}}
		decisions := handle(c, t.Context(), messages("a", "a"), r.handle)
		wantKinds(t, decisions, "failed in-flight") // a copy must not be acknowledged when the original has failed
		if decisions[0].Verb != oncemsg.Retry || decisions[1].Verb != oncemsg.Retry {
			t.Errorf("decisions are %+v", decisions)
		}
		wantKinds(t, handle(c, t.Context(), messages("a", "a"), r.handle), "ran duplicate")
		wantKinds(t, handle(c, t.Context(), messages("b", "b"), r.handle), "rejected rejected")
		if letters != 1 {
			t.Errorf("%d dead letters of one message", letters)
		}
		r.want(t, 3)
	})
}

func TestOutputsOfABatchArePublishedInOrderAndOnce(t *testing.T) {
	eachWay(t, func(t *testing.T, handle way) {
		out, r := &outbox{errs: []error{errNet}}, new(runs)
		c := newConsumer(t, oncemsg.Config{Publish: out.publish})
		h := func(ctx context.Context, m oncemsg.Message) error {
			if m.ID == "silent" {
				return nil
			}
			return emitting(r.handle, m.ID+"1", m.ID+"2")(ctx, m)
		}
		wantKinds(t, handle(c, t.Context(), messages("a", "silent", "b"), h), "unpublished ran unpublished")
		wantKinds(t, handle(c, t.Context(), messages("a", "silent", "b", "c"), h), "duplicate duplicate duplicate ran")
		r.want(t, 3)
		sent := ""
		for _, o := range out.sent {
			sent += string(o.Payload) + " "
		}
		if sent != "a1 a2 b1 b2 c1 c2 " {
			t.Errorf("published %s", sent)
		}
	})
}

func TestStoreThatIsDownRunsNothingOfABatch(t *testing.T) {
	eachWay(t, func(t *testing.T, handle way) {
		r := new(runs)
		for _, mode := range []oncemsg.Mode{oncemsg.ClaimRunDone, oncemsg.DropOnlyMayLose} {
			store := struct {
				once.Store
				once.Batcher
			}{}
			down := oncetest.Faulty(new(oncemem.Store), func(oncetest.Verb, int) oncetest.Fault { return oncetest.Fault{Before: errNet} })
			store.Store, store.Batcher = down, down.(once.Batcher)
			c := newConsumer(t, oncemsg.Config{Guard: newGuard(t, once.Config{Store: store}), Mode: mode})
			wantKinds(t, handle(c, t.Context(), messages("a", "b"), r.handle), "unavailable unavailable")
		}
		r.want(t, 0)
	})
}

// Nobody must wait for a store that hangs as often as there are messages.
func TestStoreThatHangsIsNotWaitedForByEachMessage(t *testing.T) {
	eachWay(t, func(t *testing.T, handle way) {
		r := new(runs)
		hang := func(oncetest.Verb, int) oncetest.Fault { return oncetest.Fault{Delay: day} }
		batcher := oncetest.Faulty(new(oncemem.Store), hang)
		for name, store := range map[string]once.Store{
			"batcher": struct {
				once.Store
				once.Batcher
			}{batcher, batcher.(once.Batcher)},
			"none": faulty(hang),
		} {
			for _, mode := range []oncemsg.Mode{oncemsg.ClaimRunDone, oncemsg.DropOnlyMayLose} {
				c := newConsumer(t, oncemsg.Config{Guard: newGuard(t, once.Config{Store: store}), Mode: mode, TooOld: time.Hour})
				ids := make([]string, 100)
				for i := range ids {
					ids[i] = fmt.Sprint(i)
				}
				ms := messages(ids...)
				for _, age := range []time.Duration{0, day} { // the old ones are looked up first
					start := time.Now()
					for i := range ms {
						ms[i].Time = start.Add(-age)
					}
					for _, d := range handle(c, t.Context(), ms, r.handle) {
						wantDecision(t, d, oncemsg.Unavailable, oncemsg.Retry)
					}
					if took := time.Since(start); took > time.Minute {
						t.Errorf("%s, %v, %v old: took %v", name, mode, age, took)
					}
				}
			}
		}
		r.want(t, 0)
	})
}

// What a consumer that stops has not come to is free for the next one at once, and not an attempt.
func TestStoppedBatchIsGivenBack(t *testing.T) {
	for _, mode := range []oncemsg.Mode{oncemsg.ClaimRunDone, oncemsg.DropOnlyMayLose} {
		t.Run(mode.String(), func(t *testing.T) {
			c, r := newConsumer(t, oncemsg.Config{Mode: mode}), new(runs)
			ctx, cancel := context.WithCancel(t.Context())
			decisions := c.HandleEach(ctx, messages("a", "b", "c"), func(context.Context, oncemsg.Message) error {
				cancel()
				return nil
			})
			wantKinds(t, decisions, "ran unavailable unavailable")
			if err := decisions[1].Err; !errors.Is(err, oncemsg.ErrNotBegun) || !errors.Is(err, context.Canceled) {
				t.Errorf("the second was not begun for %v", err)
			}
			decisions = c.HandleEach(t.Context(), messages("a", "b", "c"), r.handle)
			wantKinds(t, decisions, "duplicate ran ran")
			if decisions[1].Attempt != 1 {
				t.Errorf("attempt %d", decisions[1].Attempt)
			}
		})
	}
}

func TestBatchHandlerThatPanicsOrMiscountsHasFailed(t *testing.T) {
	c := newConsumer(t, oncemsg.Config{})
	ms := messages("a", "b")
	for name, h := range map[string]oncemsg.BatchHandler{
		"panic":    func(context.Context, []oncemsg.Item) []error { panic("no") },
		"too few":  func(context.Context, []oncemsg.Item) []error { return make([]error, 1) },
		"too many": func(context.Context, []oncemsg.Item) []error { return make([]error, 3) },
	} {
		t.Run(name, func(t *testing.T) {
			wantKinds(t, c.HandleBatch(t.Context(), ms, h), "failed failed")
		})
	}
	all := func(_ context.Context, items []oncemsg.Item) []error { return nil }
	wantKinds(t, c.HandleBatch(t.Context(), ms, all), "ran ran")
	none := func(context.Context, []oncemsg.Item) []error { t.Error("called for no message"); return nil }
	wantKinds(t, c.HandleBatch(t.Context(), ms, none), "duplicate duplicate")
	wantKinds(t, c.HandleBatch(t.Context(), nil, none), "")
}

func TestGoexitInABatchLeavesNothingInFlight(t *testing.T) {
	eachWay(t, func(t *testing.T, handle way) {
		c, r := newConsumer(t, oncemsg.Config{}), new(runs)
		go handle(c, t.Context(), messages("a", "b", "c"), func(_ context.Context, m oncemsg.Message) error {
			if m.ID == "b" {
				runtime.Goexit()
			}
			return nil
		})
		synctest.Wait()
		for _, d := range handle(c, t.Context(), messages("a", "b", "c"), r.handle) {
			if d.Verb != oncemsg.Ack {
				t.Errorf("decision is %+v", d)
			}
		}
	})
}

func TestEveryLeaseOfABatchIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, r := new(oncemem.Store), new(runs)
		c := newConsumer(t, oncemsg.Config{Guard: newGuard(t, once.Config{Store: store})})
		other := newConsumer(t, oncemsg.Config{Guard: newGuard(t, once.Config{Store: store})})
		l := newLease(30 * time.Second)
		ms := messages("a", "b", "c")
		ms[2].Lease, ms[2].Verbs.Extend = l.every, l.extend
		var ended sync.WaitGroup
		ended.Go(func() { c.HandleEach(t.Context(), ms, sleeping(time.Hour, r.handle)) })
		time.Sleep(150 * time.Minute)
		wantDecision(t, other.Handle(t.Context(), messages("c")[0], r.handle), oncemsg.InFlight, oncemsg.Retry)
		ended.Wait()
		if l.lapses != 0 || l.calls == 0 {
			t.Errorf("lease lapsed %d times of %d", l.lapses, l.calls)
		}
		r.want(t, 3)
	})
}

// A message waits for those before it. If its claim is lost meanwhile, somebody else may be running
// it: it must not be begun.
func TestMessageOfABatchWhoseClaimIsLostIsNotBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(oncemem.Store)
		store := plain{oncetest.Faulty(mem, func(v oncetest.Verb, n int) oncetest.Fault {
			if v == oncetest.Renew && n > 2 { // after one renewal of each
				return oncetest.Fault{Before: errNet}
			}
			return oncetest.Fault{}
		})}
		c := newConsumer(t, oncemsg.Config{Guard: newGuard(t, once.Config{Store: store})})
		other := newConsumer(t, oncemsg.Config{Guard: newGuard(t, once.Config{Store: mem})})
		r := new(runs)
		go func() {
			time.Sleep(time.Minute)
			wantDecision(t, other.Handle(t.Context(), messages("b")[0], sleeping(time.Hour, r.handle)), oncemsg.Ran, oncemsg.Ack)
		}()
		decisions := c.HandleEach(t.Context(), messages("a", "b"), func(_ context.Context, m oncemsg.Message) error {
			if m.ID == "b" {
				t.Error("a message is begun that another owner is running")
			}
			time.Sleep(2 * time.Minute) // deaf
			return nil
		})
		wantDecision(t, decisions[1], oncemsg.Unavailable, oncemsg.Retry)
		if !errors.Is(decisions[1].Err, once.ErrLost) || decisions[1].After <= 0 {
			t.Errorf("decision is %+v", decisions[1])
		}
		time.Sleep(2 * time.Hour)
		r.want(t, 1)
	})
}
