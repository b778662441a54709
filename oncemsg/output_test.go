package oncemsg_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/oncemsg"
)

// What a handler produced must not be lost because it could not be published when the handler had
// already run.
func TestOutputsThatWereNotPublishedAreNotLost(t *testing.T) {
	out, r := &outbox{errs: []error{errNet, errNet}}, new(runs)
	c := newConsumer(t, oncemsg.Config{Publish: out.publish})
	h := emitting(r.handle, "a", "b")
	for range 2 {
		d := c.Handle(t.Context(), message, h)
		wantDecision(t, d, oncemsg.Unpublished, oncemsg.Retry)
		if !errors.Is(d.Err, errNet) {
			t.Errorf("error is %v", d.Err)
		}
	}
	wantDecision(t, c.Handle(t.Context(), message, h), oncemsg.Duplicate, oncemsg.Ack)
	r.want(t, 1)
	if len(out.sent) != 2 || string(out.sent[0].Payload) != "a" || string(out.sent[1].Payload) != "b" {
		t.Errorf("published %v", out.sent)
	}
}

// A broker may refuse an output for good: the message that made it must not come again for ever,
// nor take along others of its batch.
func TestOutputsThatCanNeverBePublishedAreDeadLettered(t *testing.T) {
	var sent []string
	c, r := newConsumer(t, oncemsg.Config{Publish: func(_ context.Context, outputs []oncemsg.Output) error {
		for _, o := range outputs {
			if string(o.Payload) == "huge" {
				return once.Final(errors.New("too large for the broker"))
			}
			sent = append(sent, string(o.Payload))
		}
		return nil
	}}), new(runs)
	for range 2 {
		d := c.Handle(t.Context(), message, emitting(r.handle, "huge"))
		wantDecision(t, d, oncemsg.Unpublished, oncemsg.DeadLetter)
	}
	r.want(t, 1)
	decisions := c.HandleEach(t.Context(), messages("a", "huge", "c"), func(ctx context.Context, m oncemsg.Message) error {
		return emitting(r.handle, m.ID)(ctx, m)
	})
	wantDecision(t, decisions[0], oncemsg.Ran, oncemsg.Ack)
	wantDecision(t, decisions[1], oncemsg.Unpublished, oncemsg.DeadLetter)
	wantDecision(t, decisions[2], oncemsg.Ran, oncemsg.Ack)
	if fmt.Sprint(sent) != "[a a c]" {
		t.Errorf("published %v", sent)
	}
}

func TestOutputsOfADuplicateAreTheSame(t *testing.T) {
	out, r := new(outbox), new(runs)
	c := newConsumer(t, oncemsg.Config{Publish: out.publish})
	for range 2 {
		c.Handle(t.Context(), message, emitting(r.handle, "a", "b"))
	}
	if len(out.sent) != 4 || !reflect.DeepEqual(out.sent[:2], out.sent[2:]) {
		t.Errorf("published %v", out.sent)
	}
}

// An attempt that failed after it had emitted is run again: whatever it gave the same names is
// the same to those who get it, and nothing of the attempt that failed is published.
func TestOutputIDsAreTheSameInEachAttempt(t *testing.T) {
	out, r := new(outbox), &runs{errs: []error{errNet}}
	c := newConsumer(t, oncemsg.Config{Publish: out.publish})
	var ids [2][]string
	h := func(ctx context.Context, m oncemsg.Message) error {
		a, _ := once.FromContext(ctx)
		outputs := []oncemsg.Output{{}, {}, {Name: "invoice"}, {ID: "mine"}}
		if err := oncemsg.Emit(ctx, outputs...); err != nil {
			return err
		}
		if outputs[0].ID != "" {
			t.Error("the caller's outputs were changed")
		}
		for _, name := range []string{"output/0", "output/1", "named/invoice"} {
			ids[a.Number()-1] = append(ids[a.Number()-1], a.DerivedID(name))
		}
		return r.handle(ctx, m)
	}
	wantDecision(t, c.Handle(t.Context(), message, h), oncemsg.Failed, oncemsg.Retry)
	if len(out.sent) != 0 {
		t.Fatalf("a failed attempt has published %v", out.sent)
	}
	wantDecision(t, c.Handle(t.Context(), message, h), oncemsg.Ran, oncemsg.Ack)
	var sent []string
	for _, o := range out.sent {
		sent = append(sent, o.ID)
	}
	if want := append(ids[0], "mine"); !reflect.DeepEqual(ids[0], ids[1]) || fmt.Sprint(sent) != fmt.Sprint(want) {
		t.Errorf("sent %v, want %v", sent, want)
	}
	distinct := map[string]bool{}
	for _, id := range sent {
		distinct[id] = true
	}
	if len(distinct) != 4 {
		t.Errorf("ids are not distinct: %v", sent)
	}
}

