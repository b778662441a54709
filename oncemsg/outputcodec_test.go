package oncemsg

import (
	"reflect"
	"testing"

	"github.com/oncehq/once"
)

func TestOutputsAreReadAsTheyWereRecorded(t *testing.T) {
	for _, outputs := range [][]Output{
		nil,
		{{}},
		{{To: "t", ID: "i", OrderBy: "\xff\x00key", Payload: []byte{0, 255}, Headers: map[string]string{"a": "\xfe", "": "x"}}},
		{{ID: "1"}, {ID: "2", Payload: make([]byte, 300)}, {ID: "3", Headers: map[string]string{"b": "", "a": ""}}},
	} {
		out := encodeOutputs(outputs)
		got, err := decodeOutputs(out)
		if err != nil || !reflect.DeepEqual(got, outputs) {
			t.Errorf("read %+v: %v; want %+v", got, err, outputs)
		}
		if again := encodeOutputs(got); !again.Equal(out) {
			t.Errorf("recorded %x, then %x", out.Data, again.Data)
		}
		for n := range out.Data { // what is cut off is noticed
			if _, err := decodeOutputs(once.Outcome{Type: outputsType, Data: out.Data[:n]}); err == nil {
				t.Errorf("%d of %d bytes were read as outputs", n, len(out.Data))
			}
		}
	}
}

// Whatever is in the store, reading it neither panics nor takes memory that it does not have.
func FuzzDamagedOutputsAreRefused(f *testing.F) {
	f.Add(encodeOutputs([]Output{{To: "t", ID: "i", Headers: map[string]string{"a": "b"}, Payload: []byte("p")}}).Data)
	f.Add([]byte{255, 255, 255, 255, 255, 255, 255, 255, 255, 1})
	f.Add([]byte{1, 255, 255, 255, 255, 15})
	f.Fuzz(func(t *testing.T, data []byte) {
		outputs, err := decodeOutputs(once.Outcome{Type: outputsType, Data: data})
		if err != nil {
			return
		}
		again, err := decodeOutputs(encodeOutputs(outputs))
		if err != nil || len(outputs) > 0 && !reflect.DeepEqual(again, outputs) {
			t.Errorf("%+v was read as %+v: %v", outputs, again, err)
		}
	})
}
