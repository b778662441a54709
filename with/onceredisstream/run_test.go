package onceredisstream_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/with/onceredisstream"
)

const (
	stream = "orders"
	group  = "billing"
	dead   = "orders.dead"
)

// A lab is a server with a stream, a store, and what handlers have done.
type lab struct {
	*testing.T
	server *servers.RedisServer
	client rueidis.Client
	store  once.Store

	mu   sync.Mutex
	runs map[string]int
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{T: t, server: servers.Redis(t), store: new(oncemem.Store), runs: map[string]int{}}
	l.client = l.connect()
	if err := onceredisstream.CreateGroup(t.Context(), l.client, stream, group, "0"); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *lab) connect() rueidis.Client {
	l.Helper()
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{l.server.Addr}, DisableCache: true})
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(c.Close)
	return c
}

func (l *lab) consumer(change func(*oncemsg.Config)) *oncemsg.Consumer {
	l.Helper()
	guard, err := once.New(once.Config{Store: l.store, InDoubt: once.Rerun, MaxAttempts: 3, Lease: 2 * time.Second})
	if err != nil {
		l.Fatal(err)
	}
	cfg := oncemsg.Config{
		Guard: guard, Subscriber: group, Logger: slog.New(slog.DiscardHandler),
		Backoff: func(int) time.Duration { return 50 * time.Millisecond },
	}
	if change != nil {
		change(&cfg)
	}
	c, err := oncemsg.New(cfg)
	if err != nil {
		l.Fatal(err)
	}
	return c
}

func (l *lab) config(h oncemsg.Handler) onceredisstream.Config {
	return onceredisstream.Config{
		Client: l.client, Stream: stream, Group: group, Consumer: l.consumer(nil), Handler: h,
		DeadLetterStream: dead, Lease: time.Second, Logger: slog.New(slog.DiscardHandler),
	}
}

// start runs a consumer until the test ends or stop is called.
func (l *lab) start(cfg onceredisstream.Config) (stop func()) {
	ctx, cancel := context.WithCancel(l.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := onceredisstream.Run(ctx, cfg); err != nil {
			l.Error("Run:", err)
		}
	}()
	stop = func() { cancel(); <-ended }
	l.Cleanup(stop)
	return stop
}

// ran is a handler that counts.
func (l *lab) ran(_ context.Context, m oncemsg.Message) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.runs[m.ID]++
	return nil
}

func (l *lab) add(id string) {
	l.Helper()
	l.server.Command(l.T, "XADD", stream, "*", onceredisstream.FieldPayload, "pay "+id, onceredisstream.FieldID, id)
}

func (l *lab) eventually(what string, so func() bool) {
	l.Helper()
	for deadline := time.Now().Add(time.Minute); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			l.Fatalf("not in a minute: %s", what)
		}
	}
}

// settled waits until all entries were read and acknowledged.
func (l *lab) settled(read int) {
	l.Helper()
	l.eventually("all entries are acknowledged", func() bool {
		info := l.server.Command(l.T, "XINFO", "GROUPS", stream)
		pending := l.server.Command(l.T, "XPENDING", stream, group)
		return strings.Contains(info, fmt.Sprintf("entries-read\n%d\n", read)) && strings.HasPrefix(pending, "0\n")
	})
}

func (l *lab) wantRuns(id string, n int) {
	l.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.runs[id] != n {
		l.Errorf("%s was run %d times, want %d", id, l.runs[id], n)
	}
}

// What a producer sends twice is handled once, by whichever consumer gets it.
func TestCopiesAreHandledOnce(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for range 2 {
		cfg := l.config(l.ran)
		cfg.Client = l.connect()
		l.start(cfg)
	}
	const n = 50
	for i := range n {
		l.add(fmt.Sprint(i))
		l.add(fmt.Sprint(i))
	}
	l.settled(2 * n)
	for i := range n {
		l.wantRuns(fmt.Sprint(i), 1)
	}
}

// A handler that takes longer than the lease keeps its entry.
func TestSlowHandlersKeepTheirEntries(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	var copies atomic.Int32
	slow := func(ctx context.Context, m oncemsg.Message) error {
		time.Sleep(4 * time.Second)
		return l.ran(ctx, m)
	}
	for range 2 {
		cfg := l.config(slow)
		cfg.Lease = 2 * time.Second
		cfg.Consumer = l.consumer(func(c *oncemsg.Config) {
			c.Observe = func(_ context.Context, _ oncemsg.Message, d oncemsg.Decision) {
				if d.Kind != oncemsg.Ran {
					copies.Add(1)
				}
			}
		})
		cfg.Client = l.connect()
		l.start(cfg)
	}
	l.add("slow")
	l.settled(1)
	l.wantRuns("slow", 1)
	t.Logf("it was delivered %d times more", copies.Load())
}

// What a consumer dies with is taken over by another.
func TestEntriesOfTheDeadAreTakenOver(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.add("a")
	l.add("b")
	// A consumer that reads, and is not heard of again. It has handled a, and not acknowledged it.
	dying := l.config(nil)
	l.server.Command(t, "XREADGROUP", "GROUP", group, "dead", "STREAMS", stream, ">")
	e := rueidis.XRangeEntry{FieldValues: map[string]string{onceredisstream.FieldID: "a"}}
	if d := dying.Consumer.Handle(t.Context(), onceredisstream.Message(stream, e), l.ran); d.Kind != oncemsg.Ran {
		t.Fatal(d.Kind, d.Err)
	}
	l.start(l.config(l.ran))
	l.settled(2)
	l.wantRuns("a", 1)
	l.wantRuns("b", 1)
}