func TestEmitFailsWhereNothingWouldBePublished(t *testing.T) {
	if oncemsg.Emit(t.Context(), oncemsg.Output{}) == nil {
		t.Error("outside of a handler")
	}
	var late context.Context
	out := new(outbox)
	c := newConsumer(t, oncemsg.Config{Publish: out.publish})
	c.Handle(t.Context(), message, func(ctx context.Context, _ oncemsg.Message) error { late = ctx; return nil })
	if oncemsg.Emit(late, oncemsg.Output{}) == nil {
		t.Error("after the handler has returned")
	}
	silent := newConsumer(t, oncemsg.Config{})
	r := new(runs)
	d := silent.Handle(t.Context(), message, emitting(r.handle, "a"))
	wantDecision(t, d, oncemsg.Failed, oncemsg.Retry)
	r.want(t, 0)
}

// A consumer that was reconfigured must not acknowledge what it cannot publish.
func TestRecordedOutputsNeedAPublisher(t *testing.T) {
	g, out, r := newGuard(t, once.Config{}), &outbox{errs: []error{errNet}}, new(runs)
	c := newConsumer(t, oncemsg.Config{Guard: g, Publish: out.publish})
	wantDecision(t, c.Handle(t.Context(), message, emitting(r.handle, "a")), oncemsg.Unpublished, oncemsg.Retry)
	silent := newConsumer(t, oncemsg.Config{Guard: g})
	wantDecision(t, silent.Handle(t.Context(), message, r.handle), oncemsg.Unpublished, oncemsg.Retry)
}

// small is a store that keeps outcomes of a few bytes.
type small struct{ once.Store }

func (s small) Complete(ctx context.Context, k once.Key, o once.Owner, out once.Outcome, r time.Duration) error {
	if len(out.Data) > 1000 {
		return once.ErrTooLarge
	}
	return s.Store.Complete(ctx, k, o, out, r)
}

func TestOutputsThatAreTooLargeArePublishedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out, r := &outbox{errs: []error{errNet}}, new(runs)
		c := newConsumer(t, oncemsg.Config{
			Guard: newGuard(t, once.Config{Store: small{new(oncemem.Store)}}), Publish: out.publish,
		})
		h := emitting(r.handle, strings.Repeat("x", 2000))
		wantDecision(t, c.Handle(t.Context(), message, h), oncemsg.Failed, oncemsg.Retry)
		wantDecision(t, c.Handle(t.Context(), message, h), oncemsg.Ran, oncemsg.Ack)
		wantDecision(t, c.Handle(t.Context(), message, h), oncemsg.Duplicate, oncemsg.Ack)
		r.want(t, 2)
		if len(out.sent) != 1 || len(out.sent[0].Payload) != 2000 {
			t.Errorf("published %d messages", len(out.sent))
		}
		cfg := c.Config()
		cfg.RecordFirst = true
		other := message
		other.ID = "8"
		d := newConsumer(t, cfg).Handle(t.Context(), other, h)
		wantDecision(t, d, oncemsg.Rejected, oncemsg.DeadLetter)
		if len(out.sent) != 1 {
			t.Error("published what is not recorded")
		}
	})
}

// Outputs that are too large to be kept, and can never be published, are no reason to run again.
func TestOutputsThatAreTooLargeAndCannotBePublishedAreSetAside(t *testing.T) {
	out, r := &outbox{errs: []error{once.Final(errNet)}}, new(runs)
	c := newConsumer(t, oncemsg.Config{
		Guard: newGuard(t, once.Config{Store: small{new(oncemem.Store)}}), Publish: out.publish,
	})
	h := emitting(r.handle, strings.Repeat("x", 2000))
	wantDecision(t, c.Handle(t.Context(), message, h), oncemsg.Unpublished, oncemsg.DeadLetter)
	wantDecision(t, c.Handle(t.Context(), message, h), oncemsg.Rejected, oncemsg.DeadLetter)
	r.want(t, 1)
}

// What a final failure says is cut rather than not recorded.
func TestFinalFailureOfManyWordsIsFinal(t *testing.T) {
	r := &runs{errs: []error{once.Final(errors.New(strings.Repeat("é", 2000)))}}
	c := newConsumer(t, oncemsg.Config{Guard: newGuard(t, once.Config{Store: small{new(oncemem.Store)}})})
	for range 2 {
		d := c.Handle(t.Context(), message, r.handle)
		wantDecision(t, d, oncemsg.Rejected, oncemsg.DeadLetter)
		if !utf8.ValidString(d.Err.Error()) || !strings.HasPrefix(d.Err.Error(), "ééé") {
			t.Errorf("the failure became %q", d.Err)
		}
	}
	r.want(t, 1)
}
