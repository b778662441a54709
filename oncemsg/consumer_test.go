package oncemsg_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncedisk"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/oncetest"
)

func TestDoneMessageIsNotRunAgain(t *testing.T) {
	c, r := newConsumer(t, oncemsg.Config{}), new(runs)
	d := c.Handle(t.Context(), message, r.handle)
	wantDecision(t, d, oncemsg.Ran, oncemsg.Ack)
	if k, ok := c.Key(message); !ok || d.Key != k || k.Scope != "test" || d.Weak || d.Attempt != 1 {
		t.Errorf("decision is %+v, key %v", d, k)
	}
	for range 3 {
		wantDecision(t, c.Handle(t.Context(), message, r.handle), oncemsg.Duplicate, oncemsg.Ack)
	}
	r.want(t, 1)
}

func TestSubscribersAreApart(t *testing.T) {
	g, r := newGuard(t, once.Config{}), new(runs)
	for _, name := range []string{"billing", "shipping"} {
		c := newConsumer(t, oncemsg.Config{Guard: g, Subscriber: name})
		wantDecision(t, c.Handle(t.Context(), message, r.handle), oncemsg.Ran, oncemsg.Ack)
	}
	r.want(t, 2)
}

// A filter that marks first would drop the second delivery, and with it the message.
func TestFailedMessageIsRunAgain(t *testing.T) {
	for name, failure := range map[string]error{
		"unknown":   errNet,
		"no effect": once.NoEffect(errNet),
	} {
		t.Run(name, func(t *testing.T) {
			c, r := newConsumer(t, oncemsg.Config{}), &runs{errs: []error{failure, failure}}
			for range 2 {
				d := c.Handle(t.Context(), message, r.handle)
				wantDecision(t, d, oncemsg.Failed, oncemsg.Retry)
				if !errors.Is(d.Err, errNet) || d.AsError() == nil || !errors.Is(d.AsError(), errNet) {
					t.Errorf("error is %v, as an error %v", d.Err, d.AsError())
				}
				if got, ok := oncemsg.DecisionOf(fmt.Errorf("billing: %w", d.AsError())); !ok || got != d {
					t.Errorf("decision is %v, %t, want %v", got, ok, d)
				}
				if got, ok := oncemsg.DecisionOf(errors.Join(errNet, nil)); ok {
					t.Errorf("another error has decision %v", got)
				}
			}
			d := c.Handle(t.Context(), message, r.handle)
			wantDecision(t, d, oncemsg.Ran, oncemsg.Ack)
			if want := map[bool]int{true: 1, false: 3}[once.IsNoEffect(failure)]; d.Attempt != want {
				t.Errorf("attempt %d, want %d", d.Attempt, want)
			}
			wantDecision(t, c.Handle(t.Context(), message, r.handle), oncemsg.Duplicate, oncemsg.Ack)
		})
	}
}

func TestPoisonedMessageIsDeadLettered(t *testing.T) {
	for _, policy := range []once.Policy{once.Rerun, once.Hold} {
		t.Run(policy.String(), func(t *testing.T) {
			cfg := once.Config{InDoubt: policy}
			attempts := 1
			if policy == once.Rerun {
				attempts, cfg.MaxAttempts = 3, 3
			}
			c := newConsumer(t, oncemsg.Config{Guard: newGuard(t, cfg)})
			r := &runs{errs: []error{errNet, errNet, errNet}}
			for range attempts - 1 {
				wantDecision(t, c.Handle(t.Context(), message, r.handle), oncemsg.Failed, oncemsg.Retry)
			}
			for range 3 { // the last failure, and copies of the message after it
				d := c.Handle(t.Context(), message, r.handle)
				wantDecision(t, d, oncemsg.Poisoned, oncemsg.DeadLetter)
				if d.Attempt != attempts {
					t.Errorf("attempt %d, want %d", d.Attempt, attempts)
				}
			}
			r.want(t, attempts)
		})
	}
}

func TestRejectedMessageStaysSo(t *testing.T) {
	c, r := newConsumer(t, oncemsg.Config{}), &runs{errs: []error{once.Final(errors.New("no such order"))}}
	for range 3 {
		d := c.Handle(t.Context(), message, r.handle)
		wantDecision(t, d, oncemsg.Rejected, oncemsg.DeadLetter)
		if d.Err.Error() != "no such order" {
			t.Errorf("error is %v", d.Err)
		}
	}
	r.want(t, 1)
}

