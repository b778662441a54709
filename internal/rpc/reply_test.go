package rpc

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"testing"
	"time"

	"github.com/oncehq/once"
)

func TestReplyRoundTrip(t *testing.T) {
	for name, r := range map[string]*Reply{
		"empty": {},
		"response": {
			Type: "acme.v1.Receipt", Data: []byte{0, 1, 2, 0xff},
			Fields: [places]map[string][]string{
				Header:         {"a": {"1", "", "2"}, "b-bin": {"\x00\xff\xfe"}},
				Trailer:        {"c": {"3"}, "empty": nil},
				ContextTrailer: {"d": {"4"}},
			},
		},
		"error": {
			Code: FailedPrecondition, Message: "card is blocked: ü",
			Details: []Detail{{"type.googleapis.com/a.B", []byte{8, 1}}, {}, {"x", nil}},
		},
		"not kept": {Code: OK, NotKept: true},
	} {
		out := r.Outcome()
		got, err := ParseReply(out)
		if err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, r)
		}
		if out.Failed != (r.Code != OK) || out.Type != ReplyType {
			t.Errorf("%s: outcome is %v %q", name, out.Failed, out.Type)
		}
		if !out.Equal(r.Outcome()) {
			t.Errorf("%s: the same reply is recorded differently", name)
		}
	}
}

// Records outlive releases: what is written today must be read by the next one.
func TestRecordedReplyIsStillRead(t *testing.T) {
	const recorded = "0809" + "120461736b3f" + "1a070a01741202 0801" + "2208 08011201611a0162" + "2a0141" + "3202ff00"
	data, err := hex.DecodeString(string(bytes.ReplaceAll([]byte(recorded), []byte(" "), nil)))
	if err != nil {
		t.Fatal(err)
	}
	want := &Reply{
		Code: FailedPrecondition, Message: "ask?", Details: []Detail{{"t", []byte{8, 1}}},
		Type: "A", Data: []byte{0xff, 0},
	}
	want.Fields[Trailer] = map[string][]string{"a": {"b"}}
	got, err := ParseReply(once.Outcome{Type: ReplyType, Data: data})
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if !bytes.Equal(want.Outcome().Data, data) {
		t.Errorf("written today as %x", want.Outcome().Data)
	}
}

func TestOutcomesOfOthersAreNotReplies(t *testing.T) {
	for _, out := range []once.Outcome{
		{Type: "application/http", Data: nil},
		{Type: ReplyType, Data: []byte{0x0a}},
		{Type: ReplyType, Data: []byte{0x0a, 5, 1}},
		{Type: ReplyType, Data: []byte{0x22, 2, 8, 9}}, // a place that does not exist
		{Type: ReplyType, Data: []byte{3}},
		{Type: ReplyType, Data: []byte{0x09, 1}},
	} {
		if r, err := ParseReply(out); err == nil {
			t.Errorf("%x was read as %+v", out.Data, r)
		}
	}
}

func FuzzParseReply(f *testing.F) {
	f.Add((&Reply{Code: Aborted, Message: "m", Details: []Detail{{"t", []byte("v")}}}).Outcome().Data)
	f.Add((&Reply{Type: "t", Data: []byte("d"), Fields: [places]map[string][]string{{"a": {"b"}}}}).Outcome().Data)
	f.Add([]byte{0x0d, 1, 2, 3, 4, 0x09, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseReply(once.Outcome{Type: ReplyType, Data: data})
		ParseHints([]Detail{{errorInfoType, data}, {retryInfoType, data}})
		if err != nil {
			return
		}
		again, err := ParseReply(r.Outcome())
		if err != nil || !again.Outcome().Equal(r.Outcome()) {
			t.Errorf("%+v becomes %+v, %v", r, again, err)
		}
	})
}

func TestRefusalsTellWhatToDo(t *testing.T) {
	for _, c := range []struct {
		reason string
		code   Code
		again  bool
	}{
		{KeyMissing, InvalidArgument, false},
		{KeyReused, FailedPrecondition, false},
		{ScopeRefused, PermissionDenied, false},
		{StreamRefused, InvalidArgument, false},
		{InFlight, Aborted, true},
		{InDoubt, Unknown, false},
		{ResponseNotKept, FailedPrecondition, false},
		{RolledBack, Aborted, true},
		{OutcomeUnknown, Unavailable, true},
		{StoreUnavailable, Unavailable, true},
		{StoreFull, Unavailable, true},
		{RecordUnreadable, DataLoss, false},
	} {
		r := Refuse(c.reason, 2500*time.Millisecond)
		h := ParseHints(r.Details)
		if r.Code != c.code || h.Reason != c.reason || Again(r.Code, h) != c.again {
			t.Errorf("%s: code %d, hints %+v", c.reason, r.Code, h)
		}
		if h.HasDelay != c.again || c.again && h.Delay != 2500*time.Millisecond {
			t.Errorf("%s: delay is %v (%t)", c.reason, h.Delay, h.HasDelay)
		}
	}
}

func TestHintsOfOthersAreTakenForWhatTheyAre(t *testing.T) {
	foreign := appendBytes(appendBytes(nil, 1, "STOCK"), 2, "shop.test")
	if h := ParseHints([]Detail{{errorInfoType, foreign}, {"x/google.rpc.Help", []byte{0xff}}, {retryInfoType, []byte{0xff}}}); h != (Hints{}) {
		t.Errorf("hints are %+v", h)
	}
	huge := appendMessage(nil, 1, appendVarint(nil, 1, 1<<62))
	if h := ParseHints([]Detail{{retryInfoType, huge}}); h.Delay < 100*365*24*time.Hour {
		t.Errorf("an absurd delay was read as %v", h.Delay)
	}
	negative := appendMessage(nil, 1, appendVarint(nil, 1, 1<<64-1))
	if h := ParseHints([]Detail{{retryInfoType, negative}}); h.Delay != 0 || !h.HasDelay {
		t.Errorf("a negative delay was read as %v", h.Delay)
	}
}
