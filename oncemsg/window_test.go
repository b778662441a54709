package oncemsg_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/oncemsg"
)

const day = 24 * time.Hour

func TestCopyIsKnownWithinTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, r := newConsumer(t, oncemsg.Config{Window: 7 * day}), new(runs)
		wantDecision(t, c.Handle(t.Context(), message, r.handle), oncemsg.Ran, oncemsg.Ack)
		time.Sleep(7*day - time.Second)
		wantDecision(t, c.Handle(t.Context(), message, r.handle), oncemsg.Duplicate, oncemsg.Ack)
		time.Sleep(2 * time.Second)
		wantDecision(t, c.Handle(t.Context(), message, r.handle), oncemsg.Ran, oncemsg.Ack) // as documented
	})
}

// A copy that comes when its record is gone is not run if TooOld says so; and one that comes
// late for the first time is set aside rather than run or lost.
func TestMessageThatMayHaveBeenForgottenIsSetAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, r := newConsumer(t, oncemsg.Config{Window: 7 * day, TooOld: 6 * day}), new(runs)
		m := message
		m.Time = time.Now()
		time.Sleep(5 * day)
		wantDecision(t, c.Handle(t.Context(), m, r.handle), oncemsg.Ran, oncemsg.Ack)
		time.Sleep(5 * day) // older than TooOld, and still known
		wantDecision(t, c.Handle(t.Context(), m, r.handle), oncemsg.Duplicate, oncemsg.Ack)
		time.Sleep(5 * day)
		wantDecision(t, c.Handle(t.Context(), m, r.handle), oncemsg.TooOld, oncemsg.DeadLetter)
		r.want(t, 1)
		m.Replay = "ticket 12"
		wantDecision(t, c.Handle(t.Context(), m, r.handle), oncemsg.Ran, oncemsg.Ack)
		m.Replay, m.Time = "", time.Time{}
		wantDecision(t, c.Handle(t.Context(), m, r.handle), oncemsg.Ran, oncemsg.Ack)
	})
}

func TestReplayRunsOnceForEachName(t *testing.T) {
	c, r := newConsumer(t, oncemsg.Config{}), new(runs)
	m := message
	for _, replay := range []string{"", "monday", "tuesday"} {
		m.Replay = replay
		wantDecision(t, c.Handle(t.Context(), m, r.handle), oncemsg.Ran, oncemsg.Ack)
		wantDecision(t, c.Handle(t.Context(), m, r.handle), oncemsg.Duplicate, oncemsg.Ack)
	}
	r.want(t, 3)
}

func TestPoisonedMessageRunsAgainWhenForgotten(t *testing.T) {
	g := newGuard(t, once.Config{MaxAttempts: 2})
	c, r := newConsumer(t, oncemsg.Config{Guard: g}), &runs{errs: []error{errNet, errNet}}
	if err := c.Forget(t.Context(), message); !errors.Is(err, once.ErrNotFound) {
		t.Errorf("error is %v, want ErrNotFound", err)
	}
	var ids []string
	h := func(ctx context.Context, m oncemsg.Message) error {
		ids = append(ids, once.DerivedID(ctx, "charge"))
		return r.handle(ctx, m)
	}
	c.Handle(t.Context(), message, h)
	wantDecision(t, c.Handle(t.Context(), message, h), oncemsg.Poisoned, oncemsg.DeadLetter)
	if err := c.Forget(t.Context(), message); err != nil {
		t.Fatal(err)
	}
	wantDecision(t, c.Handle(t.Context(), message, h), oncemsg.Ran, oncemsg.Ack)
	if ids[2] != ids[0] {
		t.Error("the provider is given another id after the message was forgotten")
	}
	if err := c.Forget(t.Context(), message); err != nil { // it is done now
		t.Fatal(err)
	}
	wantDecision(t, c.Handle(t.Context(), message, h), oncemsg.Ran, oncemsg.Ack)
	r.want(t, 4)
}

func TestRunningMessageIsNotForgotten(t *testing.T) {
	c := newConsumer(t, oncemsg.Config{})
	c.Handle(t.Context(), message, func(ctx context.Context, m oncemsg.Message) error {
		if err := c.Forget(ctx, m); !errors.Is(err, once.ErrInFlight) {
			t.Errorf("error is %v, want ErrInFlight", err)
		}
		return nil
	})
	if err := c.Forget(t.Context(), oncemsg.Message{}); err == nil {
		t.Error("forgot a message without an id")
	}
	unforgetting := newConsumer(t, oncemsg.Config{Guard: newGuard(t, once.Config{Store: plain{new(oncemem.Store)}})})
	unforgetting.Handle(t.Context(), message, new(runs).handle)
	if err := unforgetting.Forget(t.Context(), message); err == nil {
		t.Error("forgot what the store cannot forget")
	}
}

func TestWindowShorterThanTheBrokersIsRefused(t *testing.T) {
	g := newGuard(t, once.Config{})
	cfg := oncemsg.Config{Guard: g, Subscriber: "test", BrokerRetention: 7 * day}
	if _, err := oncemsg.New(cfg); err == nil || !strings.Contains(err.Error(), "Window is 24h") {
		t.Errorf("error is %v", err)
	}
	for name, mend := range map[string]func(*oncemsg.Config){
		"a longer window": func(cfg *oncemsg.Config) { cfg.Window = 7 * day },
		"for ever":        func(cfg *oncemsg.Config) { cfg.Window = once.Forever },
		"TooOld":          func(cfg *oncemsg.Config) { cfg.TooOld = 23 * time.Hour },
	} {
		mended := cfg
		mend(&mended)
		if _, err := oncemsg.New(mended); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	var log bytes.Buffer
	cfg.DangerouslyShortWindow, cfg.Logger = true, slog.New(slog.NewTextHandler(&log, nil))
	c, err := oncemsg.New(cfg)
	if err != nil || !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), "window=24h") {
		t.Errorf("error is %v, log %q", err, log.String())
	}
	if err := newConsumer(t, oncemsg.Config{}).CheckRetention(7 * day); err == nil {
		t.Error("a retention learned later is not checked")
	}
	if err := c.CheckRetention(time.Hour); err != nil {
		t.Error(err)
	}
}

// expiring is a store whose records are forgotten right after they were looked up.
type expiring struct{ *oncemem.Store }

func (expiring) Load(context.Context, once.Key) (once.Record, error) {
	return once.Record{State: once.Done}, nil
}

// A record may be forgotten between the look for it and the claim.
func TestRecordThatExpiresMeanwhileIsMissed(t *testing.T) {
	eachWay(t, func(t *testing.T, handle way) {
		store, r := new(oncemem.Store), new(runs)
		c := newConsumer(t, oncemsg.Config{Guard: newGuard(t, once.Config{Store: expiring{store}}), TooOld: time.Hour})
		ms := messages("a", "b")
		for i := range ms {
			ms[i].Time = time.Now().Add(-time.Hour)
		}
		wantKinds(t, handle(c, t.Context(), ms, r.handle), "too-old too-old")
		wantDecision(t, c.Handle(t.Context(), ms[0], r.handle), oncemsg.TooOld, oncemsg.DeadLetter)
		r.want(t, 0)
		k, _ := c.Key(ms[0])
		if _, err := store.Load(t.Context(), k); !errors.Is(err, once.ErrNotFound) {
			t.Errorf("it is recorded as begun: %v", err)
		}
	})
}