func TestDeadLetterHandlerAnswersForTheMessage(t *testing.T) {
	letters := 0
	c := newConsumer(t, oncemsg.Config{DeadLetter: func(_ context.Context, m oncemsg.Message, d oncemsg.Decision) error {
		if letters++; letters == 1 {
			return errNet
		}
		if m.ID != message.ID || d.Kind != oncemsg.Rejected {
			t.Errorf("dead letter %v is %v", m.ID, d.Kind)
		}
		return nil
	}})
	r := &runs{errs: []error{once.Final(errNet)}}
	d := c.Handle(t.Context(), message, r.handle)
	wantDecision(t, d, oncemsg.Rejected, oncemsg.Retry) // not lost when there is nowhere to put it
	d = c.Handle(t.Context(), message, r.handle)
	wantDecision(t, d, oncemsg.Rejected, oncemsg.Ack)
	if !d.DeadLettered || letters != 2 {
		t.Errorf("dead-lettered: %t, letters: %d", d.DeadLettered, letters)
	}
}

func TestSameIDForOtherContentsIsNoDuplicate(t *testing.T) {
	c, r := newConsumer(t, oncemsg.Config{Fingerprint: oncemsg.ContentFingerprint}), new(runs)
	wantDecision(t, c.Handle(t.Context(), message, r.handle), oncemsg.Ran, oncemsg.Ack)
	other := message
	other.Payload = []byte("8 euros")
	wantDecision(t, c.Handle(t.Context(), other, r.handle), oncemsg.Mismatch, oncemsg.DeadLetter)
	wantDecision(t, c.Handle(t.Context(), message, r.handle), oncemsg.Duplicate, oncemsg.Ack)
	r.want(t, 1)
}

func TestMessageWithoutIDIsNotRun(t *testing.T) {
	c, r := newConsumer(t, oncemsg.Config{}), new(runs)
	d := c.Handle(t.Context(), oncemsg.Message{Payload: []byte("x")}, r.handle)
	wantDecision(t, d, oncemsg.Unnamed, oncemsg.DeadLetter)
	r.want(t, 0)
}

func TestOutcomeOfAnotherDoorIsNotTakenForOurs(t *testing.T) {
	for _, out := range []once.Outcome{{Type: "application/json"}, {Failed: true, Type: "x"}, {Data: []byte("x")}} {
		c, r := newConsumer(t, oncemsg.Config{}), new(runs)
		k, _ := c.Key(message)
		a, err := c.Config().Guard.Begin(t.Context(), k, once.Fingerprint{})
		if err != nil {
			t.Fatal(err)
		}
		a.Complete(out)
		wantDecision(t, c.Handle(t.Context(), message, r.handle), oncemsg.Mismatch, oncemsg.DeadLetter)
		r.want(t, 0)
	}
}

func TestStoreThatIsDownRunsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, down := range []error{errNet, once.ErrFull, once.ErrClosed} {
			store := faulty(func(v oncetest.Verb, _ int) oncetest.Fault { return oncetest.Fault{Before: down} })
			c, r := newConsumer(t, oncemsg.Config{Guard: newGuard(t, once.Config{Store: store})}), new(runs)
			d := c.Handle(t.Context(), message, r.handle)
			wantDecision(t, d, oncemsg.Unavailable, oncemsg.Retry)
			if !errors.Is(d.Err, down) || d.After <= 0 {
				t.Errorf("error is %v, after %v", d.Err, d.After)
			}
			r.want(t, 0)
		}
	})
}

func TestDamagedRecordIsDeadLettered(t *testing.T) {
	store := faulty(func(oncetest.Verb, int) oncetest.Fault { return oncetest.Fault{Before: once.ErrUnreadable} })
	c, r := newConsumer(t, oncemsg.Config{Guard: newGuard(t, once.Config{Store: store})}), new(runs)
	wantDecision(t, c.Handle(t.Context(), message, r.handle), oncemsg.Poisoned, oncemsg.DeadLetter)
	r.want(t, 0)
}

// The effect took place, but nobody knows if that is recorded: the message must not be acknowledged.
func TestUnrecordedOutcomeIsNotAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := true
		store := faulty(func(v oncetest.Verb, _ int) oncetest.Fault {
			if v == oncetest.Complete && down {
				return oncetest.Fault{Before: errNet}
			}
			return oncetest.Fault{}
		})
		c, r := newConsumer(t, oncemsg.Config{Guard: newGuard(t, once.Config{Store: store})}), new(runs)
		wantDecision(t, c.Handle(t.Context(), message, r.handle), oncemsg.Unacknowledged, oncemsg.Retry)
		down = false
		time.Sleep(time.Minute)
		d := c.Handle(t.Context(), message, r.handle)
		wantDecision(t, d, oncemsg.Ran, oncemsg.Ack)
		if d.Attempt != 2 {
			t.Errorf("attempt %d, want 2: the handler must be able to know", d.Attempt)
		}
	})
}

