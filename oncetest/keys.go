package oncetest

import (
	"strings"

	"github.com/oncehq/once"
)

var naming = []property{
	{"keys are kept apart that differ in any byte", keysApart, 0},
	{"a byte moved from the scope to the id makes another key", keyBoundary, 0},
	{"every byte may occur in both parts of a key", keyBytes, 0},
}

// parts returns strings that a careless store would take for each other, or not take at all.
func parts() []string {
	return []string{
		"a", "A", "a ", " a", "a\x00", "\x00a", "a\x00b", "\x00", "\x00\x00", " ", "  ",
		"a/b", "a//b", "a:b", "a::b", "a|b", "a.b", "a..b", "..", ".", "/", ":", "*", ">", "a*", "a.>",
		"{a}", "{b}", "%", "_", "a%", "a_", "%61", "\\", "\\x61", "'", "\"", "';--", "`", "$1", "?", "#", "~",
		"\n", "\r\n", "a\n", "\t", "\x7f", "\x1b[0m", "null", "nil", "0", "00", "1", "1.0", "1e0", "true",
		"é", "e\u0301", "É", "ß", "ss", "ſ", "K", "\u212a", "i", "ı", "İ", "🔑", "🔑🔑", "\u200b", "a\u200b",
		"\ufeff", "\xff", "\xfe", "\xff\xff", "\xc0\x80", "\xed\xa0\x80", "a\xff", "\xffa", "\ufffd",
	}
}

// distinct claims every key, which must all be absent, completes each with an outcome of its own,
// and checks that each still has that in the end.
func (x *trial) distinct(keys []once.Key) {
	x.Helper()
	outcomes := make([]once.Outcome, len(keys))
	for i, k := range keys {
		c := x.claimOn(k)
		rec, err := x.store.Claim(x.ctx, c)
		if err != nil {
			x.Fatalf("claim of %q: got error %q, want none", k, err)
		}
		if !rec.Won(c) || rec.Attempt != 1 || rec.Key != k {
			x.Fatalf("claim of %q: got the record of %q, want a new one", k, rec.Key)
		}
		outcomes[i] = x.outcome()
		x.completes(c, outcomes[i], long)
	}
	for i, k := range keys {
		x.holds(k, outcomes[i])
	}
}

func keysApart(x *trial) {
	var keys []once.Key
	for _, p := range parts() {
		keys = append(keys, once.Key{Scope: x.scope, ID: p})
	}
	for _, p := range parts() {
		keys = append(keys, once.Key{Scope: x.scope + p, ID: "a"})
	}
	longest := strings.Repeat("i", once.MaxID)
	keys = append(keys,
		once.Key{Scope: x.scope, ID: longest},
		once.Key{Scope: x.scope, ID: longest[:once.MaxID-1]},
		once.Key{Scope: x.scope, ID: longest[:once.MaxID-1] + "j"},
		once.Key{Scope: x.scope, ID: longest[:once.MaxID-1] + "I"},
		once.Key{Scope: x.scope, ID: longest[:once.MaxID-1] + " "})
	x.distinct(keys)
}

func keyBoundary(x *trial) {
	var keys []once.Key
	for _, text := range []string{"bcdefgh", "/a/b/c", ":a:b:c", "\x00a\x00b", "    ", "a\xffb\xffc"} {
		whole := x.key().ID + text
		for i := range len(whole) {
			keys = append(keys, once.Key{Scope: x.scope + whole[:i], ID: whole[i:]})
		}
	}
	x.distinct(keys)
}

func keyBytes(x *trial) {
	var every [256]byte
	for i := range every {
		every[i] = byte(255 - i)
	}
	room := once.MaxScope - len(x.scope)
	x.distinct([]once.Key{
		{Scope: x.scope + string(every[:room]), ID: string(every[:])},
		{Scope: x.scope + string(every[256-room:]), ID: string(every[:]) + string(every[:])},
		{Scope: x.scope + strings.Repeat("\xff", room), ID: strings.Repeat("\xff", once.MaxID)},
		{Scope: x.scope + strings.Repeat("\x00", room), ID: strings.Repeat("\x00", once.MaxID)},
		{Scope: x.scope + strings.Repeat("\x00", room), ID: strings.Repeat("\x00", once.MaxID-1)},
		{Scope: x.scope + strings.Repeat("\x00", room-1), ID: strings.Repeat("\x00", once.MaxID)},
		{Scope: x.scope + strings.Repeat("🔑", room/4), ID: strings.Repeat("🔑", once.MaxID/4)},
	})
}
