package oncewatermill_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncedisk"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/with/oncewatermill"
)

// The same failures under this middleware and under Watermill's own.
var scenarios = []struct {
	name     string
	failures int // of handlers
	refusals int // of the publisher
	handlers []string
	send     [][2]string // UUID and payload
	want     outcome     // with this middleware
	loses    outcome     // with Watermill's Deduplicator
}{
	{
		name: "handler fails once", failures: 1, handlers: []string{"a"}, send: [][2]string{{"1", "x"}},
		want:  outcome{saw: "1 1", sent: "re: x", uuids: 1},
		loses: outcome{saw: "1"}, // its second delivery was taken for a duplicate, and dropped
	},
	{
		name: "publishing fails once", refusals: 1, handlers: []string{"a"}, send: [][2]string{{"1", "x"}},
		want:  outcome{saw: "1", sent: "re: x", uuids: 1},
		loses: outcome{saw: "1"}, // what was produced is gone
	},
	{
		name: "two handlers", handlers: []string{"a", "b"}, send: [][2]string{{"1", "x"}},
		want:  outcome{saw: "1|1", sent: "re: x, re: x", uuids: 2},
		loses: outcome{saw: "1|", sent: "re: x", uuids: 1}, // whoever came second was not called
	},
	{
		name: "equal contents", handlers: []string{"a"}, send: [][2]string{{"1", "x"}, {"2", "x"}},
		want:  outcome{saw: "1 2", sent: "re: x, re: x", uuids: 2},
		loses: outcome{saw: "1", sent: "re: x", uuids: 1}, // two messages were taken for one
	},
	{
		name: "sent twice", handlers: []string{"a"}, send: [][2]string{{"1", "x"}, {"1", "x"}},
		want:  outcome{saw: "1", sent: "re: x, re: x", uuids: 1}, // the same message, for its consumers to see
		loses: outcome{saw: "1", sent: "re: x", uuids: 1},
	},
}

type outcome struct {
	saw   string // UUIDs, by handler
	sent  string // payloads
	uuids int    // distinct ones
}

func play(t *testing.T, i int, m message.HandlerMiddleware) outcome {
	sc := scenarios[i]
	s := newStage(t, m)
	s.failures, s.refusals = sc.failures, sc.refusals
	for _, name := range sc.handlers {
		s.router.AddHandler(name, "in", s.broker, "out", s, s.handler(name))
	}
	var ms []*message.Message
	for _, m := range sc.send {
		ms = append(ms, msg(m[0], m[1]))
	}
	s.run(t, ms...)
	var saw []string
	for _, name := range sc.handlers {
		saw = append(saw, s.saw(name))
	}
	out := outcome{saw: strings.Join(saw, "|")}
	out.sent, out.uuids = s.sent()
	return out
}

func TestNothingIsLostAndNothingIsHandledTwice(t *testing.T) {
	for i, sc := range scenarios {
		t.Run(sc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if got := play(t, i, newOnce(t, oncewatermill.Config{}).Middleware); !sameOutcome(got, sc.want) {
					t.Errorf("outcome is %+v, want %+v", got, sc.want)
				}
			})
		})
	}
}

// Shows what this package is for. Should it fail with a later release of Watermill, so much the
// better.
func TestWatermillsDeduplicatorLoses(t *testing.T) {
	for i, sc := range scenarios {
		t.Run(sc.name, func(t *testing.T) {
			// Outside of the bubble: its goroutine never ends.
			repository, err := middleware.NewMapExpiringKeyRepository(time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			dedup := &middleware.Deduplicator{
				KeyFactory: middleware.NewMessageHasherAdler32(math.MaxInt64), // its default
				Repository: repository, Timeout: time.Minute,
			}
			synctest.Test(t, func(t *testing.T) {
				if got := play(t, i, dedup.Middleware); !sameOutcome(got, sc.loses) {
					t.Errorf("outcome is %+v, want %+v", got, sc.loses)
				}
			})
		})
	}
}

// sameOutcome lets messages and handlers come in any order.
func sameOutcome(a, b outcome) bool {
	sorted := func(o outcome) outcome {
		if saw := strings.Split(o.saw, "|"); len(saw) == 2 && saw[0] < saw[1] {
			o.saw = saw[1] + "|" + saw[0]
		}
		if o.saw == "2 1" {
			o.saw = "1 2"
		}
		if o.saw == "2" {
			o.saw = "1"
		}
		return o
	}
	return sorted(a) == sorted(b)
}

func TestProducedMessagesAreKeptAcrossARestart(t *testing.T) {
	dir := t.TempDir()
	var uuids []string
	for range 2 {
		store, err := oncedisk.Open(oncedisk.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		o := newOnce(t, oncewatermill.Config{
			Guard: newGuard(t, once.Config{Store: store}), Consumer: oncemsg.Config{Subscriber: "s"},
		})
		calls := 0
		produced, err := o.Middleware(func(m *message.Message) ([]*message.Message, error) {
			calls++
			out := msg(watermill.NewUUID(), "re: x")
			out.Metadata.Set("of", m.UUID)
			return []*message.Message{out, msg("", "second")}, nil
		})(msg("1", "x"))
		if err != nil || len(produced) != 2 || produced[0].Metadata.Get("of") != "1" || string(produced[1].Payload) != "second" {
			t.Fatalf("produced %v: %v", produced, err)
		}
		for _, m := range produced {
			uuids = append(uuids, m.UUID)
		}
		if calls != 1-len(uuids)/4 {
			t.Errorf("handler was called %d times", calls)
		}
		store.Close()
	}
	if uuids[0] == "" || uuids[1] == "" || uuids[0] != uuids[2] || uuids[1] != uuids[3] {
		t.Errorf("UUIDs are %v", uuids)
	}
}

// A copy must neither be acknowledged nor make the broker deliver in a loop.
func TestCopyOfARunningMessageWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOnce(t, oncewatermill.Config{Consumer: oncemsg.Config{Subscriber: "s"}})
		h := o.Middleware(func(m *message.Message) ([]*message.Message, error) {
			time.Sleep(time.Minute)
			return nil, errNet
		})
		go h(msg("1", "x"))
		synctest.Wait()
		start := time.Now()
		_, err := h(msg("1", "x"))
		if d := decision(err); d.Kind != oncemsg.InFlight || time.Since(start) != d.After || d.After <= 0 {
			t.Errorf("refused after %v with %v", time.Since(start), err)
		}
		m := msg("1", "x")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		m.SetContext(ctx)
		start = time.Now()
		if _, err := h(m); decision(err).Kind != oncemsg.InFlight || time.Since(start) != time.Second {
			t.Errorf("a subscriber that closes waited for %v: %v", time.Since(start), err)
		}
		time.Sleep(time.Hour)
	})
}

