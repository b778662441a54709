package onceredisstream

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/oncehq/once/oncemsg"
)

// Fields of an entry, as [Publish] writes and [Message] reads them. All others are headers.
const (
	FieldID      = "message-id"
	FieldPayload = "payload"
)

// Fields of a dead-lettered entry, beside its own: why it is there, and where it was first. [Message] reads
// them, so that a dead letter, also one that is moved back, is the entry that it was.
const (
	deadPrefix      = "once-dead-" // of all those names
	FieldDeadReason = "once-dead-reason"
	FieldDeadStream = "once-dead-stream"
	FieldDeadEntry  = "once-dead-entry"
)

// Message describes an entry that has the usual fields, without verbs. [Run] does it by itself; Message
// is for oncemsg.Consumer.Forget, which may be given the dead letter. Where [Config.IDField] is set, so must
// be the result's ID.
func Message(stream string, e rueidis.XRangeEntry) oncemsg.Message {
	return message(stream, e, FieldID, FieldPayload)
}

func message(stream string, e rueidis.XRangeEntry, idField, payloadField string) oncemsg.Message {
	at := e.ID
	if first := e.FieldValues[FieldDeadStream]; first != "" {
		stream, at = first, e.FieldValues[FieldDeadEntry]
	}
	return oncemsg.Message{
		Source:   stream,
		ID:       e.FieldValues[idField],
		Position: at,
		Payload:  []byte(e.FieldValues[payloadField]),
		Header:   func(name string) string { return e.FieldValues[name] },
		Time:     added(e.ID),
		Native:   e,
	}
}

// added returns when an entry was added, which its id says unless the producer has made that up.
func added(id string) time.Time {
	ms, _, _ := strings.Cut(id, "-")
	n, err := strconv.ParseInt(ms, 10, 64)
	if err != nil || n < 1e12 { // before 2001: not a time
		return time.Time{}
	}
	return time.UnixMilli(n)
}

// Publish returns an oncemsg.Config.Publish that adds outputs to streams: Output.To is the key of the
// stream, the payload and the id are in the fields [FieldPayload] and [FieldID], and headers in fields
// of their own names. An output that is published again is another entry with the same id.
func Publish(client rueidis.Client) func(context.Context, []oncemsg.Output) error {
	return func(ctx context.Context, outputs []oncemsg.Output) error {
		cmds := make(rueidis.Commands, len(outputs))
		for i, o := range outputs {
			entry := client.B().Xadd().Key(o.To).Id("*").FieldValue()
			for _, name := range slices.Sorted(maps.Keys(o.Headers)) {
				entry = entry.FieldValue(name, o.Headers[name])
			}
			// Last, since that is the one which counts of two fields of one name.
			cmds[i] = entry.FieldValue(FieldPayload, rueidis.BinaryString(o.Payload)).FieldValue(FieldID, o.ID).Build()
		}
		for _, reply := range client.DoMulti(ctx, cmds...) {
			if err := reply.Error(); err != nil {
				return fmt.Errorf("onceredisstream: publish: %w", err)
			}
		}
		return nil
	}
}

// CreateGroup makes a group that reads the stream from an entry on: "0" is the first, "$" the next
// to be added. The stream is made if there is none. It is no error if the group exists.
func CreateGroup(ctx context.Context, client rueidis.Client, stream, group, from string) error {
	err := client.Do(ctx, client.B().XgroupCreate().Key(stream).Group(group).Id(from).Mkstream().Build()).Error()
	if err != nil && !strings.HasPrefix(err.Error(), "BUSYGROUP") {
		return fmt.Errorf("onceredisstream: create group: %w", err)
	}
	return nil
}
