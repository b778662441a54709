package oncemsg

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"mime"
	"strings"

	"github.com/oncehq/once"
)

// An ID tells a message from all others that a subscriber is given.
type ID struct {
	Source string // within what ID is unique; may be empty
	ID     string

	// Weak says that the ID is not the producer's. A broker's own position is that of a copy in a
	// log: a producer that sends the same message again gets another one, and both are run.
	Weak bool
}

// A KeyFunc finds the ID of a message. It returns false if the message has none of this kind.
type KeyFunc func(Message) (ID, bool)

// DefaultKey is what [Config.Key] defaults to: the source and id of a CloudEvent, else the
// message's own id, else, weak, its position with the broker. It never looks at the contents of a
// message that is no CloudEvent: two equal messages are often two.
func DefaultKey(m Message) (ID, bool) {
	if id, ok := CloudEventID(m); ok {
		return id, true
	}
	if id, ok := MessageID(m); ok {
		return id, true
	}
	return WeakPosition(m)
}

// FirstOf returns the ID of the first function that finds one.
func FirstOf(funcs ...KeyFunc) KeyFunc {
	return func(m Message) (ID, bool) {
		for _, f := range funcs {
			if id, ok := f(m); ok {
				return id, true
			}
		}
		return ID{}, false
	}
}

// cloudEventNames are the names that the protocol bindings of CloudEvents 1.0 give the attributes
// id and source in binary mode: Kafka section 3.2.3, NATS and HTTP section 3.1.3, AMQP 3.1.3.
var cloudEventNames = [...][2]string{
	{"ce_id", "ce_source"}, {"ce-id", "ce-source"},
	{"cloudEvents:id", "cloudEvents:source"}, {"cloudEvents_id", "cloudEvents_source"},
}

// CloudEventID is the source and id of a CloudEvent, which together are unique for each distinct
// event (CloudEvents 1.0, "id"). They are read from the headers in binary mode, and from the
// payload in structured mode, if its content-type says that it is a CloudEvent in JSON.
func CloudEventID(m Message) (ID, bool) {
	if m.Header == nil {
		return ID{}, false
	}
	for _, names := range &cloudEventNames {
		if id := m.Header(names[0]); id != "" {
			if source := m.Header(names[1]); source != "" {
				return ID{Source: source, ID: id}, true
			}
		}
	}
	return structuredCloudEventID(m)
}

func structuredCloudEventID(m Message) (ID, bool) {
	contentType := m.Header("content-type")
	if contentType == "" {
		contentType = m.Header("Content-Type")
	}
	if !strings.HasPrefix(strings.ToLower(contentType), "application/cloudevents+json") {
		return ID{}, false
	}
	if t, _, err := mime.ParseMediaType(contentType); err != nil || t != "application/cloudevents+json" {
		return ID{}, false
	}
	var event struct{ ID, Source string }
	if json.Unmarshal(m.Payload, &event) != nil || event.ID == "" || event.Source == "" {
		return ID{}, false
	}
	return ID{Source: event.Source, ID: event.ID}, true
}

// MessageID is Message.ID within Message.Source.
func MessageID(m Message) (ID, bool) { return ID{Source: m.Source, ID: m.ID}, m.ID != "" }

// Header returns a KeyFunc for producers that name their messages in a header, such as the "id" of
// an outbox. The ID is unique within Message.Source.
func Header(name string) KeyFunc {
	return func(m Message) (ID, bool) {
		id := m.Lookup(name)
		return ID{Source: m.Source, ID: id}, id != ""
	}
}

// WeakPosition is Message.Position within Message.Source. It catches what the broker delivers
// again, but not what the producer sends again. Positions begin anew when a topic is made anew:
// what identifies the topic should be part of it.
func WeakPosition(m Message) (ID, bool) {
	return ID{Source: m.Source, ID: m.Position, Weak: true}, m.Position != ""
}

// WeakContent is a digest of the payload, within Message.Source: two messages of the same
// contents are taken for one, which loses the second if they are two. Right only if the contents
// name what happened, like the number of an order.
func WeakContent(m Message) (ID, bool) {
	sum := sha256.Sum256(m.Payload)
	return ID{Source: m.Source, ID: hex.EncodeToString(sum[:]), Weak: true}, true
}

// ContentFingerprint is a [Config.Fingerprint] of the payload.
func ContentFingerprint(m Message) once.Fingerprint { return once.FingerprintOf(m.Payload) }

// keyID returns the id of a key: "source id" in a form for people if it is unambiguous and short
// enough, else a digest. The name of a replay comes last, behind a zero byte. Different arguments give
// different ids:
//
//	the first part has no zero byte but at its beginning, which a digest begins with and nothing else;
//	its first space, if any, ends the source, which has none.
func keyID(id ID, replay string) string {
	plain := !strings.ContainsAny(id.Source, " \x00") && strings.IndexByte(id.ID, 0) < 0 &&
		strings.IndexByte(replay, 0) < 0 && len(id.Source)+len(id.ID)+len(replay)+2 <= once.MaxID
	if !plain {
		return "\x00" + digest(id.Source, id.ID, replay)
	}
	text := id.ID
	if id.Source != "" || strings.IndexByte(id.ID, ' ') >= 0 {
		text = id.Source + " " + id.ID
	}
	if replay != "" {
		text += "\x00" + replay
	}
	return text
}

func digest(parts ...string) string {
	h := sha256.New()
	var n [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write([]byte(p))
	}
	return hex.EncodeToString(h.Sum(n[:0:0]))
}