// What fails comes again, soon; what always fails is set aside with all that it was.
func TestFailures(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	failing := func(ctx context.Context, m oncemsg.Message) error {
		l.ran(ctx, m)
		l.mu.Lock()
		defer l.mu.Unlock()
		if m.ID == "poison" || l.runs[m.ID] == 1 {
			return errors.New("failed")
		}
		return nil
	}
	cfg := l.config(failing)
	cfg.Lease = 10 * time.Second // failures do not wait for it
	l.start(cfg)
	l.add("flaky")
	l.add("poison")
	l.settled(2)
	l.wantRuns("flaky", 2)
	l.wantRuns("poison", 3)
	set := l.server.Command(t, "XRANGE", dead, "-", "+")
	for _, want := range []string{"pay poison", onceredisstream.FieldDeadReason, "poisoned", stream} {
		if !strings.Contains(set, want) {
			t.Errorf("the dead letter has no %q: %s", want, set)
		}
	}
	if strings.Contains(set, "flaky") {
		t.Error("an entry that was handled was set aside")
	}
}

// A consumer of another process that is handling a copy is waited for: its copy is not
// acknowledged, for the original may still fail.
func TestCopiesInFlightAreNotAcknowledged(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	started, release := make(chan struct{}, 1), make(chan struct{})
	first := l.config(func(ctx context.Context, m oncemsg.Message) error {
		started <- struct{}{}
		<-release
		return errors.New("failed after all")
	})
	first.Concurrency = 1
	stop := l.start(first)
	l.add("a")
	<-started
	l.add("a")
	second := l.config(l.ran)
	second.Client = l.connect()
	inFlight := make(chan struct{}, 100)
	second.Consumer = l.consumer(func(c *oncemsg.Config) {
		c.Observe = func(_ context.Context, _ oncemsg.Message, d oncemsg.Decision) {
			if d.Kind == oncemsg.InFlight {
				select {
				case inFlight <- struct{}{}:
				default:
				}
			}
		}
	})
	l.start(second)
	select {
	case <-inFlight:
	case <-time.After(time.Minute):
		t.Fatal("the copy was not found to be in flight")
	}
	l.wantRuns("a", 0)
	if pending := l.server.Command(t, "XPENDING", stream, group); !strings.HasPrefix(pending, "2\n") {
		t.Errorf("of two copies in flight these are pending: %s", pending)
	}
	close(release)
	stop()
	l.settled(2)
	l.wantRuns("a", 1)
}

// Outputs are published before the entry is acknowledged, and again, with the same id, for a copy.
func TestOutputsAreNotLost(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	cfg := l.config(func(ctx context.Context, m oncemsg.Message) error {
		l.ran(ctx, m)
		return oncemsg.Emit(ctx, oncemsg.Output{To: "receipts", Payload: []byte("\x00receipt"), Headers: map[string]string{"kind": "pdf"}})
	})
	publish, failed := onceredisstream.Publish(l.client), false
	cfg.Consumer = l.consumer(func(c *oncemsg.Config) {
		c.Publish = func(ctx context.Context, out []oncemsg.Output) error {
			if !failed {
				failed = true
				return errors.New("not now")
			}
			return publish(ctx, out)
		}
	})
	cfg.Concurrency = 1
	l.start(cfg)
	l.add("a")
	l.settled(1)
	l.add("a")
	l.settled(2)
	l.wantRuns("a", 1)
	entries, err := l.client.Do(t.Context(), l.client.B().Xrange().Key("receipts").Start("-").End("+").Build()).AsXRange()
	if err != nil || len(entries) != 2 {
		t.Fatalf("%d outputs, error %v; want one and its copy", len(entries), err)
	}
	for _, e := range entries {
		m := onceredisstream.Message("receipts", e)
		if m.ID == "" || m.ID != entries[0].FieldValues[onceredisstream.FieldID] || string(m.Payload) != "\x00receipt" || m.Lookup("kind") != "pdf" {
			t.Errorf("output %v", e.FieldValues)
		}
	}
}

// A server that goes away and comes back is read on.
func TestServerRestarts(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.server = servers.Redis(t, "appendfsync always")
	l.client = l.connect()
	if err := onceredisstream.CreateGroup(t.Context(), l.client, stream, group, "0"); err != nil {
		t.Fatal(err)
	}
	l.start(l.config(l.ran))
	l.add("before")
	l.settled(1)
	l.server.Kill()
	l.server.Restart(t)
	l.add("after")
	l.settled(2)
	l.wantRuns("before", 1)
	l.wantRuns("after", 1)
}

func TestRunRefuses(t *testing.T) {
	t.Parallel()
	err := onceredisstream.Run(t.Context(), onceredisstream.Config{Lease: -1, Concurrency: -1, Drain: -1})
	for _, field := range []string{"Client", "Stream", "Group", "Consumer", "Handler", "Lease", "Concurrency", "Drain"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("the error does not name %s: %v", field, err)
		}
	}
	l := newLab(t)
	cfg := l.config(l.ran)
	cfg.Group = "unknown"
	if err := onceredisstream.Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "CreateGroup") {
		t.Errorf("a group that does not exist: error %v", err)
	}
	if groups := l.server.Command(t, "XINFO", "GROUPS", stream); strings.Contains(groups, "unknown") {
		t.Error("a group was made silently")
	}
}

// Consumers that stop leave nothing behind.
func TestStoppedConsumersLeaveTheGroup(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	stop := l.start(l.config(l.ran))
	l.add("a")
	l.settled(1)
	stop()
	if left := l.server.Command(t, "XINFO", "CONSUMERS", stream, group); strings.Contains(left, "once-") {
		t.Errorf("left in the group: %s", left)
	}
}
