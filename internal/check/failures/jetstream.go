package main

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/retry"
	"github.com/oncehq/once/with/oncejetstream"
)

const (
	jetStreamDurable = "billing"

	// duplicates is the server's own window, the shortest that it allows: copies must get through to
	// the consumers.
	duplicates = 100 * time.Millisecond
)

// jetStream is with/oncejetstream on an embedded server.
var jetStream = adapter{name: "JetStream", open: openJetStream, consume: consumeJetStream, resets: true}

// startNATS starts the server that all cells share.
func startNATS(t testing.TB) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
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
		t.Fatal("the NATS server is not ready after", patience)
	}
	return s
}

// A jetStreamBroker is a stream and its consumer.
type jetStreamBroker struct {
	conn   *nats.Conn
	stream jetstream.Stream
	js     jetstream.JetStream
	cfg    jetstream.ConsumerConfig
}

func openJetStream(ctx context.Context, l *lab, cell string) (broker, error) {
	conn, err := nats.Connect(l.nats.ClientURL())
	if err != nil {
		return nil, err
	}
	b := &jetStreamBroker{conn: conn, cfg: jetstream.ConsumerConfig{
		Durable: jetStreamDurable, AckPolicy: jetstream.AckExplicitPolicy, AckWait: l.lease / 2, MaxDeliver: -1,
	}}
	if err := b.make(ctx, cell); err != nil {
		conn.Close()
		return nil, err
	}
	return b, nil
}

func (b *jetStreamBroker) make(ctx context.Context, cell string) (err error) {
	if b.js, err = jetstream.New(b.conn); err != nil {
		return err
	}
	b.stream, err = b.js.CreateStream(ctx, jetstream.StreamConfig{
		Name: cell, Subjects: []string{cell}, Storage: jetstream.MemoryStorage,
		Duplicates: duplicates,
	})
	if err != nil {
		return err
	}
	_, err = b.stream.CreateConsumer(ctx, b.cfg)
	return err
}

func (b *jetStreamBroker) address() string { return b.conn.ConnectedUrl() }
func (b *jetStreamBroker) ready(string)    {}
func (b *jetStreamBroker) close()          { b.conn.Close() }

// send publishes until the server does not drop the message as a copy any more.
func (b *jetStreamBroker) send(ctx context.Context, m message) error {
	for {
		ack, err := b.js.Publish(ctx, b.stream.CachedInfo().Config.Name, nil, jetstream.WithMsgID(m.id))
		if err != nil || !ack.Duplicate {
			return err
		}
		if err := retry.Sleep(ctx, duplicates); err != nil {
			return err
		}
	}
}

// replay makes the consumer anew so that it begins with victim, the second message.
func (b *jetStreamBroker) replay(ctx context.Context, _ message) error {
	if err := b.stream.DeleteConsumer(ctx, jetStreamDurable); err != nil {
		return err
	}
	cfg := b.cfg
	cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, 2
	_, err := b.stream.CreateConsumer(ctx, cfg)
	return err
}

func (b *jetStreamBroker) idle(ctx context.Context) (bool, error) {
	c, err := b.stream.Consumer(ctx, jetStreamDurable)
	if err != nil {
		return false, err
	}
	info := c.CachedInfo()
	return info.NumPending == 0 && info.NumAckPending == 0, nil
}

func consumeJetStream(ctx context.Context, c *consumer) error {
	consumer, err := oncemsg.New(c.cfg)
	if err != nil {
		return err
	}
	conn, err := nats.Connect(c.Broker, nats.MaxReconnects(-1))
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	return oncejetstream.Run(ctx, oncejetstream.Config{
		JetStream: js, Stream: c.Cell, Durable: jetStreamDurable, Consumer: consumer, Handler: c.handle,
		Concurrency: 4,
	})
}