// The handler's context carries what that of the router does, and the attempt; and it is the
// message's own again after.
func TestHandlerRunsUnderItsAttempt(t *testing.T) {
	type name struct{}
	o := newOnce(t, oncewatermill.Config{Consumer: oncemsg.Config{Subscriber: "s"}})
	m := msg("1", "x")
	m.SetContext(context.WithValue(t.Context(), name{}, "value"))
	before := m.Context()
	_, err := o.Middleware(func(m *message.Message) ([]*message.Message, error) {
		if a, ok := once.FromContext(m.Context()); !ok || a.Key().ID != "1" || m.Context().Value(name{}) != "value" {
			t.Error("the context carries no attempt, or not what it did")
		}
		return nil, oncemsg.Emit(m.Context(), oncemsg.Output{Payload: []byte("emitted")})
	})(m)
	if err != nil || m.Context() != before {
		t.Errorf("error %v; context is another one: %t", err, m.Context() != before)
	}
}

func TestPoisonGoesToThePoisonQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOnce(t, oncewatermill.Config{Guard: newGuard(t, once.Config{MaxAttempts: 3})})
		s := newStage(t)
		poison, err := middleware.PoisonQueueWithFilter(s, "poison", oncewatermill.IsPoison)
		if err != nil {
			t.Fatal(err)
		}
		s.router.AddMiddleware(poison, o.Middleware)
		good := s.handler("a")
		bad := 0
		s.router.AddHandler("a", "in", s.broker, "out", s, func(m *message.Message) ([]*message.Message, error) {
			if m.UUID == "bad" {
				bad++
				return nil, errNet
			}
			return good(m)
		})
		s.run(t, msg("bad", "x"), msg("good", "y"))
		topics := map[string]string{}
		for _, m := range s.published {
			topics[string(m.Payload)] = m.Metadata.Get("topic") + " " + m.Metadata.Get(middleware.ReasonForPoisonedKey)
		}
		if saw := s.saw("a"); saw != "good" || bad != 3 {
			t.Errorf("handled %s, and the bad one %d times", saw, bad)
		}
		poisoned := topics["x"]
		if len(topics) != 2 || !strings.HasPrefix(topics["re: y"], "out ") ||
			!strings.HasPrefix(poisoned, "poison oncemsg: poisoned") || !strings.HasSuffix(poisoned, "connection reset") {
			t.Errorf("published %v", topics)
		}
	})
}

func TestPanicIsAFailureOfTheMessage(t *testing.T) {
	o := newOnce(t, oncewatermill.Config{Consumer: oncemsg.Config{Subscriber: "s"}})
	_, err := o.Middleware(func(*message.Message) ([]*message.Message, error) { panic(errNet) })(msg("1", "x"))
	if !errors.Is(err, errNet) || oncewatermill.IsPoison(err) {
		t.Errorf("error is %v", err)
	}
}

func TestReplayByMetadata(t *testing.T) {
	o := newOnce(t, oncewatermill.Config{Consumer: oncemsg.Config{Subscriber: "s"}, ReplayMetadata: "replay"})
	calls := 0
	h := o.Middleware(func(*message.Message) ([]*message.Message, error) { calls++; return nil, nil })
	for _, replay := range []string{"", "", "ticket 1", "ticket 1"} {
		m := msg("1", "x")
		m.Metadata.Set("replay", replay)
		if _, err := h(m); err != nil {
			t.Fatal(err)
		}
	}
	if calls != 2 {
		t.Errorf("handled %d times, want 2", calls)
	}
}

