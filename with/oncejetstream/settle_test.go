package oncejetstream_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/with/oncejetstream"
)

// What fails comes again after its delay; what always fails is set aside with all that it was.
func TestFailures(t *testing.T) {
	t.Parallel()
	// Failures do not wait for the lease.
	l := newLab(t, func(c *jetstream.ConsumerConfig) { c.AckWait = 10 * patience })
	cfg := l.config(func(ctx context.Context, m oncemsg.Message) error {
		l.ran(ctx, m)
		l.mu.Lock()
		defer l.mu.Unlock()
		if m.ID == "poison" || l.runs[m.ID] == 1 {
			return errors.New("failed\r\nbadly")
		}
		return nil
	})
	l.start(cfg)
	for _, id := range []string{"flaky", "poison"} {
		l.send(&nats.Msg{Subject: subject, Data: []byte(id), Header: nats.Header{
			jetstream.MsgIDHeader: {id}, "Tenant": {"acme"}, "Nats-Expected-Stream": {stream},
		}})
	}
	l.settled(2)
	l.wantRuns("flaky", 2)
	l.wantRuns("poison", 3)
	letters := l.kept("DEAD")
	if len(letters) != 1 {
		t.Fatalf("%d dead letters, want 1", len(letters))
	}
	m := letters[0]
	if string(m.Data) != "poison" || m.Header.Get("Tenant") != "acme" ||
		m.Header.Get(oncejetstream.HeaderDeadID) != "poison" ||
		m.Header.Get(oncejetstream.HeaderDeadSubject) != subject ||
		m.Header.Get(oncejetstream.HeaderDeadStream) != stream ||
		!strings.HasPrefix(m.Header.Get(oncejetstream.HeaderDeadPosition), "2@") ||
		!strings.Contains(m.Header.Get(oncejetstream.HeaderDeadReason), "badly") {
		t.Errorf("dead letter %q with %v", m.Data, m.Header)
	}
}

// A dead letter in the stream of its original is not dropped by the server as a copy of that.
func TestDeadLettersAreNotTakenForCopies(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(c *jetstream.ConsumerConfig) { c.FilterSubject = "orders.new" })
	cfg := l.config(func(_ context.Context, m oncemsg.Message) error { return errors.New("failed") })
	cfg.DeadLetterSubject = "orders.dead" // in the same stream
	cfg.IDHeader = "other"
	l.start(cfg)
	l.send(&nats.Msg{Subject: subject, Data: []byte("one"), Header: nats.Header{jetstream.MsgIDHeader: {"a"}}})
	s, err := l.js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is dead-lettered within the window for copies", func() bool {
		info, err := s.Info(t.Context())
		return err == nil && info.State.Msgs == 2
	})
}

// A dead letter that is moved back is the message that it was: what is recorded decides, until it is
// forgotten, by the dead letter itself.
func TestDeadLettersKeepTheirNames(t *testing.T) {
	t.Parallel()
	for _, header := range []nats.Header{nil, {jetstream.MsgIDHeader: {"a"}}} {
		l := newLab(t)
		var repaired atomic.Bool
		var first atomic.Value
		cfg := l.config(func(_ context.Context, m oncemsg.Message) error {
			if repaired.Load() {
				l.ran(t.Context(), m)
				return nil
			}
			first.CompareAndSwap(nil, m.Source+" "+m.ID+" "+m.Position)
			return errors.New("failed")
		})
		l.start(cfg)
		l.send(&nats.Msg{Subject: subject, Data: []byte("pay"), Header: header})
		l.settled(1)
		letters, err := l.js.CreateConsumer(t.Context(), "DEAD", jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy})
		if err != nil {
			t.Fatal(err)
		}
		moveBack := func() (m oncemsg.Message, move func()) {
			msg, err := letters.Next(jetstream.FetchMaxWait(patience))
			if err != nil {
				t.Fatal(err)
			}
			if m, err = oncejetstream.Message(msg); err != nil {
				t.Fatal(err)
			}
			return m, func() { l.send(&nats.Msg{Subject: subject, Data: msg.Data(), Header: msg.Headers()}) }
		}
		_, move := moveBack()
		repaired.Store(true)
		move()
		l.settled(2)
		l.wantRuns("pay", 0)
		m, move := moveBack() // it was set aside again
		if got := m.Source + " " + m.ID + " " + m.Position; got != first.Load() {
			t.Errorf("the dead letter is %q, the message was %q", got, first.Load())
		}
		if err := cfg.Consumer.Forget(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		move()
		l.settled(3)
		l.wantRuns("pay", 1)
	}
}

