package onceamqp_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rabbitmq/amqp091-go"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/with/onceamqp"
)

// maxMessage is the largest that the broker takes.
const maxMessage = 1 << 20

// patience is how long anything may take on a busy machine.
const patience = time.Minute

// rabbit is the broker that all tests share: it takes some seconds to start. Tests have queues
// of their own. Those that run in parallel run when the others, which may kill it, are over.
var rabbit *servers.RabbitMQServer

func TestMain(m *testing.M) {
	if when := os.Getenv(envCrash); when != "" {
		go func() { // the parent is dead
			io.Copy(io.Discard, os.Stdin)
			os.Exit(3)
		}()
		fmt.Fprintln(os.Stderr, dying(when))
		os.Exit(2)
	}
	var err error
	if rabbit, err = servers.StartRabbitMQ("consumer_timeout = 9000", fmt.Sprint("max_message_size = ", maxMessage)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	rabbit.Close()
	os.Exit(code)
}

// A lab is a queue and one for its dead letters, a store, and what handlers have done.
type lab struct {
	*testing.T
	queue, dead string
	url         string // of the broker, or of something in front of it
	ch          *amqp091.Channel
	store       once.Store
	log         *log

	mu   sync.Mutex
	runs map[string]int
	ends map[oncemsg.Kind]int // how often it was decided so
}

// newLab makes a durable queue, with arguments in pairs.
func newLab(t *testing.T, args ...any) *lab {
	t.Helper()
	queue := t.Name() + "-" + once.NewOwner().String() // another one when the test is repeated
	l := &lab{
		T: t, queue: queue, dead: queue + ".dead", url: rabbit.URL, store: new(oncemem.Store),
		runs: map[string]int{}, ends: map[oncemsg.Kind]int{}, log: new(log),
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("logged:\n%s", l.log.text())
		}
	})
	l.reconnect()
	table := amqp091.Table{}
	for i := 0; i < len(args); i += 2 {
		table[args[i].(string)] = args[i+1]
	}
	l.declare(l.queue, table)
	l.declare(l.dead, nil)
	return l
}

// reconnect opens the test's own channel, on which it publishes with confirmations.
func (l *lab) reconnect() {
	l.Helper()
	conn, err := amqp091.Dial(rabbit.URL)
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { conn.Close() })
	if l.ch, err = conn.Channel(); err != nil {
		l.Fatal(err)
	}
	if err := l.ch.Confirm(false); err != nil {
		l.Fatal(err)
	}
}

func (l *lab) declare(name string, args amqp091.Table) {
	l.Helper()
	const durable, autoDelete, exclusive, noWait = true, false, false, false
	if _, err := l.ch.QueueDeclare(name, durable, autoDelete, exclusive, noWait, args); err != nil {
		l.Fatal(err)
	}
}

func (l *lab) dial() (*amqp091.Connection, error) { return amqp091.Dial(l.url) }

func (l *lab) guard() *once.Guard {
	l.Helper()
	g, err := once.New(once.Config{Store: l.store, InDoubt: once.Rerun, MaxAttempts: 3, Lease: 5 * time.Second})
	if err != nil {
		l.Fatal(err)
	}
	return g
}

func (l *lab) consumer(change ...func(*oncemsg.Config)) *oncemsg.Consumer {
	l.Helper()
	cfg := oncemsg.Config{
		Guard: l.guard(), Subscriber: "billing", Logger: slog.New(slog.NewTextHandler(l.log, nil)),
		Backoff: func(int) time.Duration { return 50 * time.Millisecond },
		Observe: func(_ context.Context, _ oncemsg.Message, d oncemsg.Decision) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.ends[d.Kind]++
		},
	}
	for _, f := range change {
		f(&cfg)
	}
	c, err := oncemsg.New(cfg)
	if err != nil {
		l.Fatal(err)
	}
	return c
}

func (l *lab) config(h oncemsg.Handler) onceamqp.Config {
	return onceamqp.Config{
		Dial: l.dial, Queue: l.queue, Consumer: l.consumer(), Handler: h, DeadLetterKey: l.dead, Drain: patience,
	}
}

// start runs a consumer until the test ends or stop is called.
func (l *lab) start(cfg onceamqp.Config) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := onceamqp.Run(ctx, cfg); err != nil {
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

func (l *lab) publish(id string) {
	l.Helper()
	l.send(amqp091.Publishing{MessageId: id, Body: []byte("pay " + id), DeliveryMode: amqp091.Persistent})
}

func (l *lab) send(p amqp091.Publishing) {
	l.Helper()
	w, err := l.ch.PublishWithDeferredConfirm("", l.queue, true, false, p)
	if err != nil {
		l.Fatal(err)
	}
	if acked, err := w.WaitContext(l.Context()); !acked || err != nil {
		l.Fatal("not published: ", err)
	}
}

func eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in %v: %s", patience, what)
		}
	}
}

// ended waits until at least so many messages were decided in these ways.
func (l *lab) ended(n int, kinds ...oncemsg.Kind) {
	l.Helper()
	eventually(l, fmt.Sprintf("%d times %v", n, kinds), func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		sum := 0
		for _, k := range kinds {
			sum += l.ends[k]
		}
		return sum >= n
	})
}

// wantEmpty checks that nothing is left in the queue, when no consumer has anything any more.
func (l *lab) wantEmpty() {
	l.Helper()
	if d, ok, err := l.ch.Get(l.queue, true); ok || err != nil {
		l.Errorf("left in the queue: %q, error %v", d.MessageId, err)
	}
}

// letters returns the dead letters, and removes them.
func (l *lab) letters() (all []amqp091.Delivery) {
	l.Helper()
	return l.take(l.dead)
}

func (l *lab) take(queue string) (all []amqp091.Delivery) {
	l.Helper()
	for {
		d, ok, err := l.ch.Get(queue, true)
		if err != nil {
			l.Fatal(err)
		}
		if !ok {
			return all
		}
		all = append(all, d)
	}
}

func (l *lab) wantRuns(id string, n int) {
	l.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.runs[id] != n {
		l.Errorf("%s was run %d times, want %d", id, l.runs[id], n)
	}
}

// A log keeps what was logged.
type log struct {
	mu  sync.Mutex
	buf strings.Builder
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *log) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// A shakyStore is a store that cannot be reached while it is down.
type shakyStore struct {
	once.Store
	down atomic.Bool
}

func (s *shakyStore) Claim(ctx context.Context, c once.Claim) (once.Record, error) {
	if s.down.Load() {
		return once.Record{}, &net.OpError{Op: "dial", Err: context.DeadlineExceeded}
	}
	return s.Store.Claim(ctx, c)
}