func TestMessageWithoutUUIDIsRefused(t *testing.T) {
	o := newOnce(t, oncewatermill.Config{Consumer: oncemsg.Config{Subscriber: "s"}})
	h := o.Middleware(func(*message.Message) ([]*message.Message, error) { t.Error("handled"); return nil, nil })
	if _, err := h(msg("", "x")); decision(err).Kind != oncemsg.Unnamed || !oncewatermill.IsPoison(err) {
		t.Errorf("error is %v", err)
	}
	event := msg("", "x")
	event.Metadata.Set("ce_id", "7")
	event.Metadata.Set("ce_source", "/orders")
	ran := false
	_, err := o.Middleware(func(*message.Message) ([]*message.Message, error) { ran = true; return nil, nil })(event)
	if err != nil || !ran {
		t.Errorf("a CloudEvent was not handled: %v", err)
	}
}

// small is a store that keeps outcomes of a few bytes.
type small struct{ once.Store }

func (s small) Complete(ctx context.Context, k once.Key, o once.Owner, out once.Outcome, r time.Duration) error {
	if len(out.Data) > 1000 {
		return once.ErrTooLarge
	}
	return s.Store.Complete(ctx, k, o, out, r)
}

// The router publishes after the middleware: what is not recorded would be lost if it fails.
func TestProducedMessagesThatCannotBeKeptArePoison(t *testing.T) {
	o := newOnce(t, oncewatermill.Config{
		Guard: newGuard(t, once.Config{Store: small{new(oncemem.Store)}}), Consumer: oncemsg.Config{Subscriber: "s"},
	})
	produced, err := o.Middleware(func(*message.Message) ([]*message.Message, error) {
		return []*message.Message{msg("2", strings.Repeat("x", 2000))}, nil
	})(msg("1", "x"))
	if !errors.Is(err, once.ErrTooLarge) || !oncewatermill.IsPoison(err) || len(produced) != 0 {
		t.Errorf("produced %d messages: %v", len(produced), err)
	}
}

func TestNewReportsEveryProblemAtOnce(t *testing.T) {
	g := newGuard(t, once.Config{})
	_, err := oncewatermill.New(oncewatermill.Config{Consumer: oncemsg.Config{
		Guard: g, Window: -1, TooOld: 1, Publish: func(context.Context, []oncemsg.Output) error { return nil },
	}})
	for _, want := range []string{"Consumer.Guard is set", "Guard is missing", "Consumer.Publish is set", "Window", "TimeMetadata"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error does not say %q: %v", want, err)
		}
	}
	o := newOnce(t, oncewatermill.Config{})
	_, err = o.Middleware(func(*message.Message) ([]*message.Message, error) { return nil, nil })(msg("1", "x"))
	if err == nil || !strings.Contains(err.Error(), "in a router") {
		t.Errorf("a handler without a name: %v", err)
	}
}

// In the mode that may lose, what the first run produces is published, and nothing is kept.
func TestDropOnlyPublishesWhatIsProduced(t *testing.T) {
	runs := 0
	o := newOnce(t, oncewatermill.Config{Consumer: oncemsg.Config{Subscriber: "s", Mode: oncemsg.DropOnlyMayLose}})
	h := o.Middleware(func(*message.Message) ([]*message.Message, error) {
		runs++
		return []*message.Message{msg("2", "x")}, nil
	})
	for _, want := range []int{1, 0} {
		produced, err := h(msg("1", "x"))
		if err != nil || len(produced) != want || runs != 1 {
			t.Errorf("produced %d messages, want %d; error %v; after %d runs", len(produced), want, err, runs)
		}
	}
}

// Without a time a message would be run again that was done and is forgotten.
func TestMessageThatIsTooOldIsPoison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runs := 0
		o := newOnce(t, oncewatermill.Config{
			Consumer: oncemsg.Config{Subscriber: "s", Window: time.Hour, TooOld: time.Hour}, TimeMetadata: "ce_time",
		})
		h := o.Middleware(func(*message.Message) ([]*message.Message, error) { runs++; return nil, nil })
		m := msg("1", "x")
		m.Metadata.Set("ce_time", time.Now().Format(time.RFC3339))
		if _, err := h(m); err != nil || runs != 1 {
			t.Fatalf("error %v after %d runs", err, runs)
		}
		time.Sleep(2 * time.Hour)
		if _, err := h(m); !oncewatermill.IsPoison(err) || runs != 1 {
			t.Errorf("error %v after %d runs; want it refused", err, runs)
		}
		for i, unknown := range []string{"", "yesterday"} { // which is never too old
			m := msg(string(rune('a'+i)), "x")
			m.Metadata.Set("ce_time", unknown)
			if _, err := h(m); err != nil {
				t.Errorf("time %q: %v", unknown, err)
			}
		}
	})
}