// A dead letter that no stream takes is not dropped: its message comes again until one does.
func TestDeadLetterThatFailsIsNotLost(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.start(l.byMessageID(func(context.Context, oncemsg.Message) error { return errors.New("failed") }))
	l.waiting()
	if err := l.js.DeleteStream(t.Context(), "DEAD"); err != nil {
		t.Fatal(err)
	}
	l.publish("a")
	eventually(t, "dead-lettering fails", func() bool { return strings.Contains(l.log.text(), "dead-letter") })
	if _, err := l.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "DEAD", Subjects: []string{"dead.>"}}); err != nil {
		t.Fatal(err)
	}
	l.settled(1)
	if n := len(l.kept("DEAD")); n != 1 {
		t.Errorf("%d dead letters, want 1", n)
	}
}

// Outputs are published before the message is acknowledged, and again, with the same id, for a copy.
func TestOutputsAreNotLost(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	cfg := l.byMessageID(func(ctx context.Context, m oncemsg.Message) error {
		l.ran(ctx, m)
		return oncemsg.Emit(ctx, oncemsg.Output{
			To: "out.receipts", Payload: []byte("receipt"), Headers: map[string]string{"kind": "pdf"},
		})
	})
	publish, calls := oncejetstream.Publish(l.js), 0
	cfg.Consumer = l.consumer(func(c *oncemsg.Config) {
		c.Publish = func(ctx context.Context, out []oncemsg.Output) error {
			if calls++; calls == 1 {
				return errors.New("not now")
			}
			return publish(ctx, out)
		}
	})
	cfg.Concurrency = 1
	l.start(cfg)
	l.publish("a")
	l.settled(1)
	s, err := l.js.Stream(t.Context(), "OUT")
	if err != nil {
		t.Fatal(err)
	}
	out := l.kept("OUT")
	if len(out) != 1 || string(out[0].Data) != "receipt" || out[0].Header["kind"][0] != "pdf" {
		t.Fatalf("outputs %v", out)
	}
	// Within the window the server drops the copy; without it there are two of the same id.
	l.publish("a")
	l.settled(2)
	if err := s.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	oc := s.CachedInfo().Config
	oc.Duplicates = 100 * time.Millisecond
	if _, err := l.js.UpdateStream(t.Context(), oc); err != nil {
		t.Fatal(err)
	}
	last := uint64(2)
	eventually(t, "the output is published again", func() bool {
		l.publish("a")
		last++
		l.settled(last)
		info, err := s.Info(t.Context())
		return err == nil && info.State.Msgs > 0
	})
	again, err := s.GetLastMsgForSubject(t.Context(), "out.receipts")
	if err != nil {
		t.Fatal(err)
	}
	if id := out[0].Header.Get(jetstream.MsgIDHeader); id == "" || again.Header.Get(jetstream.MsgIDHeader) != id {
		t.Errorf("the copy's output is %v, the first was %v", again.Header, out[0].Header)
	}
	l.wantRuns("a", 1)
	if uint64(calls) != last+1 {
		t.Errorf("published %d times, want %d", calls, last+1)
	}
}

// An output that can never be published dead-letters its message; one to a subject that nobody keeps yet
// does not.
func TestOutputsThatCannotBePublished(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	cfg := l.byMessageID(func(ctx context.Context, m oncemsg.Message) error {
		l.ran(ctx, m)
		o := oncemsg.Output{To: "nowhere"}
		switch m.ID {
		case "large":
			o = oncemsg.Output{To: "out.x", Payload: make([]byte, 2<<20)}
		case "wordy":
			o = oncemsg.Output{To: "out.x", Headers: map[string]string{"words": strings.Repeat("x", 70<<10)}}
		case "astray":
			o = oncemsg.Output{To: "out .x"}
		}
		return oncemsg.Emit(ctx, o)
	})
	cfg.Consumer = l.consumer(func(c *oncemsg.Config) { c.Publish = oncejetstream.Publish(l.js) })
	l.start(cfg)
	never := []string{"large", "wordy", "astray"}
	for _, id := range never {
		l.publish(id)
	}
	l.publish("early")
	eventually(t, "those that never can be are dead-lettered", func() bool { return len(l.kept("DEAD")) == len(never) })
	_, err := l.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "LATE", Subjects: []string{"nowhere"}})
	if err != nil {
		t.Fatal(err)
	}
	l.settled(uint64(len(never)) + 1)
	for _, id := range append(never, "early") {
		l.wantRuns(id, 1)
	}
	for _, letter := range l.kept("DEAD") {
		if string(letter.Data) == "early" {
			t.Error("what was early is dead-lettered")
		}
	}
	if n := len(l.kept("LATE")); n != 1 {
		t.Errorf("the output that was early was published %d times", n)
	}
}
