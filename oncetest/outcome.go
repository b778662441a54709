package oncetest

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/oncehq/once"
)

var completing = []property{
	{"Complete records the outcome byte for byte", completeBytes, 0},
	{"Complete must return ErrLost unless the caller is the owner", completeStranger, 0},
	{"Complete must return ErrLost when the operation is absent", completeAbsent, 0},
	{"Complete must succeed also when the lease is over if nobody took over", completeLate, leases},
	{"repeating Complete with the same outcome must return nil", completeRepeated, 0},
	{"repeating Complete with another outcome must return ErrLost", completeOther, 0},
}

var releasing = []property{
	{"Release removes the claim", releaseRemoves, 0},
	{"Release must succeed also in doubt if nobody took over", releaseInDoubt, leases},
	{"Release must return ErrLost unless the caller is the owner", releaseStranger, 0},
	{"Release must return ErrLost when there is an outcome", releaseDone, 0},
	{"Release must return ErrLost when the operation is absent", releaseAbsent, 0},
}

// outcomes returns outcomes that a careless store would not give back as they were.
func (x *trial) outcomes() map[string]once.Outcome {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	big := make([]byte, x.opt.MaxOutcome)
	rand.NewChaCha8([32]byte{1}).Read(big)
	return map[string]once.Outcome{
		"nothing":                  {},
		"nothing, typed":           {Type: "text/plain"},
		"a failure without a text": {Failed: true},
		"a failure":                {Failed: true, Type: "text/plain", Data: []byte("card declined")},
		"empty, not nil":           {Type: "application/json", Data: []byte{}},
		"every byte":               {Type: "application/octet-stream", Data: every},
		"invalid UTF-8":            {Data: []byte("\xff\xfe\xc0\x80\xed\xa0\x80")},
		"JSON, spaced":             {Type: "application/json", Data: []byte("{ \"b\": 1.0,\r\n \"a\": 1e3 }\n")},
		"one NUL":                  {Data: []byte{0}},
		"looks like a number":      {Data: []byte("007")},
		"spaces around it":         {Data: []byte("  x  \n")},
		"the longest type":         {Type: strings.Repeat("t", 255), Data: []byte("x")},
		"a type with a parameter":  {Type: "text/plain; charset=\"utf-8\"", Data: []byte("é")},
		"the largest":              {Type: "application/octet-stream", Data: big},
		"large, compressible":      {Data: bytes.Repeat([]byte("once "), x.opt.MaxOutcome/5)},
	}
}

func completeBytes(x *trial) {
	for what, out := range x.outcomes() {
		c := x.newClaim()
		x.winsAnew(c)
		given := once.Outcome{Failed: out.Failed, Type: out.Type, Data: bytes.Clone(out.Data)}
		x.completes(c, given, long)
		for _, got := range []once.Record{x.holds(c.Key, out), x.stands(x.claimOn(c.Key))} {
			if got.State != once.Done || !got.Outcome.Equal(out) {
				x.Errorf("%s: got the outcome %s, want %s", what, outline(got.Outcome), outline(out))
			}
			if got.Owner != c.Owner || got.Fingerprint != c.Fingerprint {
				x.Errorf("%s: the record has another owner or fingerprint than the claim", what)
			}
		}
		if !given.Equal(out) {
			x.Errorf("%s: the store changed the bytes that it was given", what)
		}
	}
}

func completeStranger(x *trial) {
	if x.opt.Transactional {
		c, out := x.newClaim(), x.outcome()
		x.winsAnew(c)
		x.fails(once.ErrLost, x.store.Complete(x.ctx, c.Key, once.NewOwner(), x.outcome(), long),
			"complete by a stranger")
		x.completes(c, out, long)
		x.holds(c.Key, out)
	}
	for _, s := range x.standing() {
		c := x.record(s)
		x.untouched(c.Key, func() { x.hasLost(c.Key, once.NewOwner()) })
	}
}

