package onceredisstream_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/with/onceredisstream"
)

// pending adds n entries, which are read by another consumer, and returns their ids.
func (l *lab) pending(consumer string, n int) []string {
	l.Helper()
	var ids []string
	for i := range n {
		id := fmt.Sprint("p", i)
		ids = append(ids, strings.TrimSpace(l.server.Command(l.T, "XADD", stream, "*",
			onceredisstream.FieldPayload, "pay "+id, onceredisstream.FieldID, id)))
	}
	l.server.Command(l.T, "XREADGROUP", "GROUP", group, consumer, "COUNT", fmt.Sprint(n), "STREAMS", stream, ">")
	return ids
}

// makeIdle lets an entry have been idle for two hours, delivered so many times.
func (l *lab) makeIdle(consumer, id string, deliveries int) {
	l.Helper()
	l.server.Command(l.T, "XCLAIM", stream, group, consumer, "0", id, "IDLE", "7200000",
		"RETRYCOUNT", fmt.Sprint(deliveries), "JUSTID")
}

// An entry of the dead is found behind any number of others that are not idle yet: Redis looks at ten
// pending entries for each that it is asked for.
func TestEntriesOfTheDeadAreFoundBehindOthers(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	ids := l.pending("alive", 300)
	l.makeIdle("dead", ids[299], 1)
	cfg := l.config(l.ran)
	cfg.Lease = time.Hour
	cfg.Concurrency = 2
	l.start(cfg)
	l.eventually("the entry of the dead is handled", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.runs["p299"] == 1
	})
	if left := l.server.Command(t, "XPENDING", stream, group); !strings.HasPrefix(left, "299\n") {
		t.Errorf("still pending: %s", left)
	}
}

// The broker's count of deliveries is that of the entry, whatever else the consumer has pending.
func TestDeliveriesAreCounted(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	ids := l.pending("me", 100)
	l.makeIdle("me", ids[0], 3)
	l.makeIdle("me", ids[99], 7)
	seen := make(chan int, 2)
	cfg := l.config(func(_ context.Context, m oncemsg.Message) error {
		if m.ID == "p0" || m.ID == "p99" {
			seen <- m.Attempt
		}
		return nil
	})
	cfg.Name, cfg.Lease = "me", time.Hour
	l.start(cfg)
	counts := map[int]bool{}
	for range 2 {
		select {
		case n := <-seen:
			counts[n] = true
		case <-time.After(time.Minute):
			t.Fatal("the entries were not handled")
		}
	}
	if !counts[4] || !counts[8] {
		t.Errorf("the deliveries are said to be %v, want 4 and 8", counts)
	}
}

// What the server gives to a read that is under way when the consumer stops is handled.
func TestStoppingLeavesNothingUnhandled(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	const n = 3000
	for i := range n {
		l.add(fmt.Sprint(i))
	}
	cfg := l.config(nil)
	cfg.Lease = time.Hour
	for round := range 10 {
		ctx, cancel := context.WithCancel(t.Context())
		var handled atomic.Int32
		cfg.Handler = func(ctx context.Context, m oncemsg.Message) error {
			if handled.Add(1) == 50 {
				cancel()
			}
			return l.ran(ctx, m)
		}
		if err := onceredisstream.Run(ctx, cfg); err != nil {
			t.Fatal(err)
		}
		if left := l.server.Command(t, "XPENDING", stream, group); !strings.HasPrefix(left, "0\n") {
			t.Fatalf("round %d: a consumer that has stopped has entries left: %s", round, left)
		}
	}
}

// A name that somebody chose is not removed from the group.
func TestChosenNamesStay(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	cfg := l.config(l.ran)
	cfg.Name = "once-a-day"
	stop := l.start(cfg)
	l.add("a")
	l.settled(1)
	stop()
	if left := l.server.Command(t, "XINFO", "CONSUMERS", stream, group); !strings.Contains(left, cfg.Name) {
		t.Errorf("the consumer is gone: %s", left)
	}
}

// Consumers with random names that have died leave the group when their entries were taken over.
func TestTheDeadLeaveTheGroup(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	dead, pending := "once-"+strings.Repeat("a", 32), "once-"+strings.Repeat("b", 32)
	l.server.Command(t, "XGROUP", "CREATECONSUMER", stream, group, dead)
	l.pending(pending, 1)
	cfg := l.config(l.ran)
	cfg.Lease = time.Hour
	consumers := func() string {
		l.start(cfg)()
		return l.server.Command(t, "XINFO", "CONSUMERS", stream, group)
	}
	if got := consumers(); !strings.Contains(got, dead) || !strings.Contains(got, pending) {
		t.Errorf("removed although they may be alive: %s", got)
	}
	cfg.Lease = 10 * time.Millisecond // for the consumer with an entry as well
	l.eventually("the dead one is gone", func() bool { return !strings.Contains(consumers(), dead) })
	l.eventually("the entry was taken over", func() bool { return !strings.Contains(consumers(), pending) })
	l.wantRuns("p0", 1)
}
