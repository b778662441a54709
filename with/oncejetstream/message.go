package oncejetstream

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/oncehq/once/oncemsg"
)

// Message describes a message, without verbs. [Run] does it by itself; Message is for
// oncemsg.Wrap, and for oncemsg.Consumer.Forget, which may be given the dead letter. It fails for messages
// that are not of a JetStream consumer.
func Message(m jetstream.Msg) (oncemsg.Message, error) {
	return message(m, jetstream.MsgIDHeader)
}

func message(m jetstream.Msg, idHeader string) (oncemsg.Message, error) {
	meta, err := m.Metadata()
	if err != nil {
		return oncemsg.Message{}, fmt.Errorf("oncejetstream: %w", err)
	}
	h := headers(m.Headers())
	source, at := meta.Stream, position(meta)
	if stream := h.get(HeaderDeadStream); stream != "" {
		source, at = stream, h.get(HeaderDeadPosition)
	}
	return oncemsg.Message{
		Source:   source,
		ID:       messageID(h, idHeader),
		Position: at,
		Payload:  m.Data(),
		Header:   h.get,
		Time:     meta.Timestamp,
		Attempt:  int(meta.NumDelivered),
		Native:   m,
	}, nil
}

// messageID returns how the producer has named the message, also if it is a dead letter by now.
func messageID(h headers, idHeader string) string {
	id := h.get(idHeader)
	if strings.HasPrefix(id, deadPrefix) {
		return h.get(HeaderDeadID)
	}
	return id
}

// position is "sequence@time": the time when the message was stored, in nanoseconds, which stays
// the same in each delivery, tells streams apart that had the same name one after the other.
func position(meta *jetstream.MsgMetadata) string {
	return strconv.FormatUint(meta.Sequence.Stream, 10) + "@" + strconv.FormatInt(meta.Timestamp.UnixNano(), 10)
}

type headers nats.Header

// get returns the first value of a header. NATS tells names apart by case, producers often do not.
func (h headers) get(name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	for n, v := range h {
		if len(v) > 0 && strings.EqualFold(n, name) {
			return v[0]
		}
	}
	return ""
}
