package oncemsg_test

import (
	"strings"
	"testing"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemsg"
)

func headers(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func TestDefaultKey(t *testing.T) {
	structured := []byte(`{"specversion":"1.0","id":"e1","source":"/src","type":"t","data":{"id":"other"}}`)
	for name, c := range map[string]struct {
		m    oncemsg.Message
		want oncemsg.ID
	}{
		"kafka binding":  {oncemsg.Message{Header: headers("ce_id", "e1", "ce_source", "/src")}, oncemsg.ID{Source: "/src", ID: "e1"}},
		"http and nats":  {oncemsg.Message{Header: headers("ce-id", "e1", "ce-source", "/src")}, oncemsg.ID{Source: "/src", ID: "e1"}},
		"amqp":           {oncemsg.Message{Header: headers("cloudEvents:id", "e1", "cloudEvents:source", "/src")}, oncemsg.ID{Source: "/src", ID: "e1"}},
		"amqp, JMS form": {oncemsg.Message{Header: headers("cloudEvents_id", "e1", "cloudEvents_source", "/src")}, oncemsg.ID{Source: "/src", ID: "e1"}},
		"event before message id": {
			oncemsg.Message{Source: "q", ID: "m1", Header: headers("ce_id", "e1", "ce_source", "/src")},
			oncemsg.ID{Source: "/src", ID: "e1"},
		},
		"id without source is no event": {
			oncemsg.Message{Source: "q", ID: "m1", Header: headers("ce_id", "e1")}, oncemsg.ID{Source: "q", ID: "m1"},
		},
		"structured": {
			oncemsg.Message{ID: "m1", Payload: structured, Header: headers("content-type", "application/cloudevents+json; charset=utf-8")},
			oncemsg.ID{Source: "/src", ID: "e1"},
		},
		"structured, capitals": {
			oncemsg.Message{Payload: structured, Header: headers("Content-Type", "Application/CloudEvents+JSON")},
			oncemsg.ID{Source: "/src", ID: "e1"},
		},
		"same JSON without the type": {
			oncemsg.Message{ID: "m1", Payload: structured, Header: headers("content-type", "application/json")},
			oncemsg.ID{ID: "m1"},
		},
		"batch of events": {
			oncemsg.Message{ID: "m1", Payload: structured, Header: headers("content-type", "application/cloudevents-batch+json")},
			oncemsg.ID{ID: "m1"},
		},
		"broken event": {
			oncemsg.Message{ID: "m1", Payload: structured[:20], Header: headers("content-type", "application/cloudevents+json")},
			oncemsg.ID{ID: "m1"},
		},
		"id before position": {oncemsg.Message{Source: "q", ID: "m1", Position: "0/7"}, oncemsg.ID{Source: "q", ID: "m1"}},
		"position is weak":   {oncemsg.Message{Source: "q", Position: "0/7"}, oncemsg.ID{Source: "q", ID: "0/7", Weak: true}},
	} {
		if got, ok := oncemsg.DefaultKey(c.m); !ok || got != c.want {
			t.Errorf("%s: %+v, %t; want %+v", name, got, ok, c.want)
		}
	}
	if id, ok := oncemsg.DefaultKey(oncemsg.Message{Source: "q", Payload: []byte("x")}); ok {
		t.Errorf("equal contents make one message of two: %+v", id)
	}
}

func TestKeyFuncs(t *testing.T) {
	m := oncemsg.Message{Source: "q", ID: "m1", Payload: []byte("x"), Header: headers("id", "o1")}
	both := oncemsg.FirstOf(oncemsg.Header("missing"), oncemsg.Header("id"), oncemsg.MessageID)
	if id, ok := both(m); !ok || id != (oncemsg.ID{Source: "q", ID: "o1"}) {
		t.Errorf("first of: %+v, %t", id, ok)
	}
	if _, ok := oncemsg.Header("id")(oncemsg.Message{}); ok {
		t.Error("a header was found where there are none")
	}
	a, _ := oncemsg.WeakContent(m)
	m.Payload = []byte("y")
	b, _ := oncemsg.WeakContent(m)
	if a == b || !a.Weak {
		t.Errorf("contents: %+v, %+v", a, b)
	}
}

// A key is for people where it can be.
func TestKeyIsReadable(t *testing.T) {
	c := newConsumer(t, oncemsg.Config{Subscriber: "billing"})
	for want, m := range map[string]oncemsg.Message{
		"m1":              {ID: "m1"},
		"/src e1":         {Source: "/src", ID: "e1"},
		" two words":      {ID: "two words"},
		"/src e1\x00mon":  {Source: "/src", ID: "e1", Replay: "mon"},
		"t 3/42":          {Source: "t", Position: "3/42"},
		"/src two  words": {Source: "/src", ID: "two  words"},
	} {
		if k, ok := c.Key(m); !ok || k != (once.Key{Scope: "billing", ID: want}) {
			t.Errorf("key of %q %q %q is %q", m.Source, m.ID, m.Replay, k.ID)
		}
	}
}

// Every id makes a valid key, and different ones make different keys.
func FuzzKeysAreValidAndApart(f *testing.F) {
	long := strings.Repeat("x", 600)
	for _, s := range [][6]string{
		{"a b", "c", "", "a", "b c", ""}, {"", "b c", "", "", "b", "c"}, {"", "b c", "", "b", "c", ""},
		{"a", "b\x00c", "", "a", "b", "c"}, {"", "\x00", "", "\x00", "", ""}, {long, "a", "", long, "b", ""},
		{"a", long, "", "a", long, "r"}, {"", "a", "b", "", "a\x00b", ""}, {"", " a", "", "", "a", ""},
	} {
		f.Add(s[0], s[1], s[2], s[3], s[4], s[5])
	}
	c := newConsumer(f, oncemsg.Config{})
	f.Fuzz(func(t *testing.T, s1, i1, r1, s2, i2, r2 string) {
		a, okA := c.Key(oncemsg.Message{Source: s1, ID: i1, Replay: r1})
		b, okB := c.Key(oncemsg.Message{Source: s2, ID: i2, Replay: r2})
		if okA != (i1 != "") || okB != (i2 != "") {
			t.Fatalf("named: %t, %t", okA, okB)
		}
		for _, k := range []once.Key{a, b} {
			if k != (once.Key{}) && k.Check() != nil {
				t.Errorf("key is not valid: %v", k.Check())
			}
		}
		if same := s1 == s2 && i1 == i2 && r1 == r2; okA && okB && same != (a == b) {
			t.Errorf("(%q %q %q) and (%q %q %q) have the keys %q and %q", s1, i1, r1, s2, i2, r2, a.ID, b.ID)
		}
	})
}
