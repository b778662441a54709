package oncegrpc

import (
	"bytes"
	"reflect"
	"testing"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// A record may be older than the release that replays it: whatever became of the type, the bytes
// on the wire are those of the first reply.
func TestRecordedMessageHasTheRecordedBytes(t *testing.T) {
	valid := []byte{0x12, 1, 'a'} // but not as Go would write it
	for name, data := range map[string][]byte{
		"google.protobuf.BytesValue": {0x0a, 2, 1, 2, 0x98, 0x06, 1, 0x0a, 1, 9},
		"google.protobuf.Empty":      {},
		"google.protobuf.Int64Value": {0x08}, // not of this type any more
		"acme.v1.Gone":               valid,
		"":                           valid,
	} {
		msg := recordedMessage(name, data)
		for _, o := range []proto.MarshalOptions{{}, {Deterministic: true}, {UseCachedSize: true}} {
			if o.UseCachedSize && proto.Size(msg) != len(data) {
				t.Errorf("%s: size is %d, want %d", name, proto.Size(msg), len(data))
			}
			got, err := o.MarshalAppend([]byte{7}, msg)
			if err != nil || !bytes.Equal(got, append([]byte{7}, data...)) {
				t.Errorf("%s: encoded as %x, %v, want %x", name, got, err, data)
			}
		}
	}
}

// Records may have been made by a server of package onceconnect.
func TestFieldsOfConnectAreRead(t *testing.T) {
	got := fromFields(
		map[string][]string{"X-A": {"1", "2"}, "X-B-Bin": {"AP8=", "AP8", "?"}},
		map[string][]string{"x-a": {"3"}})
	want := metadata.MD{"x-a": {"1", "2", "3"}, "x-b-bin": {"\x00\xff", "\x00\xff"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if again := fromFields(toFields(want)); !reflect.DeepEqual(again, want) {
		t.Errorf("%q becomes %q", want, again)
	}
}

func TestDeterministicEncodingOfRequests(t *testing.T) {
	req, err := structpb.NewStruct(map[string]any{"a": 1, "b": 2, "c": map[string]any{"d": 3, "e": 4}, "f": 5})
	if err != nil {
		t.Fatal(err)
	}
	first, err := marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		if again, err := marshal(req); err != nil || !bytes.Equal(again, first) {
			t.Fatalf("encoded as %x and %x, %v", first, again, err)
		}
	}
}