func completeAbsent(x *trial) {
	k := x.key()
	err := x.store.Complete(x.ctx, k, once.NewOwner(), x.outcome(), long)
	x.fails(once.ErrLost, err, "complete of an absent key")
	x.absent(k)
}

func completeLate(x *trial) {
	ended := x.record(once.InDoubt)
	lapsed := x.newClaim()
	lapsed.Lease = x.opt.Lease
	x.winsAnew(lapsed)
	x.lapses(lapsed.Key, once.InDoubt)
	for _, c := range []once.Claim{ended, lapsed} {
		out := x.outcome()
		x.completes(c, out, long)
		x.holds(c.Key, out)
	}
}

func completeRepeated(x *trial) {
	for what, out := range x.outcomes() {
		c := x.newClaim()
		x.winsAnew(c)
		x.completes(c, out, long)
		x.untouched(c.Key, func() {
			for _, retention := range []time.Duration{long, 2 * long} {
				err := x.store.Complete(x.ctx, c.Key, c.Owner, out, retention)
				x.ok(err, "repeated complete: "+what)
			}
		})
	}
}

func completeOther(x *trial) {
	c := x.newClaim()
	out := once.Outcome{Type: "text/plain", Data: []byte("paid")}
	x.winsAnew(c)
	x.completes(c, out, long)
	for what, other := range map[string]once.Outcome{
		"other bytes":    {Type: "text/plain", Data: []byte("Paid")},
		"fewer bytes":    {Type: "text/plain", Data: []byte("pai")},
		"more bytes":     {Type: "text/plain", Data: []byte("paid\x00")},
		"no bytes":       {Type: "text/plain"},
		"another type":   {Type: "text/html", Data: []byte("paid")},
		"a failure":      {Failed: true, Type: "text/plain", Data: []byte("paid")},
		"a shifted byte": {Type: "text/plainp", Data: []byte("aid")},
	} {
		x.untouched(c.Key, func() {
			for _, retention := range []time.Duration{2 * long, 0} {
				err := x.store.Complete(x.ctx, c.Key, c.Owner, other, retention)
				x.fails(once.ErrLost, err, "complete a second time with "+what)
			}
		})
		x.holds(c.Key, out)
	}
}

func releaseRemoves(x *trial) {
	c := x.newClaim()
	x.winsAnew(c)
	x.releases(c)
	x.absent(c.Key)
	x.hasLost(c.Key, c.Owner)
	x.absent(c.Key)

	// The next may ask for something else: nothing is left to compare with.
	next := x.claimOn(c.Key)
	next.Fingerprint = once.FingerprintOf([]byte("something else"))
	x.winsAnew(next)
	x.hasLost(c.Key, c.Owner)
	out := x.outcome()
	x.completes(next, out, long)
	x.holds(c.Key, out)
}

func (x *trial) releases(c once.Claim) {
	x.Helper()
	x.ok(x.store.Release(x.ctx, c.Key, c.Owner), "release by the owner")
}

func releaseInDoubt(x *trial) {
	c := x.record(once.InDoubt)
	x.releases(c)
	x.absent(c.Key)
	x.winsAnew(x.claimOn(c.Key))
}

func releaseStranger(x *trial) {
	for _, s := range x.standing() {
		c := x.record(s)
		x.untouched(c.Key, func() {
			x.fails(once.ErrLost, x.store.Release(x.ctx, c.Key, once.NewOwner()), "release by a stranger")
		})
	}
}

func releaseDone(x *trial) {
	c := x.record(once.Done)
	x.untouched(c.Key, func() {
		x.fails(once.ErrLost, x.store.Release(x.ctx, c.Key, c.Owner), "release when done")
	})
}

func releaseAbsent(x *trial) {
	k := x.key()
	x.fails(once.ErrLost, x.store.Release(x.ctx, k, once.NewOwner()), "release of an absent key")
	x.absent(k)
}
