package oncejetstream_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/with/oncejetstream"
)

// patience is how long anything may take on a busy machine.
const patience = time.Minute

const (
	stream  = "ORDERS"
	durable = "billing"
	subject = "orders.new"
	dead    = "dead.orders"
)

// A lab is a stream with a consumer, a store, and what handlers have done.
type lab struct {
	*testing.T
	url   string
	js    jetstream.JetStream
	store once.Store
	log   *log

	mu   sync.Mutex
	runs map[string]int
}

// newLab makes a lab with a server of its own in this process.
func newLab(t *testing.T, change ...func(*jetstream.ConsumerConfig)) *lab {
	t.Helper()
	return newLabOn(t, startServer(t, t.TempDir(), server.RANDOM_PORT).ClientURL(), change...)
}

func newLabOn(t *testing.T, url string, change ...func(*jetstream.ConsumerConfig)) *lab {
	t.Helper()
	l := &lab{T: t, url: url, store: new(oncemem.Store), runs: map[string]int{}, log: new(log)}
	l.js = l.connect()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("logged:\n%s", l.log.text())
		}
	})
	for name, subjects := range map[string]string{stream: "orders.>", "DEAD": "dead.>", "OUT": "out.>"} {
		_, err := l.js.CreateStream(t.Context(), jetstream.StreamConfig{
			Name: name, Subjects: []string{subjects}, Storage: jetstream.FileStorage,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	cfg := jetstream.ConsumerConfig{
		Durable: durable, AckPolicy: jetstream.AckExplicitPolicy, AckWait: 2 * time.Second, MaxDeliver: -1,
	}
	for _, f := range change {
		f(&cfg)
	}
	if _, err := l.js.CreateConsumer(t.Context(), stream, cfg); err != nil {
		t.Fatal(err)
	}
	return l
}

// startServer starts a server in this process, which is shut down when the test ends.
func startServer(t testing.TB, dir string, port int) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: dir, NoLog: true, NoSigs: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(patience) {
		t.Fatal("the server is not ready")
	}
	return s
}

func (l *lab) connect() jetstream.JetStream {
	l.Helper()
	nc, err := nats.Connect(l.url, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		l.Fatal(err)
	}
	return js
}

func (l *lab) consumer(change ...func(*oncemsg.Config)) *oncemsg.Consumer {
	l.Helper()
	guard, err := once.New(once.Config{Store: l.store, InDoubt: once.Rerun, MaxAttempts: 3, Lease: 5 * time.Second})
	if err != nil {
		l.Fatal(err)
	}
	cfg := oncemsg.Config{
		Guard: guard, Subscriber: durable, Window: once.Forever,
		Logger:  slog.New(slog.NewTextHandler(l.log, nil)),
		Backoff: func(int) time.Duration { return 50 * time.Millisecond },
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

// observing calls f with every kind of decision.
func observing(f func(oncemsg.Message, oncemsg.Kind)) func(*oncemsg.Config) {
	return func(c *oncemsg.Config) {
		c.Observe = func(_ context.Context, m oncemsg.Message, d oncemsg.Decision) { f(m, d.Kind) }
	}
}

func (l *lab) config(h oncemsg.Handler) oncejetstream.Config {
	return oncejetstream.Config{
		JetStream: l.js, Stream: stream, Durable: durable, Consumer: l.consumer(), Handler: h,
		DeadLetterSubject: dead,
	}
}

// start runs a consumer until the test ends or stop is called.
func (l *lab) start(cfg oncejetstream.Config) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := oncejetstream.Run(ctx, cfg); err != nil {
			l.Error("Run:", err)
		}
	}()
	stop = func() { cancel(); <-ended }
	l.Cleanup(stop)
	return stop
}

// ran is a handler that counts, by what the message contains.
func (l *lab) ran(_ context.Context, m oncemsg.Message) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.runs[string(m.Payload)]++
	return nil
}

// publish publishes as a producer does that was not told of its success: without the server noticing
// that it is a copy, since that notices only some.
func (l *lab) publish(id string) {
	l.Helper()
	l.send(&nats.Msg{Subject: subject, Data: []byte(id), Header: nats.Header{"Message-Id": {id}}})
}

func (l *lab) send(m *nats.Msg) {
	l.Helper()
	if _, err := l.js.PublishMsg(l.Context(), m); err != nil {
		l.Fatal(err)
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

// waiting waits until somebody asks the consumer for messages.
func (l *lab) waiting() {
	l.Helper()
	eventually(l, "messages are asked for", func() bool {
		c, err := l.js.Consumer(l.Context(), stream, durable)
		return err == nil && c.CachedInfo().NumWaiting > 0
	})
}

// settled waits until the consumer was given so many messages and all are acknowledged.
func (l *lab) settled(n uint64) {
	l.Helper()
	c, err := l.js.Consumer(l.Context(), stream, durable)
	if err != nil {
		l.Fatal(err)
	}
	eventually(l, fmt.Sprintf("%d messages are acknowledged", n), func() bool {
		info, err := c.Info(l.Context())
		return err == nil && info.AckFloor.Stream == n && info.NumAckPending == 0
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

// kept returns the messages of a stream.
func (l *lab) kept(name string) (msgs []*jetstream.RawStreamMsg) {
	l.Helper()
	s, err := l.js.Stream(l.Context(), name)
	if err != nil {
		l.Fatal(err)
	}
	for seq := range s.CachedInfo().State.LastSeq {
		m, err := s.GetMsg(l.Context(), seq+1)
		if err != nil {
			l.Fatal(err)
		}
		msgs = append(msgs, m)
	}
	return msgs
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
