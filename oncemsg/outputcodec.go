package oncemsg

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"

	"github.com/oncehq/once"
)

// outputsType is the media type of recorded outputs: the number of them and then, for each, its
// destination, id, ordering key, the number of its headers, their names and values in the order of
// the names, and the payload. Numbers are unsigned varints, and strings are preceded by their
// length. All of it is binary, since ordering keys and headers often are.
const outputsType = "application/vnd.once.outputs"

var errOutputs = errors.New("oncemsg: recorded outputs are damaged")

func encodeOutputs(outputs []Output) once.Outcome {
	if len(outputs) == 0 {
		return once.Outcome{}
	}
	size := binary.MaxVarintLen32
	for _, o := range outputs {
		size += 5*binary.MaxVarintLen32 + len(o.To) + len(o.ID) + len(o.OrderBy) + len(o.Payload)
		for name, value := range o.Headers {
			size += 2*binary.MaxVarintLen32 + len(name) + len(value)
		}
	}
	b := binary.AppendUvarint(make([]byte, 0, size), uint64(len(outputs)))
	for _, o := range outputs {
		b = appendString(b, o.To)
		b = appendString(b, o.ID)
		b = appendString(b, o.OrderBy)
		b = binary.AppendUvarint(b, uint64(len(o.Headers)))
		for _, name := range slices.Sorted(maps.Keys(o.Headers)) {
			b = appendString(appendString(b, name), o.Headers[name])
		}
		b = appendString(b, o.Payload)
	}
	return once.Outcome{Type: outputsType, Data: b}
}

func appendString[S string | []byte](b []byte, s S) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// decodeOutputs is the inverse of encodeOutputs. Payloads share the outcome's memory.
func decodeOutputs(out once.Outcome) ([]Output, error) {
	switch {
	case out.Failed:
		return nil, errForeign
	case out.Type == "" && len(out.Data) == 0:
		return nil, nil
	case out.Type != outputsType:
		return nil, errForeign
	}
	d := decoder{rest: out.Data}
	var outputs []Output
	for n := d.number(); n > 0 && !d.damaged; n-- {
		o := Output{To: string(d.bytes()), ID: string(d.bytes()), OrderBy: string(d.bytes())}
		for n := d.number(); n > 0 && !d.damaged; n-- {
			if o.Headers == nil {
				o.Headers = make(map[string]string)
			}
			name := string(d.bytes())
			o.Headers[name] = string(d.bytes())
		}
		o.Payload = d.bytes()
		outputs = append(outputs, o)
	}
	if d.damaged || len(d.rest) > 0 {
		return nil, errOutputs
	}
	return outputs, nil
}

type decoder struct {
	rest    []byte
	damaged bool
}

func (d *decoder) number() uint64 {
	n, size := binary.Uvarint(d.rest)
	if size <= 0 {
		d.damaged, d.rest = true, nil
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

func (d *decoder) bytes() []byte {
	n := d.number()
	if n > uint64(len(d.rest)) {
		d.damaged, d.rest = true, nil
	}
	if n == 0 || d.damaged {
		return nil
	}
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	return b
}