func TestCopyOfARunningMessageIsNotAcknowledged(t *testing.T) {
	for name, second := range map[string]func(once.Store) *once.Guard{
		"same process":  nil,
		"other process": func(s once.Store) *once.Guard { return newGuard(t, once.Config{Store: s}) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, r := new(oncemem.Store), &runs{errs: []error{errNet}}
				g := newGuard(t, once.Config{Store: store})
				other := g
				if second != nil {
					other = second(store)
				}
				first := newConsumer(t, oncemsg.Config{Guard: g})
				copies := newConsumer(t, oncemsg.Config{Guard: other})
				go first.Handle(t.Context(), message, sleeping(time.Minute, r.handle)) // and fails
				for range 50 {
					time.Sleep(time.Second)
					d := copies.Handle(t.Context(), message, r.handle)
					wantDecision(t, d, oncemsg.InFlight, oncemsg.Retry)
					if d.After > once.DefaultLease {
						t.Errorf("to be tried again after %v, longer than the lease", d.After)
					}
				}
				time.Sleep(time.Minute)
				r.want(t, 1)
				wantDecision(t, copies.Handle(t.Context(), message, r.handle), oncemsg.Ran, oncemsg.Ack)
			})
		})
	}
}

func TestMessageOfACrashedConsumerIsRunWhenItsLeaseIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, r := new(oncemem.Store), new(runs)
		c := newConsumer(t, oncemsg.Config{Guard: newGuard(t, once.Config{Store: store})})
		k, _ := c.Key(message)
		crashed := once.Claim{Key: k, Owner: once.NewOwner(), Lease: once.DefaultLease}
		if _, err := store.Claim(t.Context(), crashed); err != nil {
			t.Fatal(err)
		}
		wantDecision(t, c.Handle(t.Context(), message, r.handle), oncemsg.InFlight, oncemsg.Retry)
		time.Sleep(once.DefaultLease)
		d := c.Handle(t.Context(), message, r.handle)
		wantDecision(t, d, oncemsg.Ran, oncemsg.Ack)
		if d.Attempt != 2 {
			t.Errorf("attempt %d, want 2", d.Attempt)
		}
	})
}

// An owner that was cut off from the store stops in time, and does not answer for the message.
func TestLostLeaseStopsTheHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(oncemem.Store)
		cut := plain{oncetest.Faulty(memory, func(v oncetest.Verb, _ int) oncetest.Fault {
			if v == oncetest.Claim {
				return oncetest.Fault{}
			}
			return oncetest.Fault{Before: errNet}
		})}
		lonely := newConsumer(t, oncemsg.Config{Guard: newGuard(t, once.Config{Store: cut})})
		other := newConsumer(t, oncemsg.Config{Guard: newGuard(t, once.Config{Store: memory})})
		r := new(runs)
		d := lonely.Handle(t.Context(), message, sleeping(time.Hour, r.handle))
		wantDecision(t, d, oncemsg.Failed, oncemsg.Retry)
		if !errors.Is(d.Err, once.ErrLost) {
			t.Errorf("error is %v, want ErrLost", d.Err)
		}
		r.want(t, 0)
		time.Sleep(once.DefaultLease)
		wantDecision(t, other.Handle(t.Context(), message, r.handle), oncemsg.Ran, oncemsg.Ack)
	})
}

// A handler that does not stop when its lease is lost ends after another one has taken over: it
// must not acknowledge what the other may yet fail at.
func TestLateOwnerDoesNotAcknowledge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(oncemem.Store)
		cut := plain{oncetest.Faulty(memory, func(v oncetest.Verb, _ int) oncetest.Fault {
			if v == oncetest.Renew {
				return oncetest.Fault{Before: errNet}
			}
			return oncetest.Fault{}
		})}
		late := newConsumer(t, oncemsg.Config{Guard: newGuard(t, once.Config{Store: cut})})
		other := newConsumer(t, oncemsg.Config{Guard: newGuard(t, once.Config{Store: memory})})
		r, ended := new(runs), make(chan oncemsg.Decision, 1)
		go func() {
			ended <- late.Handle(t.Context(), message, func(context.Context, oncemsg.Message) error {
				time.Sleep(time.Minute) // deaf
				return nil
			})
		}()
		time.Sleep(30 * time.Second)
		go other.Handle(t.Context(), message, sleeping(time.Hour, r.handle))
		wantDecision(t, <-ended, oncemsg.Unacknowledged, oncemsg.Retry)
		time.Sleep(2 * time.Hour)
		wantDecision(t, late.Handle(t.Context(), message, r.handle), oncemsg.Duplicate, oncemsg.Ack)
		r.want(t, 1)
	})
}

