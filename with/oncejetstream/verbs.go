package oncejetstream

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/oncehq/once/oncemsg"
)

// Headers of a dead letter, beside the message's own: why it is there, and what it was. [Message] reads
// them, so that a dead letter, also one that is moved back, is the message that it was.
const (
	HeaderDeadReason   = "Once-Dead-Reason"
	HeaderDeadSubject  = "Once-Dead-Subject"
	HeaderDeadStream   = "Once-Dead-Stream"
	HeaderDeadPosition = "Once-Dead-Position" // its sequence in the stream @ when it was stored
	HeaderDeadID       = "Once-Dead-Msg-Id"   // its Nats-Msg-Id
)

// deadPrefix is what the Nats-Msg-Id of a dead letter begins with. It is not the message's own: the server
// would drop it as a copy, if the original is in the same stream, or if another message with that id was
// dead-lettered just before.
const deadPrefix = "once-dead/"

// maxReason is how many bytes of a reason are kept.
const maxReason = 1 << 10

// deliver describes one delivery.
func (r *reader) deliver(msg jetstream.Msg, lease time.Duration) (oncemsg.Message, error) {
	m, err := message(msg, r.cfg.IDHeader)
	if err != nil {
		return m, err
	}
	m.Lease = lease
	m.Verbs = oncemsg.Verbs{
		Ack:    func(ctx context.Context) error { return r.ack(ctx, msg) },
		Extend: func(context.Context) error { return msg.InProgress() },
		Nak: func(_ context.Context, after time.Duration) error {
			if after <= 0 {
				return msg.Nak()
			}
			return msg.NakWithDelay(after)
		},
		Delays: true,
	}
	if r.cfg.DeadLetterSubject != "" {
		m.Verbs.DeadLetter = func(ctx context.Context, reason string) error {
			return r.deadLetter(ctx, msg, m, reason)
		}
	}
	return m, nil
}

func (r *reader) ack(ctx context.Context, msg jetstream.Msg) error {
	if r.cfg.DoubleAck {
		return msg.DoubleAck(ctx)
	}
	return msg.Ack()
}

// deadLetter publishes the message to the subject for such, and ends it when a stream has it.
func (r *reader) deadLetter(ctx context.Context, msg jetstream.Msg, m oncemsg.Message, reason string) error {
	meta, err := msg.Metadata()
	if err != nil {
		return err
	}
	dead := &nats.Msg{Subject: r.cfg.DeadLetterSubject, Data: msg.Data(), Header: nats.Header{}}
	for name, values := range msg.Headers() {
		// What is for the server alone would have the dead letter expire, refused or roll up others.
		if !strings.HasPrefix(strings.ToLower(name), "nats-") {
			dead.Header[name] = values
		}
	}
	dead.Header.Set(HeaderDeadReason, strings.ToValidUTF8(reason[:min(len(reason), maxReason)], ""))
	dead.Header.Set(HeaderDeadSubject, msg.Subject())
	dead.Header.Set(HeaderDeadStream, m.Source)
	dead.Header.Set(HeaderDeadPosition, m.Position)
	if id := messageID(headers(msg.Headers()), jetstream.MsgIDHeader); id != "" {
		dead.Header.Set(HeaderDeadID, id)
	}
	dead.Header.Set(jetstream.MsgIDHeader, deadPrefix+meta.Stream+"/"+meta.Consumer+"/"+position(meta))
	if _, err := r.cfg.JetStream.PublishMsg(ctx, dead); err != nil {
		return fmt.Errorf("oncejetstream: dead-letter: %w", err)
	}
	return msg.Term()
}
