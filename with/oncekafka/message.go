package oncekafka

import (
	"encoding/hex"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncehq/once/oncemsg"
)

// HeaderID is the header in which [Publish] names a record, and where [Message] looks for a name.
const HeaderID = "message-id"

// Message describes a record. [Run] does it by itself; Message is for other loops over a client, and
// for oncemsg.Consumer.Forget, which is given the dead letter as it is: that is the record that it was,
// also when it is moved back. The topic's id is kgo.FetchTopic.TopicID, or zero if it is not known. Where
// [Config.IDHeader] is set, so must be the result's ID.
func Message(r *kgo.Record, topicID [16]byte) oncemsg.Message {
	return message(r, topicID, HeaderID)
}

func message(r *kgo.Record, topicID [16]byte, idHeader string) oncemsg.Message {
	h := headers(r.Headers)
	source, at := r.Topic, position(r, topicID)
	if topic := h.get(HeaderDeadTopic); topic != "" {
		source = topic
		at = h.get(HeaderDeadTopicID) + "/" + h.get(HeaderDeadPartition) + "/" + h.get(HeaderDeadOffset)
	}
	return oncemsg.Message{
		Source:   source,
		ID:       h.get(idHeader),
		Position: at,
		Payload:  r.Value,
		Header:   h.get,
		Time:     r.Timestamp,
		Native:   r,
	}
}

type headers []kgo.RecordHeader

// get returns the value of the last header of this name, as Kafka's own lastHeader does.
func (h headers) get(name string) string {
	for i := len(h) - 1; i >= 0; i-- {
		if h[i].Key == name {
			return string(h[i].Value)
		}
	}
	return ""
}

// position is where the record is in its topic: "id/partition/offset".
func position(r *kgo.Record, topicID [16]byte) string {
	b := make([]byte, 0, 64)
	if topicID != ([16]byte{}) {
		b = hex.AppendEncode(b, topicID[:])
	}
	b = append(b, '/')
	b = strconv.AppendInt(b, int64(r.Partition), 10)
	b = append(b, '/')
	b = strconv.AppendInt(b, r.Offset, 10)
	return string(b)
}