func TestDoneMessageIsRememberedAcrossARestart(t *testing.T) {
	dir, r, out := t.TempDir(), new(runs), new(outbox)
	for i, want := range []oncemsg.Kind{oncemsg.Ran, oncemsg.Duplicate} {
		store, err := oncedisk.Open(oncedisk.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		c := newConsumer(t, oncemsg.Config{Guard: newGuard(t, once.Config{Store: store, InDoubt: once.Hold}), Publish: out.publish})
		wantDecision(t, c.Handle(t.Context(), message, emitting(r.handle, "a", "b")), want, oncemsg.Ack)
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		if len(out.sent) != 2*(i+1) {
			t.Fatalf("%d messages were published", len(out.sent))
		}
	}
	r.want(t, 1)
	for i := range 2 {
		if a, b := fmt.Sprint(out.sent[i]), fmt.Sprint(out.sent[i+2]); a != b {
			t.Errorf("published %s, and after the restart %s", a, b)
		}
	}
}

func TestConsumerThatStopsTellsItsHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, r := newConsumer(t, oncemsg.Config{}), new(runs)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		d := c.Handle(ctx, message, sleeping(time.Hour, r.handle))
		wantDecision(t, d, oncemsg.Failed, oncemsg.Retry)
		wantDecision(t, c.Handle(t.Context(), message, r.handle), oncemsg.Ran, oncemsg.Ack)
	})
}

func TestObserverIsToldEveryDecision(t *testing.T) {
	var kinds []oncemsg.Kind
	c := newConsumer(t, oncemsg.Config{Observe: func(_ context.Context, m oncemsg.Message, d oncemsg.Decision) {
		if m.ID != message.ID || d.Key == (once.Key{}) {
			t.Errorf("told of %q, %v", m.ID, d.Key)
		}
		kinds = append(kinds, d.Kind)
	}})
	r := &runs{errs: []error{errNet}}
	for range 3 {
		c.Handle(t.Context(), message, r.handle)
	}
	if got := fmt.Sprint(kinds); got != "[failed ran duplicate]" {
		t.Errorf("observed %s", got)
	}
}

// Who watches the guard is told why an attempt has left its message in doubt.
func TestGuardIsToldWhyAHandlerFailed(t *testing.T) {
	var cause error
	g := newGuard(t, once.Config{Observe: func(_ context.Context, e once.Event) {
		if e.Kind == once.Abandoned {
			cause = e.Err
		}
	}})
	c, r := newConsumer(t, oncemsg.Config{Guard: g}), &runs{errs: []error{errNet}}
	c.Handle(t.Context(), message, r.handle)
	if !errors.Is(cause, errNet) {
		t.Errorf("cause is %v", cause)
	}
}

// rollsBack is a store whose first completions undo the claim, as a database does that gives
// preference to another transaction.
type rollsBack struct {
	once.Store
	times int
}

func (s *rollsBack) Complete(ctx context.Context, k once.Key, o once.Owner, out once.Outcome, r time.Duration) error {
	if s.times == 0 {
		return s.Store.Complete(ctx, k, o, out, r)
	}
	s.times--
	if err := s.Release(ctx, k, o); err != nil {
		return err
	}
	return once.ErrRolledBack
}

func TestRolledBackMessageIsRunAgainAtOnce(t *testing.T) {
	store, r := &rollsBack{new(oncemem.Store), 3}, new(runs)
	c := newConsumer(t, oncemsg.Config{Guard: newGuard(t, once.Config{Store: store, MaxAttempts: 1})})
	wantDecision(t, c.Handle(t.Context(), message, r.handle), oncemsg.Ran, oncemsg.Ack)
	r.want(t, 4)
	store.times = 1 << 20
	other := message
	other.ID = "8"
	d := c.Handle(t.Context(), other, r.handle)
	wantDecision(t, d, oncemsg.Failed, oncemsg.Retry) // it is not the message's fault
	r.want(t, 4+11)
}
