package oncemsg_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/oncemsg"
)

func TestNewReportsEveryProblemAtOnce(t *testing.T) {
	_, err := oncemsg.New(oncemsg.Config{Mode: 9, Window: -1, BrokerRetention: -1, TooOld: -1})
	for _, want := range []string{"Guard", "Subscriber", "Mode", "Window", "BrokerRetention", "TooOld"} {
		if err == nil || !strings.Contains(err.Error(), "config: "+want+" is") {
			t.Errorf("error does not name %s: %v", want, err)
		}
	}
}

// binding is a store that has something to hand to the handler.
type binding struct{ once.Store }

func (binding) Bind(ctx context.Context, _ once.Record) context.Context { return ctx }

func TestNewRefusesWhatCannotBe(t *testing.T) {
	g := newGuard(t, once.Config{})
	binds := newGuard(t, once.Config{Store: binding{new(oncemem.Store)}})
	publish := func(context.Context, []oncemsg.Output) error { return nil }
	for want, cfg := range map[string]oncemsg.Config{
		"hands no transaction":    {Guard: g, Subscriber: "s", Mode: oncemsg.InTransaction},
		"cannot mark":             {Guard: binds, Subscriber: "s", Mode: oncemsg.DropOnlyMayLose},
		"longer than the window":  {Guard: g, Subscriber: "s", Window: time.Hour, TooOld: 2 * time.Hour},
		"Publish is for":          {Guard: g, Subscriber: "s", Mode: oncemsg.DropOnlyMayLose, Publish: publish},
		"at most 255":             {Guard: g, Subscriber: strings.Repeat("s", 256)},
		"contains a zero byte":    {Guard: g, Subscriber: "a\x00lock"},
		"the broker can deliver ": {Guard: g, Subscriber: "s", BrokerRetention: 25 * time.Hour},
	} {
		if _, err := oncemsg.New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want one with %q", err, want)
		}
	}
	if _, err := oncemsg.New(oncemsg.Config{Guard: binds, Subscriber: "s", Mode: oncemsg.InTransaction}); err != nil {
		t.Error(err)
	}
}

func TestBackoffGrowsAndIsBounded(t *testing.T) {
	backoff := newConsumer(t, oncemsg.Config{}).Config().Backoff
	for attempt, most := range map[int]time.Duration{
		0: time.Second, 1: time.Second, 2: 2 * time.Second, 6: 32 * time.Second, 7: time.Minute, 1000: time.Minute,
	} {
		for range 100 {
			if d := backoff(attempt); d < most/2 || d > most {
				t.Fatalf("attempt %d: %v, want up to %v", attempt, d, most)
			}
		}
	}
}

func TestNamesAreDistinct(t *testing.T) {
	seen := map[string]bool{}
	for k := oncemsg.Ran; k <= oncemsg.Unavailable; k++ {
		seen[k.String()] = true
	}
	for v := oncemsg.Ack; v <= oncemsg.DeadLetter; v++ {
		seen[v.String()] = true
	}
	for m := oncemsg.ClaimRunDone; m <= oncemsg.DropOnlyMayLose; m++ {
		seen[m.String()] = true
	}
	if len(seen) != 12+3+3 || seen[""] {
		t.Errorf("names are %v", seen)
	}
	if oncemsg.Kind(99).String() != "Kind(99)" || oncemsg.Verb(9).String() != "Verb(9)" || oncemsg.Mode(9).String() != "Mode(9)" {
		t.Error("unknown values have a name")
	}
}
