package rpc

import (
	"maps"
	"slices"

	"github.com/oncehq/once"
)

// ReplyType is the media type of a recorded [Reply]: the message below, in the wire format of
// Protocol Buffers.
//
//	message Reply {
//	  uint32 code = 1;
//	  string message = 2;
//	  repeated google.protobuf.Any details = 3;
//	  repeated Field fields = 4;
//	  string type = 5;     // of data
//	  bytes data = 6;
//	  bool not_kept = 7;   // data, details and fields were too large
//	}
//	message Field { uint32 place = 1; string name = 2; repeated bytes values = 3; }
const ReplyType = "application/protobuf; messageType=once.rpc.Reply"

// A Place is where a field of metadata was set.
type Place uint8

const (
	Header Place = iota
	Trailer
	ContextHeader // beside the response: only Connect has that
	ContextTrailer
	places
)

// A Reply is the answer to a call: a response message, or an error.
type Reply struct {
	Code    Code
	Message string // of the error
	Details []Detail
	Fields  [places]map[string][]string // metadata; values may be binary
	Type    string                      // full name of the response message
	Data    []byte                      // it in the wire format
	NotKept bool                        // there is no more than Code and Message
}

// A Detail is a google.protobuf.Any.
type Detail struct {
	Type  string // URL
	Value []byte
}

// Outcome returns the reply as it is recorded.
func (r *Reply) Outcome() once.Outcome {
	b := appendVarint(nil, 1, uint64(r.Code))
	b = appendBytes(b, 2, r.Message)
	for _, d := range r.Details {
		b = appendMessage(b, 3, appendBytes(appendBytes(nil, 1, d.Type), 2, d.Value))
	}
	for place, fields := range r.Fields {
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			f := appendBytes(appendVarint(nil, 1, uint64(place)), 2, name)
			for _, v := range fields[name] {
				f = appendMessage(f, 3, v)
			}
			b = appendMessage(b, 4, f)
		}
	}
	b = appendBytes(appendBytes(b, 5, r.Type), 6, r.Data)
	if r.NotKept {
		b = appendVarint(b, 7, 1)
	}
	return once.Outcome{Failed: r.Code != OK, Type: ReplyType, Data: b}
}

// ParseReply is the inverse of [Reply.Outcome]. The reply shares the outcome's memory.
func ParseReply(out once.Outcome) (*Reply, error) {
	if out.Type != ReplyType {
		return nil, errWire
	}
	r := new(Reply)
	err := eachField(out.Data, func(field int, v uint64, data []byte) error {
		switch field {
		case 1:
			r.Code = Code(v)
		case 2:
			r.Message = string(data)
		case 3:
			d, err := parseDetail(data)
			r.Details = append(r.Details, d)
			return err
		case 4:
			return r.parseField(data)
		case 5:
			r.Type = string(data)
		case 6:
			r.Data = data
		case 7:
			r.NotKept = v != 0
		}
		return nil
	})
	return r, err
}

func parseDetail(data []byte) (d Detail, err error) {
	err = eachField(data, func(field int, _ uint64, data []byte) error {
		switch field {
		case 1:
			d.Type = string(data)
		case 2:
			d.Value = data
		}
		return nil
	})
	return d, err
}

func (r *Reply) parseField(data []byte) error {
	place, name := uint64(0), ""
	var values []string
	err := eachField(data, func(field int, v uint64, data []byte) error {
		switch field {
		case 1:
			place = v
		case 2:
			name = string(data)
		case 3:
			values = append(values, string(data))
		}
		return nil
	})
	if err != nil || place >= uint64(places) {
		return errWire
	}
	if r.Fields[place] == nil {
		r.Fields[place] = make(map[string][]string)
	}
	r.Fields[place][name] = values
	return nil
}
